#include "soak.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace soak {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error{errno, std::system_category(), what}; }

void send_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) fail("send");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

std::string receive(int socket, std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t have = 0; have < size;) {
        const ssize_t got = ::recv(socket, bytes.data() + have, size - have, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail("recv");
        if (got == 0) throw std::runtime_error{"the server has closed the connection"};
        have += static_cast<std::size_t>(got);
    }
    return bytes;
}

std::string command_frame(std::uint32_t command, std::string_view payload) {
    if (payload.size() > 121) throw std::invalid_argument{"a short payload, please"};
    std::string frame{'\x82', static_cast<char>(0x80 | (4 + payload.size())), 0, 0, 0, 0};  // masked with zeros
    for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(command >> shift);
    return frame.append(payload);
}

}  // namespace

int connect_to(std::uint16_t port, int receive_buffer) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) fail("socket");
    if (receive_buffer > 0) ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail("connect");
    return socket;
}

void handshake(int socket, std::string_view target) {
    send_all(socket, "GET " + std::string{target} +
                         " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    std::string head;
    while (head.size() < 4 || head.compare(head.size() - 4, 4, "\r\n\r\n") != 0) head += receive(socket, 1);
    if (head.rfind("HTTP/1.1 101 ", 0) != 0) throw std::runtime_error{"not upgraded: " + head.substr(0, head.find('\r'))};
}

void send_command(int socket, std::uint32_t command, std::string_view payload) {
    send_all(socket, command_frame(command, payload));
}

double echo(int socket, std::uint32_t command, std::string_view payload) {
    const auto start = std::chrono::steady_clock::now();
    send_command(socket, command, payload);
    for (;;) {
        const std::string head = receive(socket, 2);
        const std::string body = receive(socket, static_cast<unsigned char>(head[1]));
        if (head[0] == '\x89') continue;  // a ping of the server's: these clients live too short for an answer to matter
        if (head[0] != '\x82' || body.substr(4) != payload) throw std::runtime_error{"not the echo"};
        break;
    }
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

long memory(std::string_view line) {
    std::ifstream status{"/proc/self/status"};
    for (std::string text; std::getline(status, text);) {
        if (text.compare(0, line.size(), line) == 0) return std::stol(text.substr(line.size()));
    }
    return 0;
}

double latencies::quantile(double q) {
    if (values_.empty()) return 0;
    const auto at = values_.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values_.size() - 1));
    std::nth_element(values_.begin(), at, values_.end());
    return *at;
}

}  // namespace soak
