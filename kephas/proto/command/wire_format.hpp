#pragma once

#include <kephas/base/bytes.hpp>

#include <cstdint>
#include <optional>
#include <string_view>

namespace kephas {

/// How messages are told apart on a connection.
enum class wire_format : std::uint8_t {
    websocket,  ///< The frames of RFC 6455.
    stream,     ///< A u32 big-endian length before each command frame: TCP, TLS, Unix sockets.
    datagram,   ///< One command frame in each datagram.
};

inline constexpr unsigned wire_format_count = 3;

/// What a connection speaks on which WebSocket and streams of commands are both welcome, by the first bytes that came; nothing
/// if they do not tell yet. A request begins with "GET ", which would be the length of more than a gigabyte.
[[nodiscard]] inline std::optional<wire_format> format_of(bytes_view first) noexcept {
    constexpr std::string_view get = "GET ";
    const std::string_view known = as_text(first).substr(0, get.size());
    if (!get.starts_with(known)) return wire_format::stream;
    return known.size() == get.size() ? std::optional{wire_format::websocket} : std::nullopt;
}

}  // namespace kephas
