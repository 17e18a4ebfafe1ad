#include "connection.hpp"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>
#include <system_error>

namespace bench {

namespace {

// RFC 6455 section 1.3: the key of its example, and what the server has to make of it
constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view accept_value = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

[[noreturn]] void fail(const char* what) { throw std::system_error{errno, std::generic_category(), what}; }

sockaddr_in loopback(std::uint32_t address, std::uint16_t port) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(port);
    result.sin_addr.s_addr = htonl(address);
    return result;
}

void connect_from(int fd, std::uint32_t source, std::uint16_t port) {
    const int on = 1;
    const timeval patience{10, 0};
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) fail("SO_RCVTIMEO");
    if (source != INADDR_LOOPBACK) {
        // the port is chosen at connect(), where only the whole four-tuple has to be free
        if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) fail("IP_BIND_ADDRESS_NO_PORT");
        const sockaddr_in from = loopback(source, 0);
        if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) fail("bind");
    }
    const sockaddr_in to = loopback(INADDR_LOOPBACK, port);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
}

/// Reads from the socket, or from TLS on it.
class channel {
public:
    channel(int fd, bool tls) : fd_{fd} {
        if (!tls) return;
        static const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free};
        ssl_.reset(SSL_new(context.get()));
        SSL_set_fd(ssl_.get(), fd);
        if (SSL_connect(ssl_.get()) != 1) throw server_fault{"no TLS handshake"};
    }
    bool send(std::string_view text) {
        if (ssl_) return SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0;
        return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
    }
    ssize_t receive(std::span<char> into) {
        if (ssl_) return SSL_read(ssl_.get(), into.data(), static_cast<int>(into.size()));
        return recv(fd_, into.data(), into.size(), 0);
    }

private:
    int fd_;
    // Freed after the handshake, which says nothing to the server: an idle connection is a socket and no more.
    std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, &SSL_free};
};

void shake_hands(int fd, const options& o) {
    const std::string request = "GET " + o.path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(o.port) +
                                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: " +
                                std::string{key} + "\r\n\r\n";
    channel server{fd, o.tls};
    if (!server.send(request)) fail("send");
    // nothing can follow the answer yet: an echo server has nothing to say before it is spoken to
    std::string answer;
    while (answer.find("\r\n\r\n") == std::string::npos) {
        std::array<char, 2048> bytes;
        const ssize_t got = server.receive(bytes);
        if (got < 0) fail("answer to the handshake");
        if (got == 0 || answer.size() > 16 * 1024) throw server_fault{"no answer to the handshake"};
        answer.append(bytes.data(), static_cast<std::size_t>(got));
    }
    if (!answer.starts_with("HTTP/1.1 101 ")) throw server_fault{"refused: " + answer.substr(0, answer.find('\r'))};
    if (answer.find(accept_value) == std::string::npos) throw server_fault{"wrong Sec-WebSocket-Accept"};
    if (!answer.ends_with("\r\n\r\n")) throw server_fault{"an unasked message"};
}

}  // namespace

int open_websocket(const options& o, std::uint32_t source) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    try {
        connect_from(fd, source, o.port);
        shake_hands(fd, o);
        if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("O_NONBLOCK");
    } catch (...) {
        close(fd);
        throw;
    }
    return fd;
}

}  // namespace bench
