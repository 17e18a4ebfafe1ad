#include "server_address.hpp"

#include "handshake.hpp"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

namespace bench {

namespace {

constexpr std::size_t connections_per_address = 8'000;  // of 28,000 ports: when half are taken, finding one takes long

[[noreturn]] void fail(const char* what) { throw std::system_error{errno, std::generic_category(), what}; }

void shake_hands(channel& server, const options& o, std::size_t index) {
    const handshake_key key = make_handshake_key(index);
    const std::string request = plain_request(o.server, key);
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(request.data());
    if (server.write({bytes, request.size()}) != static_cast<ssize_t>(request.size())) fail("request");
    std::string answer;
    while (!check_answer(answer, key)) {
        std::array<std::uint8_t, 2048> part;
        const ssize_t got = server.read(part);
        if (got == channel::would_block) throw server_fault{"no answer to the handshake for ten seconds"};
        if (got == channel::ended) throw server_fault{"no answer to the handshake"};
        answer.append(reinterpret_cast<const char*>(part.data()), static_cast<std::size_t>(got));
    }
}

}  // namespace

server_address::server_address(const url& server) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(server.host.c_str(), std::to_string(server.port).c_str(), &hints, &found);
    if (error != 0) throw std::runtime_error{server.host + ": " + gai_strerror(error)};
    // a name with both kinds of addresses is mostly that of this machine, where servers listen on the older kind
    const addrinfo* chosen = found;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next)
        if (each->ai_family == AF_INET && chosen->ai_family != AF_INET) chosen = each;
    std::memcpy(&address_, chosen->ai_addr, chosen->ai_addrlen);
    size_ = chosen->ai_addrlen;
    freeaddrinfo(found);
}

bool server_address::loopback() const noexcept {
    if (address_.ss_family != AF_INET) return false;
    sockaddr_in v4{};
    std::memcpy(&v4, &address_, sizeof v4);
    return ntohl(v4.sin_addr.s_addr) >> 24U == 127;
}

channel server_address::open_websocket(const options& o, const tls_settings& tls, std::size_t index) const {
    channel result{socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const int fd = result.fd();
    if (fd < 0) fail("socket");
    const int on = 1;
    const timeval patience{10, 0};
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) fail("SO_RCVTIMEO");
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) fail("SO_SNDTIMEO");
    if (const std::size_t other = index / connections_per_address; other > 0 && loopback()) {
        // the port is chosen at connect(), where only the whole four-tuple has to be free
        if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) fail("IP_BIND_ADDRESS_NO_PORT");
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(other));
        if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) fail("bind");
    }
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address_), size_) != 0) fail("connect");
    if (o.server.tls) result.start_tls(tls, o.server.host);
    shake_hands(result, o, index);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("O_NONBLOCK");
    return result;
}

channel server_address::begin_connecting() const {
    channel result{socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const int fd = result.fd();
    if (fd < 0) fail("socket");
    const int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address_), size_) != 0 && errno != EINPROGRESS) fail("connect");
    return result;
}

}  // namespace bench
