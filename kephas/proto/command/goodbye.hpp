#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/websocket/close_code.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kephas {

/// The last message that a side sends before it ends a stream of commands, as the close frame is of a WebSocket connection:
/// on `command_jsonrpc_error`, `{"jsonrpc":"2.0","error":{"code":-32000,"message":REASON,"data":{"close":CODE}},"id":null}`.
struct goodbye {
    close_code code = close_code::normal;
    std::string reason;
    bool operator==(const goodbye&) const = default;
};

inline constexpr std::size_t max_goodbye = 255;  ///< Bytes of one that we send, its length included.

/// A complete message in `out`, with its length. The reason is cut to 123 bytes as that of a close frame, and further if
/// what it needs of escapes does not fit. Codes that must not be sent give `normal`. Returns its size.
std::size_t encode_goodbye(std::span<std::byte, max_goodbye> out, close_code code, std::string_view reason) noexcept;

/// Whether the payload of a `command_jsonrpc_error` is a goodbye: none for every other error, and for a code that must not
/// be sent. Of a reason only 123 bytes are kept.
[[nodiscard]] std::optional<goodbye> parse_goodbye(bytes_view payload);

}  // namespace kephas
