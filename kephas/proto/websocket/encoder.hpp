#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/mask.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace kephas::websocket {

inline constexpr std::size_t max_header_size = 14;       ///< RFC 6455 5.2, masked.
inline constexpr std::size_t max_control_payload = 125;  ///< RFC 6455 5.5.
inline constexpr std::size_t max_control_frame = max_control_payload + 6;

/// What follows the first byte of a header if the size needs more than seven bits. Returns the size of the header.
std::size_t encode_long_size(std::span<std::byte, 10> out, std::uint64_t payload_size) noexcept;

/// Writes the header of an unmasked, unfragmented frame (as a server sends it) and returns its size, at most 10.
inline std::size_t encode_header(std::span<std::byte, 10> out, opcode op, std::uint64_t payload_size) noexcept {
    out[0] = std::byte{0x80} | static_cast<std::byte>(op);
    if (payload_size >= 126) return encode_long_size(out, payload_size);
    out[1] = static_cast<std::byte>(payload_size);
    return 2;
}

/// The same for a client: the header ends with `key`, and the payload must be masked with it (`apply_mask`).
std::size_t encode_header(std::span<std::byte, max_header_size> out, opcode op, std::uint64_t payload_size,
                          mask_key key) noexcept;

/// A complete control frame in `out`, masked if there is a key. The payload is cut to 125 bytes. Returns its size.
std::size_t encode_control(std::span<std::byte, max_control_frame> out, opcode op, bytes_view payload,
                           std::optional<mask_key> key = std::nullopt) noexcept;

/// A complete close frame in `out`, masked if there is a key; the reason is cut to what fits. `no_status`, and the
/// other codes that must not be sent, give an empty one. Returns its size.
std::size_t encode_close(std::span<std::byte, max_control_frame> out, close_code code, std::string_view reason,
                         std::optional<mask_key> key = std::nullopt) noexcept;

/// The size of the frame that `bytes` begins with, header included: one of ours, unmasked and whole.
[[nodiscard]] std::size_t frame_size(bytes_view bytes) noexcept;

}  // namespace kephas::websocket
