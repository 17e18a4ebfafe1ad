#include <kephas/base/error.hpp>

#include <kephas/proto/http/authority.hpp>
#include <kephas/proto/http/percent.hpp>
#include <kephas/proto/http/request_parser.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string>
#include <string_view>

namespace kephas::http {

namespace {

using check = std::optional<refusal>;

constexpr refusal malformed(std::string_view reason) noexcept { return {status_code::bad_request, reason}; }

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Visible ASCII, and no fragment (RFC 9112 3.2.1, RFC 6455 3).
constexpr bool is_target_char(char c) noexcept { return c > 0x20 && c < 0x7F && c != '#'; }

check check_version(std::string_view version) noexcept {
    const bool is_version = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
                            version[6] == '.' && is_digit(version[7]);
    if (!is_version) return malformed("invalid HTTP version");
    if (version != "HTTP/1.1") return refusal{status_code::version_not_supported, "only HTTP/1.1 is spoken here"};
    return std::nullopt;
}

check check_target(std::string_view target, std::size_t limit) {
    if (target.size() > limit) return refusal{status_code::uri_too_long, "request target too long"};
    if (!target.starts_with('/')) return malformed("request target is not a path");
    if (!std::ranges::all_of(target, is_target_char)) return malformed("invalid character in the request target");
    const auto path = percent_decode(target.substr(0, target.find('?')));
    if (!path || path->find('\0') != std::string::npos) return malformed("invalid escape in the request target");
    return std::nullopt;
}

check check_start_line(std::string_view line, std::size_t max_target_size) {
    const std::size_t first = line.find(' ');
    const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos) return malformed("invalid request line");
    if (!is_token(line.substr(0, first))) return malformed("invalid method");
    if (auto failure = check_target(line.substr(first + 1, second - first - 1), max_target_size)) return failure;
    return check_version(line.substr(second + 1));
}

check check_content_length(std::string_view text) noexcept {
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    // from_chars takes no sign for an unsigned type, and says when the number is too large
    if (error != std::errc{} || end != text.data() + text.size()) return malformed("invalid Content-Length");
    return std::nullopt;
}

check check_headers(std::span<const header> headers) {
    // Read twice, each of these could mean two things to two programs (RFC 9112 3.2 and 6.3, RFC 6455 11.3).
    static constexpr std::array<std::string_view, 7> unique = {
        "Host",   "Content-Length", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
        "Origin", "Authorization",  "Content-Type",
    };
    for (const std::string_view name : unique) {
        if (count_headers(headers, name) > 1) return malformed("repeated header that must be unique");
    }
    const auto host = find_header(headers, "Host");
    if (!host) return malformed("missing Host");
    if (!parse_authority(*host)) return malformed("invalid Host");
    if (find_header(headers, "Transfer-Encoding")) return malformed("Transfer-Encoding is not supported");
    if (const auto length = find_header(headers, "Content-Length")) return check_content_length(*length);
    return std::nullopt;
}

/// The request of a head that has passed all checks. Lines of one name are one header (RFC 9110 5.3).
request read(const head_collector& head) {
    const std::string_view line = head.start_line();
    const std::size_t first = line.find(' ');
    const std::size_t second = line.find(' ', first + 1);
    request result;
    result.method = line.substr(0, first);
    result.target = line.substr(first + 1, second - first - 1);
    result.version = line.substr(second + 1);
    const std::size_t question = std::min(result.target.find('?'), result.target.size());
    result.path = percent_decode(std::string_view{result.target}.substr(0, question)).value_or(std::string{});
    result.query_string = result.target.substr(std::min(question + 1, result.target.size()));
    result.headers.reserve(head.headers().size());
    for (const header& each : head.headers()) {
        const auto known = std::ranges::find_if(
            result.headers, [&](const header& other) { return equal_ignoring_case(other.name, each.name); });
        if (known == result.headers.end()) result.headers.push_back(each);
        else known->value += known->value.empty() ? each.value : ", " + each.value;
    }
    if (const auto length = result.header("Content-Length")) {
        std::from_chars(length->data(), length->data() + length->size(), result.content_length);
    }
    return result;
}

result<request, refusal> parse(const head_collector& head) {
    if (auto failure = check_start_line(head.start_line(), head.limits().max_target_size)) return *failure;
    if (auto failure = check_headers(head.headers())) return *failure;
    return read(head);
}

}  // namespace

request_parser::request_parser(head_limits limits) noexcept
    : head_{{std::min(limits.max_head_size, largest_head), std::min(limits.max_headers, most_headers),
             limits.max_target_size}} {}

std::size_t request_parser::handle(bytes_view in) {
    if (complete() || failure_) return 0;
    const std::size_t taken = head_.handle(in);
    failure_ = head_.failure();
    if (!head_.complete()) return taken;
    auto parsed = parse(head_);
    if (!parsed) {
        failure_ = parsed.error();
        return 0;
    }
    request_ = std::move(parsed).value();
    head_ = head_collector{};  // its memory is no longer needed
    return taken;
}

}  // namespace kephas::http
