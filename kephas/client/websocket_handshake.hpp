#pragma once

#include <kephas/base/slice.hpp>

#include <kephas/proto/session/session_machine.hpp>

#include <kephas/client/client_wire.hpp>
#include <kephas/client/event_stream.hpp>
#include <kephas/client/options.hpp>
#include <kephas/client/url.hpp>

#include <asio/awaitable.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace kephas {

/// A WebSocket connection whose handshake is done.
struct opened_websocket {
    std::unique_ptr<client_wire> wire;
    slice early;  ///< Read behind the handshake.
    std::string subprotocol;
};

/// The client's side of the opening handshake (RFC 6455 4.1). It has no deadline of its own. `limits` are those of the
/// connection afterwards.
/// Errors: `handshake_refused`, `errc::invalid_handshake`, `errc::closed` if the server just ends the connection.
/// Cancellation: all types. Lifetime: the arguments stay.
[[nodiscard]] asio::awaitable<opened_websocket> open_websocket(event_stream& events, const client_url& url,
                                                               const command_client_options& options,
                                                               const session_options& limits);

/// `Retry-After` as a number of seconds (RFC 9110 10.2.3); nothing for anything else, a date included.
[[nodiscard]] std::optional<duration> parse_retry_after(std::string_view value) noexcept;

}  // namespace kephas
