#pragma once

#include <cstdint>

namespace kephas::websocket {

/// RFC 6455 5.2.
enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Control frames are short, never fragmented, and may stand between the fragments of a message (RFC 6455 5.5).
[[nodiscard]] constexpr bool is_control(opcode op) noexcept { return (static_cast<unsigned>(op) & 8U) != 0; }

/// Clients mask what they send and servers do not (RFC 6455 5.1).
enum class role : std::uint8_t { server, client };

}  // namespace kephas::websocket
