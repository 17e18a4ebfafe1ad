#pragma once

#include <kephas/net/socket_address.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace kephas::test {

/// The end that `to_string` of a socket address has written: "127.0.0.1:80", "[::1]:80", a file, "@name". All addresses are the
/// loopback one.
inline socket_address end_of(const std::string& text) {
    if (text.starts_with('/') || text.starts_with('@')) return socket_address::of_unix(text);
    const auto port = static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
    if (text.starts_with('[')) {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        v6.sin6_addr = IN6ADDR_LOOPBACK_INIT;
        return {reinterpret_cast<const sockaddr*>(&v6), sizeof(v6)};
    }
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return {reinterpret_cast<const sockaddr*>(&v4), sizeof(v4)};
}

/// A blocking datagram socket that knows no kephas, connected to `server`.
class datagram_peer {
public:
    enum class name { given, none, unconnected };

    /// `none`: a Unix socket without a name; `unconnected`: one that has a name, and no peer.
    explicit datagram_peer(const socket_address& server, name named = name::given) : fd_{::socket(server.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        REQUIRE(fd_ >= 0);
        const timeval limit{10, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        const sockaddr unnamed{AF_UNIX, {}};
        if (server.family() == AF_UNIX && named != name::none) REQUIRE(::bind(fd_, &unnamed, sizeof(sa_family_t)) == 0);
        if (named != name::unconnected) REQUIRE(::connect(fd_, server.data(), static_cast<socklen_t>(server.size())) == 0);
    }
    explicit datagram_peer(const std::string& server, name named = name::given) : datagram_peer{end_of(server), named} {}
    datagram_peer(datagram_peer&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    datagram_peer& operator=(datagram_peer&&) = delete;
    ~datagram_peer() { close(); }

    void send(std::string_view text) const {
        REQUIRE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
    }
    void send_if_there(std::string_view text) const { (void)::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT); }
    /// The next one; nothing if none comes within ten seconds.
    [[nodiscard]] std::optional<std::string> receive() const {
        std::string text(256 * 1024, '\0');
        const ssize_t size = ::recv(fd_, text.data(), text.size(), 0);
        if (size < 0) return std::nullopt;
        text.resize(static_cast<std::size_t>(size));
        return text;
    }
    [[nodiscard]] bool nothing_there() const {
        char byte = 0;
        return ::recv(fd_, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
    }
    [[nodiscard]] std::string local_address() const {
        socket_address end;
        socklen_t size = socket_address::capacity;
        REQUIRE(::getsockname(fd_, end.data(), &size) == 0);
        end.resize(size);
        return to_string(end);
    }
    void set_receive_buffer(int bytes) const { ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

private:
    int fd_;
};

}  // namespace kephas::test
