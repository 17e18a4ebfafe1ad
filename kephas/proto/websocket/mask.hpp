#pragma once

#include <kephas/base/bytes.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kephas::websocket {

/// A masking key (RFC 6455 5.3): its four bytes as they lie in memory, in the order of the wire.
enum class mask_key : std::uint32_t {};

[[nodiscard]] inline mask_key load_mask_key(const std::byte* from) noexcept {
    mask_key key;
    std::memcpy(&key, from, sizeof(key));
    return key;
}

inline void store_mask_key(std::byte* to, mask_key key) noexcept { std::memcpy(to, &key, sizeof(key)); }

/// The key for what comes after `offset` bytes of a payload.
[[nodiscard]] constexpr mask_key rotated(mask_key key, std::size_t offset) noexcept {
    const int bits = static_cast<int>(offset % 4) * 8;
    const auto value = static_cast<std::uint32_t>(key);
    return mask_key{std::endian::native == std::endian::little ? std::rotr(value, bits) : std::rotl(value, bits)};
}

/// Masks or unmasks `bytes` in place.
void apply_mask(mutable_bytes bytes, mask_key key) noexcept;

}  // namespace kephas::websocket
