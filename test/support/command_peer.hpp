#pragma once

#include <support/command_stream.hpp>
#include <support/test_client.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace kephas::test {

/// A blocking TCP or Unix socket; everything that waits throws after `test_client::patience`.
class socket_transport final : public test_transport {
public:
    explicit socket_transport(std::uint16_t port, int receive_buffer = 0) : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (receive_buffer > 0) (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        const int on = 1;
        (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        connect(reinterpret_cast<const sockaddr*>(&to), sizeof(to));
    }
    /// The file of a Unix socket, or `@name`.
    explicit socket_transport(const std::string& path) : fd_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_un to{};
        to.sun_family = AF_UNIX;
        std::memcpy(to.sun_path, path.data(), path.size());
        if (path.starts_with('@')) to.sun_path[0] = '\0';
        connect(reinterpret_cast<const sockaddr*>(&to), static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size()));
    }
    socket_transport(const socket_transport&) = delete;
    socket_transport& operator=(const socket_transport&) = delete;
    ~socket_transport() override { close(); }

    void send(bytes_view bytes) override {
        while (!bytes.empty()) {
            const ssize_t size = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (size <= 0) throw std::system_error{errno, std::system_category(), "send"};
            bytes = bytes.subspan(static_cast<std::size_t>(size));
        }
    }
    std::size_t receive(std::span<char> into) override {
        const ssize_t size = ::recv(fd_, into.data(), into.size(), 0);
        if (size < 0) throw std::system_error{errno, std::system_category(), "recv"};
        return static_cast<std::size_t>(size);
    }
    void shutdown_send() { (void)::shutdown(fd_, SHUT_WR); }
    void reset() {
        const linger at_once{1, 0};
        (void)::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close();
    }
    void close() {
        if (fd_ >= 0) (void)::close(std::exchange(fd_, -1));
    }

private:
    void connect(const sockaddr* to, socklen_t size) {
        const timeval patience{test_client::patience.count(), 0};
        (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        (void)::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (::connect(fd_, to, size) != 0) throw std::system_error{errno, std::system_category(), "connect"};
    }

    int fd_;
};

/// A client of commands over a stream for tests: blocking, and written without any code of kephas's protocol.
class command_peer {
public:
    explicit command_peer(std::uint16_t port, int receive_buffer = 0)
        : command_peer{std::make_unique<socket_transport>(port, receive_buffer)} {}
    explicit command_peer(const std::string& path) : command_peer{std::make_unique<socket_transport>(path)} {}
    explicit command_peer(std::unique_ptr<socket_transport> socket) : socket_{socket.get()}, transport_{std::move(socket)} {}
    /// Over something else than a plain socket.
    explicit command_peer(std::unique_ptr<test_transport> transport) : transport_{std::move(transport)} {}

    void send_raw(std::string_view bytes) { transport_->send(as_bytes(bytes)); }
    void send(std::uint32_t id, std::string_view payload) { send_raw(stream_message(id, payload)); }
    /// The next message, as `stream_lines` says it; "end" at the end of the stream, "cut" if that is within a message, and
    /// "reset" if the connection was.
    std::string next() {
        for (;;) {
            if (auto line = lines_.next()) return std::move(*line);
            std::vector<char> buffer(64 * 1024);
            std::size_t size = 0;
            try {
                size = transport_->receive(buffer);
            } catch (const std::system_error& failure) {
                if (failure.code() == std::errc::connection_reset) return "reset";
                throw;
            }
            if (size == 0) return lines_.empty() ? "end" : "cut";
            lines_.add({buffer.data(), size});
        }
    }
    /// All that comes until the end, and how it ended.
    std::vector<std::string> rest() {
        std::vector<std::string> all;
        do {
            all.push_back(next());
        } while (all.back() != "end" && all.back() != "cut" && all.back() != "reset");
        return all;
    }
    void shutdown_send() { socket_->shutdown_send(); }
    void reset() { socket_->reset(); }
    void close() { socket_->close(); }

private:
    socket_transport* socket_ = nullptr;
    std::unique_ptr<test_transport> transport_;
    stream_lines lines_;
};

}  // namespace kephas::test
