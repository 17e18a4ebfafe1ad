#pragma once

#include <cstddef>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace kephas::test {

/// "89 05 48656c"_hex: the bytes; blanks are for the reader.
inline std::vector<std::byte> from_hex(std::string_view text) {
    std::vector<std::byte> bytes;
    int high = -1;
    for (const char c : text) {
        if (c == ' ' || c == '\n') continue;
        int digit = 0;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        else throw std::invalid_argument{"not a hex digit"};
        if (high < 0) {
            high = digit;
        } else {
            bytes.push_back(static_cast<std::byte>(high * 16 + digit));
            high = -1;
        }
    }
    if (high >= 0) throw std::invalid_argument{"odd number of hex digits"};
    return bytes;
}

inline namespace literals {
inline std::vector<std::byte> operator""_hex(const char* text, std::size_t size) { return from_hex({text, size}); }
}  // namespace literals

}  // namespace kephas::test
