#pragma once

#include <kephas/net/tls_options.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace kephas {

/// TLS of a client. Without any of it the server's certificate must be for the host of the address and come from an issuer
/// whom the system trusts.
struct tls_client_options {
    pem_source ca{};            ///< Who may have issued the server's certificate. Empty: whom the system trusts.
    /// What is asked for (SNI, RFC 6066 3) and what the certificate must be for. Empty: the host of the address.
    std::string server_name{};
    bool verify = true;         ///< False: whoever answers is believed, and may be anybody.
    std::optional<tls_certificate> certificate{};  ///< What is shown to a server that asks for one.
    tls_version min_version = tls_version::tls_1_2;
    std::vector<std::string> alpn{};  ///< Offered in order of preference (RFC 7301). Empty: not negotiated.
};

/// The options of a client, read and checked once for many connections. Immutable. Concurrency: any thread.
class tls_client_context {
public:
    /// Errors: `errc::invalid_certificate` naming the file, with OpenSSL's reason; the system's for a file that cannot be
    /// read; `std::invalid_argument` for a protocol that `alpn` cannot hold.
    explicit tls_client_context(const tls_client_options& options = {});
    tls_client_context(const tls_client_context&) = delete;
    tls_client_context& operator=(const tls_client_context&) = delete;
    ~tls_client_context();

    /// That of `tls_client_options{}`, made when it is first asked for.
    [[nodiscard]] static std::shared_ptr<const tls_client_context> standard();

    [[nodiscard]] ssl_ctx_st* native_handle() const noexcept;
    [[nodiscard]] const std::string& server_name() const noexcept;
    [[nodiscard]] bool verifies() const noexcept;

private:
    struct implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace kephas
