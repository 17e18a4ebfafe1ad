#pragma once

#include <kephas/base/clock.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace kephas {

/// Where a PEM text comes from: a file, which a reload reads anew, or memory. Made by the functions below.
struct pem_source {
    std::filesystem::path file{};
    std::string text{};

    [[nodiscard]] bool empty() const noexcept { return file.empty() && text.empty(); }
};

[[nodiscard]] inline pem_source pem_file(std::filesystem::path file) { return {std::move(file), {}}; }
[[nodiscard]] inline pem_source pem_text(std::string text) { return {{}, std::move(text)}; }

/// What the server shows, and the key that proves it. The two may be one file.
struct tls_certificate {
    pem_source certificate;  ///< The server's certificate, then those that lead to the root.
    pem_source key;          ///< Its private key, not encrypted.
};

enum class tls_version : std::uint8_t { tls_1_2, tls_1_3 };

/// What is asked of the clients. A certificate that is shown must be valid in any case.
enum class client_certificates : std::uint8_t {
    none,
    optional,  ///< `authorize` sees whether there was one: `request.tls->certificate`.
    required,  ///< Without one the TLS handshake fails.
};

/// TLS of the `wss://` and `https://` listeners. Ciphers, groups and signatures are OpenSSL's defaults, which the
/// system's `openssl.cnf` may narrow. Sessions are resumed with tickets, so that nothing is stored for them; a reload
/// makes the tickets of earlier ones void.
struct tls_options {
    /// A client gets the ones that hold the name that it asks for (SNI), several of them if their keys are of different
    /// types; without a name, or for one that none of them holds, the first, and those with exactly the same names.
    std::vector<tls_certificate> certificates{};
    client_certificates clients = client_certificates::none;
    pem_source client_ca{};  ///< Who may have issued the clients' certificates. Needed unless `clients` is `none`.
    tls_version min_version = tls_version::tls_1_2;
    /// In order of preference; a client that offers others only is refused (RFC 7301 3.2). Empty: not negotiated.
    std::vector<std::string> alpn = {"http/1.1"};
    /// How often the files are compared with what is in use. Zero: only `server::reload_certificates()` does.
    duration watch_interval = std::chrono::seconds{1};
    /// How long files may be unreadable or not fit together before that is reported: certificate and key are two files,
    /// and somebody may be in the middle of writing them.
    duration reload_patience = std::chrono::seconds{2};
};

}  // namespace kephas
