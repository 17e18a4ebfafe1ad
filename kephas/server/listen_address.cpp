#include <kephas/net/resolve.hpp>
#include <kephas/net/socket_address.hpp>

#include <kephas/server/listen_address.hpp>

#include <asio/ip/tcp.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
    throw error{errc::invalid_address, fmt::format("\"{}\": {}", text, why)};
}

asio::ip::address parse_host(std::string_view text, std::string_view host) {
    if (host == "localhost") return asio::ip::address_v4::loopback();
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    asio::error_code ec;
    const auto address = asio::ip::make_address(std::string{host}, ec);
    if (ec) refuse(text, "the host is not an IP address or localhost");
    return address;
}

asio::ip::tcp::endpoint parse_host_and_port(std::string_view text, std::string_view authority) {
    const std::size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos || authority.ends_with(']')) refuse(text, "the port is missing");
    const std::string_view digits = authority.substr(colon + 1);
    std::uint16_t port = 0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (failure != std::errc{} || end != digits.data() + digits.size()) refuse(text, "the port is not 0 to 65535");
    return {parse_host(text, authority.substr(0, colon)), port};
}

asio::ip::tcp::endpoint tcp_endpoint(const asio::generic::stream_protocol::endpoint& endpoint) {
    asio::ip::tcp::endpoint tcp;
    std::memcpy(tcp.data(), endpoint.data(), std::min(endpoint.size(), tcp.capacity()));
    return tcp;
}

bool is_ip(const asio::generic::stream_protocol::endpoint& endpoint) {
    const int family = endpoint.data()->sa_family;
    return family == AF_INET || family == AF_INET6;
}

}  // namespace

listen_address listen_address::parse(std::string_view text) {
    const std::size_t mark = text.find("://");
    if (mark == std::string_view::npos) refuse(text, "expected ws[s]://HOST:PORT/PATH, http[s]://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///FILE");
    const std::string_view scheme = text.substr(0, mark);
    std::string_view rest = text.substr(mark + 3);
    listen_address address;
    if (scheme == "unix") {
        if (!rest.starts_with('/') && !rest.starts_with('@')) refuse(text, "the file of a Unix socket is an absolute path");
        const kephas::address where = kephas::address::parse(text);
        address.what = kind::unix_socket;
        address.socket_file = where.path;
        const socket_address end = socket_address::of_unix(where.path);
        address.endpoint = {end.data(), end.size()};
        return address;
    }
    if (scheme.starts_with("udp") || scheme == "unixgram") {
        address.what = kind::datagrams;
        address.path.clear();
        address.where = kephas::address::parse(text);
        return address;
    }
    if (scheme.starts_with("tcp") || scheme.starts_with("tls")) {
        address.what = kind::commands;
        address.path.clear();
        address.where = kephas::address::parse(text);
        address.tls = address.where.tls;
        const socket_address end = address_to_bind(address.where);  // says what is wrong with it
        address.endpoint = {end.data(), end.size()};
        return address;
    }
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    address.endpoint = parse_host_and_port(text, rest.substr(0, slash));
    const std::string_view path = rest.substr(slash);
    address.tls = scheme == "wss" || scheme == "https";
    if (scheme == "ws" || scheme == "wss") {
        address.path = path.empty() ? "/" : path;
    } else if (scheme == "http" || scheme == "https") {
        if (path.size() > 1) refuse(text, "an http listener has no path");
        address.what = kind::http;
        address.path.clear();
    } else {
        refuse(text, "the scheme is not ws, wss, http, https, tcp, tls, udp, unix or unixgram");
    }
    return address;
}

std::optional<http::ip_address> peer_address(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    auto* const end = reinterpret_cast<sockaddr*>(&storage);
    if (::getpeername(fd, end, &size) != 0) return http::ip_address::v4(0);  // it has gone
    return ip_address_of(end, size);
}

std::optional<http::ip_address> ip_address_of(const sockaddr* end, std::size_t size) noexcept {
    sockaddr_storage storage{};
    std::memcpy(&storage, end, std::min(size, sizeof(storage)));
    if (storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &storage, sizeof(v4));
        return http::ip_address::v4(ntohl(v4.sin_addr.s_addr));
    }
    if (storage.ss_family != AF_INET6) return std::nullopt;
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage, sizeof(v6));
    http::ip_address::bytes_type bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return http::ip_address{bytes};
}

std::string to_string(const asio::generic::stream_protocol::endpoint& endpoint) {
    return to_string(endpoint.data(), endpoint.size());
}

std::uint16_t port_of(const asio::generic::stream_protocol::endpoint& endpoint) {
    return is_ip(endpoint) ? tcp_endpoint(endpoint).port() : std::uint16_t{0};
}

}  // namespace kephas
