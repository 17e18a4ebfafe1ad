#include <kephas/proto/http/authority.hpp>
#include <kephas/proto/http/header.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace kephas::http {

namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

constexpr bool is_name_char(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '.' || c == '_' ||
           c == '~' || c == '%';
}

constexpr bool is_ipv6_char(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

/// The length of the host at the start of `text`; 0 when there is none.
std::size_t host_length(std::string_view text) noexcept {
    if (!text.starts_with('[')) {
        return static_cast<std::size_t>(std::ranges::find_if_not(text, is_name_char) - text.begin());
    }
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return 0;
    const std::string_view address = text.substr(1, end - 1);
    const bool plausible = address.find(':') != std::string_view::npos && std::ranges::all_of(address, is_ipv6_char);
    return plausible ? end + 1 : 0;
}

}  // namespace

std::optional<authority> parse_authority(std::string_view text) {
    const std::size_t length = host_length(text);
    if (length == 0) return std::nullopt;
    authority result{to_lower(text.substr(0, length)), std::nullopt};
    std::string_view rest = text.substr(length);
    if (rest.empty()) return result;
    if (rest.front() != ':') return std::nullopt;
    rest.remove_prefix(1);
    if (rest.empty()) return result;
    if (!std::ranges::all_of(rest, is_digit)) return std::nullopt;
    std::uint16_t port = 0;
    if (std::from_chars(rest.data(), rest.data() + rest.size(), port).ec != std::errc{}) return std::nullopt;
    result.port = port;
    return result;
}

}  // namespace kephas::http
