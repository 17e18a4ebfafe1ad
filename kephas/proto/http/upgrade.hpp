#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/request.hpp>
#include <kephas/proto/http/response.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::http {

/// An acceptable opening handshake (RFC 6455 4.2.1).
struct upgrade {
    std::string accept;                     ///< The value of Sec-WebSocket-Accept.
    std::vector<std::string> subprotocols;  ///< As offered, the client's favourite first.

    bool operator==(const upgrade&) const = default;
};

/// Decides whether the request opens a WebSocket connection; otherwise gives the response that refuses it:
/// 405 not a GET, 426 no upgrade to WebSocket or not version 13 (with what would be understood), 400 a body, a key that
/// is not 16 bytes in base64, or a malformed list of subprotocols.
[[nodiscard]] result<upgrade, response> check_upgrade(const request& request);

/// base64(SHA-1(key + GUID)), RFC 6455 4.2.2. "dGhlIHNhbXBsZSBub25jZQ==" gives "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".
[[nodiscard]] std::string accept_key(std::string_view key);

/// Whether `key` is the base64 of 16 bytes, in the one way to write them (RFC 6455 4.1).
[[nodiscard]] bool is_handshake_key(std::string_view key);

/// The subprotocols of `Sec-WebSocket-Protocol`, in order; `nullopt` when one is no token or is offered twice
/// (RFC 6455 4.1, point 10).
[[nodiscard]] std::optional<std::vector<std::string>> offered_subprotocols(const request& request);

/// The first one offered that is supported: the client's order counts. Empty when there is none. Case matters.
/// Lifetime: a view into `offered`.
[[nodiscard]] std::string_view select_subprotocol(std::span<const std::string> offered,
                                                  std::span<const std::string> supported);

/// The whole 101 response. Empty arguments leave out their header; `extensions` is the value of
/// Sec-WebSocket-Extensions, `headers` are added as they are.
[[nodiscard]] std::string switching_protocols_response(std::string_view accept, std::string_view subprotocol = {},
                                                       std::string_view extensions = {},
                                                       std::span<const header> headers = {});

}  // namespace kephas::http
