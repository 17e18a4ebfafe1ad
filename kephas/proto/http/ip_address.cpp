#include <kephas/proto/http/ip_address.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace kephas::http {

namespace {

/// The number at the start of `text`, which loses it. At most `most_digits` digits.
std::optional<unsigned> take_number(std::string_view& text, int base, std::size_t most_digits) noexcept {
    unsigned value = 0;
    const char* const end = text.data() + std::min(text.size(), most_digits);
    const auto [stopped, failure] = std::from_chars(text.data(), end, value, base);
    if (failure != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stopped - text.data()));
    return value;
}

std::optional<std::uint32_t> parse_v4(std::string_view text) noexcept {
    std::uint32_t value = 0;
    for (int part = 0; part < 4; ++part) {
        if (part > 0) {
            if (!text.starts_with('.')) return std::nullopt;
            text.remove_prefix(1);
        }
        const bool leading_zero = text.size() > 1 && text[0] == '0' && text[1] != '.';
        const auto number = leading_zero ? std::nullopt : take_number(text, 10, 3);
        if (!number || *number > 255) return std::nullopt;
        value = value << 8U | *number;
    }
    return text.empty() ? std::optional{value} : std::nullopt;
}

/// The groups of 16 bits that `text` lists, as bytes; -1 if it is no such list.
int parse_groups(std::string_view text, ip_address::bytes_type& out, bool may_end_in_v4) noexcept {
    int size = 0;
    if (text.empty()) return 0;
    for (;;) {
        if (size > 14) return -1;
        const bool last = text.find(':') == std::string_view::npos;
        if (last && text.find('.') != std::string_view::npos) {
            const auto v4 = may_end_in_v4 ? parse_v4(text) : std::nullopt;
            if (!v4 || size > 12) return -1;
            for (int shift = 24; shift >= 0; shift -= 8) {
                out[static_cast<std::size_t>(size++)] = static_cast<std::uint8_t>(*v4 >> static_cast<unsigned>(shift));
            }
            return size;
        }
        const auto group = take_number(text, 16, 4);
        if (!group) return -1;
        out[static_cast<std::size_t>(size++)] = static_cast<std::uint8_t>(*group >> 8U);
        out[static_cast<std::size_t>(size++)] = static_cast<std::uint8_t>(*group & 0xFFU);
        if (text.empty()) return size;
        if (!text.starts_with(':')) return -1;
        text.remove_prefix(1);
    }
}

}  // namespace

std::optional<ip_address> ip_address::parse(std::string_view text) noexcept {
    if (text.find(':') == std::string_view::npos) {
        const auto value = parse_v4(text);
        return value ? std::optional{v4(*value)} : std::nullopt;
    }
    const std::size_t gap = text.find("::");
    bytes_type bytes{};
    if (gap == std::string_view::npos) {
        return parse_groups(text, bytes, true) == 16 ? std::optional{ip_address{bytes}} : std::nullopt;
    }
    bytes_type tail{};
    const int front_size = parse_groups(text.substr(0, gap), bytes, false);
    const int tail_size = parse_groups(text.substr(gap + 2), tail, true);
    // the gap stands for one group at least
    if (front_size < 0 || tail_size < 0 || front_size + tail_size > 14) return std::nullopt;
    std::copy_n(tail.begin(), tail_size, bytes.end() - tail_size);
    return ip_address{bytes};
}

std::string ip_address::to_string() const {
    if (is_v4()) return fmt::format("{}.{}.{}.{}", bytes_[12], bytes_[13], bytes_[14], bytes_[15]);
    std::array<unsigned, 8> groups;
    for (std::size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(bytes_[2 * i]) << 8U | bytes_[2 * i + 1];
    // the first of the longest runs of at least two zeros is left out (RFC 5952 4.2)
    std::size_t gap = 8;
    std::size_t gap_size = 1;
    for (std::size_t i = 0; i < 8; ++i) {
        std::size_t size = 0;
        while (i + size < 8 && groups[i + size] == 0) ++size;
        if (size > gap_size) {
            gap = i;
            gap_size = size;
        }
    }
    std::string out;
    for (std::size_t i = 0; i < 8; ++i) {
        if (i == gap) {
            out += "::";
            i += gap_size - 1;
            continue;
        }
        if (!out.empty() && !out.ends_with(':')) out += ':';
        fmt::format_to(std::back_inserter(out), "{:x}", groups[i]);
    }
    return out;
}

}  // namespace kephas::http
