#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kephas::websocket {

inline constexpr std::size_t max_header_size = 14;          ///< RFC 6455 5.2, masked.
inline constexpr std::size_t max_control_payload = 125;     ///< RFC 6455 5.5.
inline constexpr std::size_t max_control_frame = max_control_payload + 6;

/// Writes the header of an unmasked, unfragmented frame (as a server sends it) and returns its size, at most 10.
std::size_t encode_header(std::span<std::byte, 10> out, opcode op, std::uint64_t payload_size) noexcept;

/// A complete unmasked close frame in `out`; the reason is cut to what fits. `no_status` gives an empty one.
std::size_t encode_close(std::span<std::byte, max_control_frame> out, close_code code, std::string_view reason) noexcept;

}  // namespace kephas::websocket
