#include <kephas/proto/websocket/encoder.hpp>

#include <algorithm>
#include <array>
#include <cstring>

namespace kephas::websocket {
namespace {

constexpr auto mask_bit = std::byte{0x80};

}  // namespace

std::size_t encode_long_size(std::span<std::byte, 10> out, std::uint64_t payload_size) noexcept {
    if (payload_size <= 0xFFFF) {
        out[1] = std::byte{126};
        store_big_endian(&out[2], static_cast<std::uint16_t>(payload_size));
        return 4;
    }
    out[1] = std::byte{127};
    store_big_endian(&out[2], payload_size);
    return 10;
}

std::size_t encode_header(std::span<std::byte, max_header_size> out, opcode op, std::uint64_t payload_size,
                          mask_key key) noexcept {
    const std::size_t size = encode_header(out.first<10>(), op, payload_size);
    out[1] |= mask_bit;
    store_mask_key(out.data() + size, key);
    return size + sizeof(key);
}

std::size_t encode_control(std::span<std::byte, max_control_frame> out, opcode op, bytes_view payload,
                           std::optional<mask_key> key) noexcept {
    payload = payload.first(std::min(payload.size(), max_control_payload));
    const std::size_t head = key ? encode_header(out.first<max_header_size>(), op, payload.size(), *key)
                                 : encode_header(out.first<10>(), op, payload.size());
    const mutable_bytes body = out.subspan(head, payload.size());
    if (!payload.empty()) std::memcpy(body.data(), payload.data(), payload.size());
    if (key) apply_mask(body, *key);
    return head + payload.size();
}

std::size_t encode_close(std::span<std::byte, max_control_frame> out, close_code code, std::string_view reason,
                         std::optional<mask_key> key) noexcept {
    std::array<std::byte, max_control_payload> body;
    std::size_t size = 0;
    if (is_valid_on_wire(code)) {
        reason = fitting_reason(reason);
        store_big_endian(body.data(), static_cast<std::uint16_t>(code));
        if (!reason.empty()) std::memcpy(body.data() + 2, reason.data(), reason.size());
        size = 2 + reason.size();
    }
    return encode_control(out, opcode::close, bytes_view{body}.first(size), key);
}

std::size_t frame_size(bytes_view bytes) noexcept {
    const auto size = std::to_integer<std::size_t>(bytes[1]);
    if (size < 126) return 2 + size;
    if (size == 126) return 4 + std::size_t{load_big_endian<std::uint16_t>(&bytes[2])};
    return 10 + static_cast<std::size_t>(load_big_endian<std::uint64_t>(&bytes[2]));
}

}  // namespace kephas::websocket
