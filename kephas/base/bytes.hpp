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

/// `value` with its bytes in network byte order, or back: a loop over bytes is not recognised as the one instruction it is.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T big_endian(T value) noexcept {
    if constexpr (sizeof(T) == 1 || std::endian::native == std::endian::big) return value;
    else if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    else if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    else return __builtin_bswap64(value);
}

/// Reads an integer in network byte order from `sizeof(T)` bytes, aligned or not.
template <std::unsigned_integral T>
[[nodiscard]] inline T load_big_endian(const std::byte* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return big_endian(value);
}

/// Writes `value` in network byte order to `sizeof(T)` bytes, aligned or not.
template <std::unsigned_integral T>
inline void store_big_endian(std::byte* to, T value) noexcept {
    value = big_endian(value);
    std::memcpy(to, &value, sizeof(T));
}

}  // namespace kephas
