#include "url.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace bench {

namespace {

[[noreturn]] void refuse(std::string_view text, const char* why) {
    throw std::invalid_argument{std::string{text} + ": " + why};
}

std::uint16_t port_number(std::string_view whole, std::string_view digits) {
    unsigned port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size() || port == 0 || port > 65535)
        refuse(whole, "the port is not a number from 1 to 65535");
    return static_cast<std::uint16_t>(port);
}

}  // namespace

url parse_url(std::string_view text) {
    url result;
    result.text = text;
    std::string_view rest = text;
    if (rest.starts_with("ws://")) {
        rest.remove_prefix(5);
    } else if (rest.starts_with("wss://")) {
        rest.remove_prefix(6);
        result.tls = true;
    } else {
        refuse(text, "does not begin with ws:// or wss://");
    }
    if (!std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; }))
        refuse(text, "has a blank or another character that must be escaped");
    if (rest.find('#') != std::string_view::npos) refuse(text, "a WebSocket URL has no fragment");

    const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
    const std::string_view authority = rest.substr(0, end);
    result.authority = authority;
    result.target = rest.substr(end);
    if (!result.target.starts_with('/')) result.target.insert(0, 1, '/');
    if (authority.find('@') != std::string_view::npos) refuse(text, "user names are not supported");

    std::string_view after = authority;
    if (authority.starts_with('[')) {
        const std::size_t bracket = authority.find(']');
        if (bracket == std::string_view::npos) refuse(text, "the bracket of the address is not closed");
        result.host = authority.substr(1, bracket - 1);
        after.remove_prefix(bracket + 1);
        if (!after.empty() && after.front() != ':') refuse(text, "something other than a port follows the address");
    } else {
        result.host = authority.substr(0, authority.find(':'));
        after.remove_prefix(result.host.size());
    }
    if (result.host.empty()) refuse(text, "has no host");
    result.port = result.tls ? 443 : 80;
    if (!after.empty()) result.port = port_number(text, after.substr(1));
    return result;
}

}  // namespace bench
