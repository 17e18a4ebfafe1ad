#include <kephas/proto/http/header.hpp>

#include <algorithm>

namespace kephas::http {

namespace {

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr bool is_token_char(char c) noexcept {
    const char l = lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos);
}

constexpr bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }

constexpr bool is_control(char c) noexcept { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; }

}  // namespace

bool is_token(std::string_view text) noexcept { return !text.empty() && std::ranges::all_of(text, is_token_char); }

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::string to_lower(std::string_view text) {
    std::string result{text};
    std::ranges::transform(result, result.begin(), lower);
    return result;
}

std::string_view trim(std::string_view text) noexcept {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

std::optional<std::string_view> find_header(std::span<const header> headers, std::string_view name) noexcept {
    for (const header& h : headers) {
        if (equal_ignoring_case(h.name, name)) return h.value;
    }
    return std::nullopt;
}

std::size_t count_headers(std::span<const header> headers, std::string_view name) noexcept {
    return static_cast<std::size_t>(
        std::ranges::count_if(headers, [name](const header& h) { return equal_ignoring_case(h.name, name); }));
}

std::vector<std::string_view> list_elements(std::span<const header> headers, std::string_view name) {
    std::vector<std::string_view> elements;
    for (const header& h : headers) {
        if (!equal_ignoring_case(h.name, name)) continue;
        std::string_view rest = h.value;
        while (!rest.empty()) {
            const std::size_t comma = std::min(rest.find(','), rest.size());
            if (const auto element = trim(rest.substr(0, comma)); !element.empty()) elements.push_back(element);
            rest.remove_prefix(std::min(comma + 1, rest.size()));
        }
    }
    return elements;
}

bool list_contains(std::span<const header> headers, std::string_view name, std::string_view element) {
    return std::ranges::any_of(list_elements(headers, name),
                               [element](std::string_view e) { return equal_ignoring_case(e, element); });
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
    if (!is_token(name)) return;
    out.append(name).append(": ");
    for (const char c : value) out.push_back(is_control(c) ? ' ' : c);  // RFC 9110 5.5
    out.append("\r\n");
}

}  // namespace kephas::http
