#pragma once

#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/command/wire_format.hpp>
#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace kephas {

/// Room for what a server says last on any wire.
inline constexpr std::size_t max_close_message = max_goodbye;
static_assert(max_close_message >= websocket::max_control_frame);

/// A server's close frame, or the goodbye of a stream, complete. Returns its size.
inline std::size_t encode_close_message(std::span<std::byte, max_close_message> out, wire_format format, close_code code,
                                        std::string_view reason) noexcept {
    if (format == wire_format::stream) return encode_goodbye(out, code, reason);
    return websocket::encode_close(out.first<websocket::max_control_frame>(), code, reason);
}

}  // namespace kephas
