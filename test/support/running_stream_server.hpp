#pragma once

#include <kephas/net/stream_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace kephas::test {

/// A blocking socket that knows no kephas.
class socket_peer {
public:
    /// `where` as `stream_server::local_address` has it.
    explicit socket_peer(const std::string& where) {
        if (where.starts_with('/') || where.starts_with('@')) {
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            std::memcpy(address.sun_path, where.data(), where.size());
            if (where.starts_with('@')) address.sun_path[0] = '\0';
            const bool file = where.starts_with('/');
            open(AF_UNIX, &address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + where.size() + (file ? 1 : 0)));
        } else {
            const auto port = static_cast<std::uint16_t>(std::stoi(where.substr(where.rfind(':') + 1)));
            if (where.starts_with("[::1]")) {
                sockaddr_in6 v6{};
                v6.sin6_family = AF_INET6;
                v6.sin6_port = htons(port);
                v6.sin6_addr = IN6ADDR_LOOPBACK_INIT;
                open(AF_INET6, &v6, sizeof(v6));
            } else {
                sockaddr_in v4{};
                v4.sin_family = AF_INET;
                v4.sin_port = htons(port);
                v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                open(AF_INET, &v4, sizeof(v4));
            }
        }
    }
    socket_peer(socket_peer&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    socket_peer& operator=(socket_peer&&) = delete;
    ~socket_peer() { close(); }

    void send(std::string_view text) const { REQUIRE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())); }
    /// What comes until there are `size` bytes, or the end.
    [[nodiscard]] std::string receive(std::size_t size) const {
        std::string text;
        std::array<char, 4096> block{};
        while (text.size() < size) {
            const ssize_t taken = ::recv(fd_, block.data(), std::min(block.size(), size - text.size()), 0);
            if (taken <= 0) break;
            text.append(block.data(), static_cast<std::size_t>(taken));
        }
        return text;
    }
    /// Whether the stream ends, without a reset, within ten seconds.
    [[nodiscard]] bool ends() const {
        std::array<char, 4096> block{};
        for (;;) {
            const ssize_t size = ::recv(fd_, block.data(), block.size(), 0);
            if (size <= 0) return size == 0;
        }
    }
    void end() const { ::shutdown(fd_, SHUT_WR); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

private:
    void open(int family, const void* address, socklen_t size) {
        fd_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const timeval limit{10, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        REQUIRE(::connect(fd_, static_cast<const sockaddr*>(address), size) == 0);
    }
    int fd_ = -1;
};

/// `run()` on a thread of its own, or `serve()` in a context that two threads run.
class running_stream_server {
public:
    enum class how { own_threads, embedded };

    running_stream_server(how kind, const std::string& where, stream_server::handler handler, stream_server_options options = {}) {
        if (kind == how::own_threads) {
            server_ = std::make_unique<stream_server>(where, std::move(handler), std::move(options));
            server_->listen();
            threads_.emplace_back([this] { outcome_.set_value(server_->run()); });
        } else {
            server_ = std::make_unique<stream_server>(context_, where, std::move(handler), std::move(options));
            server_->listen();
            asio::co_spawn(context_, server_->serve(), [this](std::exception_ptr failure, bool clean) {
                if (failure) outcome_.set_exception(failure);
                else outcome_.set_value(clean);
            });
            for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { context_.run(); });
        }
    }
    running_stream_server(const running_stream_server&) = delete;
    running_stream_server& operator=(const running_stream_server&) = delete;
    ~running_stream_server() {
        server_->close();
        for (std::thread& each : threads_) each.join();
    }

    stream_server* operator->() const { return server_.get(); }
    [[nodiscard]] socket_peer connect() const { return socket_peer{server_->local_address()}; }
    /// Whether all ended by themselves.
    [[nodiscard]] bool outcome() {
        auto future = outcome_.get_future();
        REQUIRE(future.wait_for(std::chrono::seconds{10}) == std::future_status::ready);
        return future.get();
    }
    void wait_for_connections(std::size_t count) const {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{10};
        while (server_->open_connections() != count) {
            REQUIRE(std::chrono::steady_clock::now() < limit);
            std::this_thread::yield();
        }
    }

private:
    asio::io_context context_;
    std::unique_ptr<stream_server> server_;
    std::promise<bool> outcome_;
    std::vector<std::thread> threads_;
};

}  // namespace kephas::test
