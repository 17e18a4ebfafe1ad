#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace kephas {

using bytes_view = std::span<const std::byte>;
using mutable_bytes = std::span<std::byte>;

/// The bytes of `text`, without a copy.
[[nodiscard]] inline bytes_view as_bytes(std::string_view text) noexcept {
    return std::as_bytes(std::span{text.data(), text.size()});
}

/// `bytes` seen as text, without a copy or a check of its encoding.
[[nodiscard]] inline std::string_view as_text(bytes_view bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Reads an integer in network byte order from `sizeof(T)` bytes, aligned or not.
template <std::unsigned_integral T>
[[nodiscard]] inline T load_big_endian(const std::byte* from) noexcept {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((value << 8U) | std::to_integer<T>(from[i]));
    return value;
}

/// Writes `value` in network byte order to `sizeof(T)` bytes, aligned or not.
template <std::unsigned_integral T>
inline void store_big_endian(std::byte* to, T value) noexcept {
    for (std::size_t i = sizeof(T); i > 0; --i) {
        to[i - 1] = static_cast<std::byte>(value & 0xFFU);
        value = static_cast<T>(static_cast<std::uint64_t>(value) >> 8U);
    }
}

}  // namespace kephas
