#pragma once

#include <kephas/net/tls_options.hpp>

#include <memory>
#include <string>
#include <system_error>
#include <vector>

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace kephas {

/// The PEM texts that `tls_options` names, as they are at one moment: what is checked is what is used.
struct tls_material {
    struct pair {
        std::string certificate;
        std::string key;
        bool operator==(const pair&) const = default;
    };
    std::vector<pair> certificates{};
    std::string client_ca{};

    /// Errors: `error` naming the file that cannot be read.
    [[nodiscard]] static tls_material read(const tls_options& options);
    bool operator==(const tls_material&) const = default;
};

/// Throws `std::invalid_argument` for options that could never work, whatever the files hold.
void check_tls_options(const tls_options& options);

/// What the connections of a TLS listener have in common: the certificates and the rules. Immutable; a reload makes
/// another one. Concurrency: any thread.
class tls_context {
public:
    /// Parses and checks everything: that each certificate belongs to its key above all.
    /// Errors: `errc::invalid_certificate` naming the file, with OpenSSL's reason.
    tls_context(const tls_options& options, const tls_material& material);
    tls_context(const tls_context&) = delete;
    tls_context& operator=(const tls_context&) = delete;
    ~tls_context();

    [[nodiscard]] ssl_ctx_st* native_handle() const noexcept;

private:
    struct implementation;
    std::unique_ptr<implementation> implementation_;
};

/// Reasons of OpenSSL's as error codes; all are `condition::protocol_violation`.
[[nodiscard]] const std::error_category& tls_category() noexcept;
/// The first reason in OpenSSL's queue of this thread, which is emptied.
[[nodiscard]] std::error_code take_tls_error() noexcept;

}  // namespace kephas
