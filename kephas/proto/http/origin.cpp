#include <kephas/proto/http/authority.hpp>
#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/origin.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <utility>

namespace kephas {

namespace {

/// RFC 6454 6.2: "https://example.com:8443".
struct origin {
    std::string scheme;
    std::string host;
    std::uint16_t port = 0;  ///< 0: not written, and the scheme has no default.
};

std::uint16_t default_port(std::string_view scheme) noexcept {
    if (scheme == "http") return 80;
    if (scheme == "https") return 443;
    return 0;
}

bool is_scheme(std::string_view text) noexcept {  // RFC 3986 3.1
    const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
    return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
    });
}

std::optional<origin> parse_origin(std::string_view text) {
    const std::size_t colon = text.find("://");
    if (colon == std::string_view::npos) return std::nullopt;
    std::string scheme = http::to_lower(text.substr(0, colon));
    auto authority = http::parse_authority(text.substr(colon + 3));
    if (!is_scheme(scheme) || !authority) return std::nullopt;
    const std::uint16_t port = authority->port.value_or(default_port(scheme));
    return origin{std::move(scheme), std::move(authority->host), port};
}

/// Whether the page's origin is the host, and perhaps the port, that it asks. Only web pages have a host in that
/// sense: in "chrome-extension://id" it is something else.
bool is_same(std::string_view origin_text, const http::request& request, bool compare_ports) {
    const auto page = parse_origin(origin_text);
    const auto host = http::parse_authority(request.header("Host").value_or(std::string_view{}));
    if (!page || !host || default_port(page->scheme) == 0) return false;
    if (compare_ports && request.tls && page->scheme != "https") return false;
    return page->host == host->host &&
           (!compare_ports || page->port == host->port.value_or(default_port(page->scheme)));
}

}  // namespace

bool origin_policy::allows(const http::request& request) const {
    if (kind_ == kind::custom) return predicate_(request);
    const auto origin = request.header("Origin");
    if (!origin) return true;
    switch (kind_) {
        case kind::same_origin: return is_same(*origin, request, true);
        case kind::same_host: return is_same(*origin, request, false);
        case kind::listed: return is_listed(*origin);
        default: return true;
    }
}

bool origin_policy::is_listed(std::string_view origin) const {
    if (origin == "null") return null_listed_;
    const auto page = parse_origin(origin);
    return page && std::ranges::any_of(entries_, [&page](const entry& e) {
               if (page->scheme != e.scheme || page->port != e.port) return false;
               return e.subdomains ? page->host.size() > e.host.size() && page->host.ends_with(e.host)
                                   : page->host == e.host;
           });
}

void origin_policy::add(std::string_view text) {
    static constexpr std::string_view wildcard = "://*.";
    std::string pattern{text};
    if (pattern == "null") {
        null_listed_ = true;
        return;
    }
    const std::size_t star = pattern.find(wildcard);
    if (star != std::string::npos) pattern.erase(star + 3, 2);  // "https://*.example.com" is read without its "*."
    auto parsed = parse_origin(pattern);
    if (!parsed) {
        throw std::invalid_argument{"not an origin: \"" + std::string{text} +
                                    "\"; expected scheme://host, scheme://host:port, scheme://*.host or null"};
    }
    if (star != std::string::npos) parsed->host.insert(0, 1, '.');
    entries_.push_back({std::move(parsed->scheme), std::move(parsed->host), parsed->port, star != std::string::npos});
}

origin_policy same_origin() { return origin_policy{}; }

origin_policy same_host() { return origin_policy{origin_policy::kind::same_host}; }

origin_policy allow_origins(const std::vector<std::string>& origins) {
    origin_policy policy{origin_policy::kind::listed};
    for (const std::string& origin : origins) policy.add(origin);
    return policy;
}

origin_policy any_origin() { return origin_policy{origin_policy::kind::any}; }

origin_policy allow_origin_if(origin_policy::predicate allowed) {
    if (!allowed) throw std::invalid_argument{"allow_origin_if needs a function"};
    origin_policy policy{origin_policy::kind::custom};
    policy.predicate_ = std::move(allowed);
    return policy;
}

}  // namespace kephas
