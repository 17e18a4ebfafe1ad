#include <support/test_client.hpp>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace kephas::test {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error{errno, std::system_category(), what}; }

/// A constructor that throws runs no destructor.
[[noreturn]] void fail_to_connect(int fd) {
    const int why = errno;
    ::close(fd);
    throw std::system_error{why, std::system_category(), "connect"};
}

constexpr std::string_view mask = "\x12\x34\x56\x78";

}  // namespace

test_client::test_client(std::uint16_t port, int receive_buffer, const char* from)
    : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    if (fd_ < 0) fail("socket");
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (from != nullptr) {
        ::inet_pton(AF_INET, from, &address.sin_addr);
        if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail_to_connect(fd_);
    }
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail_to_connect(fd_);
}

test_client::test_client(const std::string& socket_file) : fd_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    if (fd_ < 0) fail("socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket_file.c_str(), std::min(socket_file.size() + 1, sizeof(address.sun_path)));
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail_to_connect(fd_);
}

test_client::test_client(std::unique_ptr<test_transport> transport) : transport_{std::move(transport)} {}

test_client::test_client(test_client&& other) noexcept
    : fd_{std::exchange(other.fd_, -1)}, transport_{std::move(other.transport_)}, buffer_{std::move(other.buffer_)},
      deflate_{other.deflate_} {}

test_client::~test_client() { close(); }

test_client test_client::open(std::uint16_t port, std::string_view target, std::string_view headers) {
    test_client client{port};
    const std::string head = client.handshake(target, headers);
    if (!head.starts_with("HTTP/1.1 101 ")) throw std::runtime_error{"not upgraded: " + head};
    return client;
}

std::string test_client::handshake(std::string_view target, std::string_view headers) {
    send_raw("GET " + std::string{target} +
             " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
             std::string{headers} + "\r\n");
    std::string head = read_head();
    deflate_ = head.find("permessage-deflate") != std::string::npos;
    return head;
}

void test_client::send_raw(bytes_view bytes) {
    if (transport_) return transport_->send(bytes);
    while (!bytes.empty()) {
        pollfd ready{fd_, POLLOUT, 0};
        if (::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) <= 0) {
            throw std::runtime_error{"the server does not read"};
        }
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) fail("send");
        if (sent > 0) bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
}

std::string test_client::frame(int opcode, std::string_view payload, bool fin) {
    std::string out;
    out += static_cast<char>((fin ? 0x80 : 0) | opcode);
    if (payload.size() < 126) {
        out += static_cast<char>(0x80 | payload.size());
    } else {
        const int bytes = payload.size() <= 0xFFFF ? 2 : 8;
        out += static_cast<char>(0x80 | (bytes == 2 ? 126 : 127));
        for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>((payload.size() >> (8 * i)) & 0xFF);
    }
    out += mask;
    const std::size_t start = out.size();
    out += payload;
    for (std::size_t i = start; i < out.size(); ++i) out[i] = static_cast<char>(out[i] ^ mask[(i - start) % 4]);
    return out;
}

void test_client::send_frame(int opcode, std::string_view payload, bool fin) { send_raw(frame(opcode, payload, fin)); }

std::string test_client::command(std::uint32_t id, std::string_view payload) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((id >> shift) & 0xFF);
    return out.append(payload);
}

void test_client::send_close(std::uint16_t code, std::string_view reason) {
    std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
    send_frame(8, payload.append(reason));
}

bool test_client::fill() {
    if (transport_) {
        char chunk[65536];
        const std::size_t size = transport_->receive(chunk);
        buffer_.append(chunk, size);
        return size > 0;
    }
    pollfd ready{fd_, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) <= 0) {
        throw std::runtime_error{"the server says nothing"};
    }
    char chunk[65536];
    const ssize_t size = ::recv(fd_, chunk, sizeof(chunk), 0);
    if (size < 0) fail("recv");
    buffer_.append(chunk, static_cast<std::size_t>(size));
    return size > 0;
}

received_frame test_client::read_frame() {
    const auto need = [this](std::size_t size) {
        while (buffer_.size() < size) {
            if (!fill()) throw std::runtime_error{"the stream ended"};
        }
    };
    need(2);
    received_frame frame;
    const auto first = static_cast<unsigned char>(buffer_[0]);
    const auto second = static_cast<unsigned char>(buffer_[1]);
    if ((first & (deflate_ ? 0x30 : 0x70)) != 0) throw std::runtime_error{"reserved bits are set"};
    if ((second & 0x80) != 0) throw std::runtime_error{"a server must not mask"};
    frame.fin = (first & 0x80) != 0;
    frame.opcode = first & 0x0F;
    frame.rsv1 = (first & 0x40) != 0;
    std::size_t head = 2;
    std::uint64_t size = second & 0x7F;
    if (size >= 126) {
        const std::size_t bytes = size == 126 ? 2 : 8;
        need(2 + bytes);
        size = 0;
        for (std::size_t i = 0; i < bytes; ++i) size = (size << 8) | static_cast<unsigned char>(buffer_[2 + i]);
        head += bytes;
    }
    need(head + size);
    frame.payload = buffer_.substr(head, size);
    buffer_.erase(0, head + size);
    return frame;
}

std::optional<received_frame> test_client::read_message() {
    for (;;) {
        if (buffer_.empty() && !fill()) return std::nullopt;
        received_frame frame = read_frame();
        if (frame.opcode != 9) return frame;
    }
}

std::string test_client::read_text() {
    const auto frame = read_message();
    if (!frame || frame->opcode != 1) throw std::runtime_error{"expected a text message"};
    return frame->payload;
}

std::string test_client::read_command(std::uint32_t id) {
    const auto frame = read_message();
    if (!frame || frame->opcode != 2) throw std::runtime_error{"expected a binary message"};
    if (!frame->payload.starts_with(command(id, {}))) throw std::runtime_error{"another command: " + frame->payload};
    return frame->payload.substr(4);
}

received_close test_client::read_close() {
    for (;;) {
        const auto frame = read_message();
        if (!frame) throw std::runtime_error{"the stream ended without a close frame"};
        if (frame->opcode != 8) continue;
        if (frame->payload.empty()) return {};
        received_close close;
        close.code = static_cast<std::uint16_t>((static_cast<unsigned char>(frame->payload[0]) << 8) |
                                                static_cast<unsigned char>(frame->payload[1]));
        close.reason = frame->payload.substr(2);
        return close;
    }
}

bool test_client::is_readable(int milliseconds) const {
    if (!buffer_.empty()) return true;
    pollfd ready{fd_, POLLIN, 0};
    return ::poll(&ready, 1, milliseconds) > 0;
}

bool test_client::ends_cleanly() {
    try {
        return buffer_.empty() && !fill();
    } catch (const std::system_error&) {
        return false;
    }
}

std::string test_client::read_to_end() {
    while (fill()) {
    }
    return std::exchange(buffer_, {});
}

std::string test_client::read_head() {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
        if (!fill()) throw std::runtime_error{"the stream ended in the head: " + buffer_};
    }
    std::string head = buffer_.substr(0, end + 4);
    buffer_.erase(0, end + 4);
    return head;
}

void test_client::shutdown_send() { ::shutdown(fd_, SHUT_WR); }

void test_client::reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close();
}

void test_client::close() {
    transport_.reset();
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::string http_request(std::uint16_t port, std::string_view request) {
    test_client client{port};
    client.send_raw(request);
    return client.read_to_end();
}

}  // namespace kephas::test
