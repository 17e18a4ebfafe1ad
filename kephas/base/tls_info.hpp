#pragma once

#include <optional>
#include <string>
#include <vector>

namespace kephas {

/// The certificate by which a peer has proved who it is: it was verified against the client CA. Its texts were chosen by
/// whoever issued it: escape them before they go anywhere else.
struct peer_certificate {
    std::string subject{};      ///< RFC 2253: "CN=alice,O=Example".
    std::string common_name{};  ///< The last CN of the subject; empty if it has none.
    std::string issuer{};       ///< RFC 2253.
    std::string serial{};       ///< In upper case hexadecimal digits.
    std::string fingerprint{};  ///< SHA-256 of the certificate, in lower case hexadecimal digits.
    // the subject's alternative names (RFC 5280 4.2.1.6)
    std::vector<std::string> dns_names{};
    std::vector<std::string> email_addresses{};
    std::vector<std::string> uris{};
    std::string pem{};  ///< The certificate itself, without its chain.

    bool operator==(const peer_certificate&) const = default;
};

/// What was agreed in the TLS handshake of a connection.
struct tls_info {
    std::string version{};      ///< "TLSv1.3" or "TLSv1.2".
    std::string cipher{};       ///< As OpenSSL names it.
    std::string alpn{};         ///< The protocol that was selected; empty if the peer offered none.
    std::string server_name{};  ///< The name that the peer asked for (SNI), in lower case; empty if it gave none.
    bool resumed = false;       ///< With a session ticket: nothing was signed anew.
    std::optional<kephas::peer_certificate> certificate{};

    bool operator==(const tls_info&) const = default;
};

}  // namespace kephas
