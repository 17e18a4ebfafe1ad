#include <kephas/net/address.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace kephas {

namespace {

struct named {
    std::string_view name;
    network kind;
};
constexpr std::array<named, 8> networks{{{"tcp", network::tcp},
                                         {"tcp4", network::tcp4},
                                         {"tcp6", network::tcp6},
                                         {"udp", network::udp},
                                         {"udp4", network::udp4},
                                         {"udp6", network::udp6},
                                         {"unix", network::unix_stream},
                                         {"unixgram", network::unix_datagram}}};

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
    std::string shown;
    for (const char c : text.substr(0, 300)) {
        if (static_cast<unsigned char>(c) < ' ' || c == '\x7F') shown += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
        else shown += c;
    }
    throw error{errc::invalid_address, fmt::format("\"{}\": {}", shown, why)};
}

/// The host of `HOST:PORT`; `rest` keeps the port.
std::string_view take_host(std::string_view text, std::string_view& rest) {
    if (rest.starts_with('[')) {
        const std::size_t end = rest.find(']');
        if (end == std::string_view::npos) refuse(text, "the bracket is not closed");
        const std::string_view host = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
        if (host.find(':') == std::string_view::npos) refuse(text, "only an IPv6 address stands in brackets");
        if (!rest.starts_with(':')) refuse(text, "the port is missing");
        rest.remove_prefix(1);
        return host;
    }
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos) refuse(text, "the port is missing");
    if (rest.find(':', colon + 1) != std::string_view::npos) refuse(text, "an IPv6 address stands in brackets: [::1]:80");
    const std::string_view host = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
    return host;
}

std::uint16_t parse_port(std::string_view text, std::string_view digits) {
    if (digits.empty()) refuse(text, "the port is missing");
    std::uint16_t port = 0;
    const char* const end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, port);
    if (read.ec != std::errc{} || read.ptr != end) refuse(text, "the port is not 0 to 65535");
    return port;
}

bool is_graphic(char c) noexcept { return c > ' ' && c != '\x7F'; }

address parse_internet(network kind, std::string_view text, std::string_view rest) {
    address where{.kind = kind};
    const std::string_view host = take_host(text, rest);
    for (const char c : host) {
        if (!is_graphic(c) || c == '/' || c == '[' || c == ']' || c == '@') refuse(text, "the host has a character that no host has");
    }
    static constexpr std::size_t longest_name = 253;  // RFC 1035 2.3.4
    if (host.size() > longest_name) refuse(text, "the host has more than 253 bytes");
    where.host = host;
    where.port = parse_port(text, rest);
    return where;
}

address parse_unix(network kind, std::string_view text, std::string_view path) {
    if (path.empty() || path == "@") refuse(text, "the path of the Unix socket is missing");
    if (path.size() > longest_unix_path) refuse(text, "the path of a Unix socket has at most 107 bytes");
    if (path.find('\0') != std::string_view::npos) refuse(text, "the path of a Unix socket has no NUL");
    return {.kind = kind, .path = std::string{path}};
}

address parse_any(network kind, std::string_view text, std::string_view rest) {
    return is_unix(kind) ? parse_unix(kind, text, rest) : parse_internet(kind, text, rest);
}

}  // namespace

std::string_view to_string(network kind) noexcept { return networks[static_cast<std::size_t>(kind)].name; }

std::optional<network> parse_network(std::string_view text) noexcept {
    for (const named& each : networks) {
        if (each.name == text) return each.kind;
    }
    return std::nullopt;
}

address address::parse(std::string_view text) {
    const std::size_t mark = text.find("://");
    if (mark == std::string_view::npos) refuse(text, "expected SCHEME://ADDRESS, for example tcp://127.0.0.1:8080");
    const std::string_view scheme = text.substr(0, mark);
    const std::string_view rest = text.substr(mark + 3);
    if (scheme.starts_with("tls")) {
        const std::string plain = fmt::format("tcp{}", scheme.substr(3));
        if (const auto kind = parse_network(plain)) {
            address where = parse_any(*kind, text, rest);
            where.tls = true;
            return where;
        }
    }
    const auto kind = parse_network(scheme);
    if (!kind) refuse(text, "the scheme is not tcp, tls, udp, unix or unixgram");
    return parse_any(*kind, text, rest);
}

address address::parse(network kind, std::string_view text) { return parse_any(kind, text, text); }

std::string to_string(const address& where) {
    std::string_view scheme = to_string(where.kind);
    if (is_unix(where.kind)) return fmt::format("{}://{}", scheme, where.path);
    const bool v6 = where.host.find(':') != std::string::npos;
    const std::string host = v6 ? fmt::format("[{}]", where.host) : where.host;
    if (where.tls) return fmt::format("tls{}://{}:{}", scheme.substr(3), host, where.port);
    return fmt::format("{}://{}:{}", scheme, host, where.port);
}

std::string to_string(const sockaddr* end, std::size_t size) {
    sockaddr_storage storage{};
    std::memcpy(&storage, end, std::min(size, sizeof(storage)));
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &storage, sizeof(v4));
        return fmt::format("{}:{}", ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size()), ntohs(v4.sin_port));
    }
    if (storage.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &storage, sizeof(v6));
        const std::string host = ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
        const std::string scope = v6.sin6_scope_id == 0 ? "" : fmt::format("%{}", v6.sin6_scope_id);
        return fmt::format("[{}{}]:{}", host, scope, ntohs(v6.sin6_port));
    }
    static constexpr std::size_t head = offsetof(sockaddr_un, sun_path);
    if (storage.ss_family != AF_UNIX || size <= head) return {};
    std::string path{reinterpret_cast<const char*>(&storage) + head, std::min(size, sizeof(sockaddr_un)) - head};
    if (path.front() == '\0') path.front() = '@';
    else path.resize(std::min(path.find('\0'), path.size()));
    return path;
}

}  // namespace kephas
