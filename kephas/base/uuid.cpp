#include <kephas/base/uuid.hpp>

namespace kephas {

namespace {

constexpr bool is_hyphen_position(std::size_t i) noexcept { return i == 8 || i == 13 || i == 18 || i == 23; }

constexpr int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

uuid uuid::v4(bytes_type random) noexcept {
    uuid id;
    id.bytes_ = random;
    id.bytes_[6] = (random[6] & std::byte{0x0F}) | std::byte{0x40};  // version 4, RFC 9562 5.4
    id.bytes_[8] = (random[8] & std::byte{0x3F}) | std::byte{0x80};  // variant 10
    return id;
}

std::optional<uuid> uuid::parse(std::string_view text) noexcept {
    if (text.size() != 36) return std::nullopt;
    uuid id;
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (is_hyphen_position(i)) {
            if (text[i] != '-') return std::nullopt;
            continue;
        }
        const int digit = hex_digit(text[i]);
        if (digit < 0) return std::nullopt;
        auto& byte = id.bytes_[digits / 2];
        byte = (byte << 4) | static_cast<std::byte>(digit);
        ++digits;
    }
    return id;
}

std::string uuid::to_string() const {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text(36, '-');
    std::size_t i = 0;
    for (const std::byte byte : bytes_) {
        if (is_hyphen_position(i)) ++i;
        text[i++] = digits[std::to_integer<std::size_t>(byte >> 4)];
        text[i++] = digits[std::to_integer<std::size_t>(byte & std::byte{0x0F})];
    }
    return text;
}

}  // namespace kephas
