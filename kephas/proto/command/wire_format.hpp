#pragma once

#include <cstdint>

namespace kephas {

/// How messages are told apart on a connection.
enum class wire_format : std::uint8_t {
    websocket,  ///< The frames of RFC 6455.
    stream,     ///< A u32 big-endian length before each command frame: TCP, TLS, Unix sockets.
};

inline constexpr unsigned wire_format_count = 2;

}  // namespace kephas
