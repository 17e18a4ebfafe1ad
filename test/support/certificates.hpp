#pragma once

#include <string>
#include <vector>

namespace kephas::test {

/// A certificate and its key, as PEM.
struct key_pair {
    std::string certificate;
    std::string key;
};

enum class key_type { ec, rsa };

struct certificate_wish {
    std::vector<std::string> names{};   ///< DNS names; the first is the common name too, unless that is given.
    std::vector<std::string> addresses{};  ///< IP addresses.
    std::string common_name{};
    std::string email{};
    bool for_client = false;
    bool expired = false;
    key_type type = key_type::ec;
};

/// A certificate authority that lives as long as a test does.
class test_ca {
public:
    explicit test_ca(const std::string& name = "kephas test CA");
    test_ca(const test_ca&) = delete;
    test_ca& operator=(const test_ca&) = delete;
    ~test_ca();

    [[nodiscard]] const std::string& certificate() const noexcept { return pem_; }
    /// Concurrency: any thread.
    [[nodiscard]] key_pair issue(const certificate_wish& wish) const;

private:
    void* certificate_;  // X509
    void* key_;          // EVP_PKEY
    std::string pem_;
};

/// A CA of the process and a certificate of it for "localhost": made once.
[[nodiscard]] const test_ca& common_ca();
[[nodiscard]] const key_pair& localhost_pair();

/// The key, encrypted with a passphrase.
[[nodiscard]] std::string encrypted_key(const key_pair& pair, const std::string& passphrase);
/// SHA-256 of a certificate, in lower case hexadecimal digits.
[[nodiscard]] std::string fingerprint(const std::string& certificate);

}  // namespace kephas::test
