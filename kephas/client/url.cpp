#include <kephas/base/error.hpp>

#include <kephas/client/url.hpp>

#include <algorithm>

namespace kephas {

namespace {

/// A password may stand in it: nothing of it is repeated.
[[noreturn]] void refuse(const char* why) { throw error{errc::invalid_address, why}; }

bool has_port(std::string_view authority) noexcept {
    const std::size_t bracket = authority.rfind(']');
    return authority.find(':', bracket == std::string_view::npos ? 0 : bracket) != std::string_view::npos;
}

client_url parse_websocket(std::string_view text, std::string_view rest, bool tls) {
    client_url url{.speaks = client_url::protocol::websocket, .text = std::string{text}};
    const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    const std::string_view authority = rest.substr(0, end);
    const std::string_view target = rest.substr(end);
    if (target.find('#') != std::string_view::npos) refuse("a WebSocket URL has no fragment (RFC 6455 3)");
    if (authority.find('@') != std::string_view::npos) {
        refuse("a name and password in a URL are not sent: set the header Authorization");
    }
    if (authority.empty() || authority.front() == ':') refuse("a WebSocket URL needs a host");
    const std::string_view own = tls ? ":443" : ":80";
    std::string full{tls ? "tls://" : "tcp://"};
    full += authority;
    if (!has_port(authority)) full += own;
    url.where = address::parse(full);
    if (url.where.port == 0) refuse("port 0 is for listening");
    url.host = authority.ends_with(own) ? authority.substr(0, authority.size() - own.size()) : authority;
    url.target = target.starts_with('/') ? std::string{target} : '/' + std::string{target};
    return url;
}

}  // namespace

client_url client_url::parse(std::string_view text) {
    for (const bool tls : {false, true}) {
        const std::string_view scheme = tls ? "wss://" : "ws://";
        if (text.starts_with(scheme)) return parse_websocket(text, text.substr(scheme.size()), tls);
    }
    client_url url{.where = address::parse(text), .text = std::string{text}};
    url.speaks = is_datagram(url.where.kind) ? protocol::datagram : protocol::stream;
    if (!is_unix(url.where.kind) && url.where.port == 0) refuse("port 0 is for listening");
    return url;
}

}  // namespace kephas
