#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/http/extensions.hpp>
#include <kephas/proto/websocket/deflate_options.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kephas::websocket {

/// What both sides have agreed on (RFC 7692 7.1).
struct deflate_parameters {
    bool server_no_context_takeover = false;
    bool client_no_context_takeover = false;
    int server_max_window_bits = 15;
    int client_max_window_bits = 15;

    bool operator==(const deflate_parameters&) const = default;
};

/// A server's answer to an offer.
struct deflate_agreement {
    deflate_parameters parameters;
    std::string response;  ///< The element for Sec-WebSocket-Extensions.

    bool operator==(const deflate_agreement&) const = default;
};

/// The server's choice among what a client offered: the first permessage-deflate that can be agreed on. Unknown or
/// repeated parameters and illegal values decline that alternative and no other. None: the connection goes
/// uncompressed. `server_max_window_bits=8` is agreed on, although nothing will be compressed for it.
[[nodiscard]] std::optional<deflate_agreement> accept_deflate(std::span<const http::extension> offered,
                                                              const deflate_options& options);

/// What a client offers: one element for Sec-WebSocket-Extensions.
[[nodiscard]] std::string deflate_offer(const deflate_options& options);

/// Reads the answer to `deflate_offer(options)`: what was agreed on, or nothing if the server wants no compression. A
/// failure says how the server broke RFC 7692 or what it was not offered: the connection must be failed.
[[nodiscard]] result<std::optional<deflate_parameters>, std::string_view> check_deflate_response(
    std::span<const http::extension> answered, const deflate_options& options);

}  // namespace kephas::websocket
