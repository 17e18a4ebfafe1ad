#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connection.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/stream_server.hpp>
#include <kephas/net/virtual_clock.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

asio::awaitable<void> echo(connection& client) {
    std::array<std::byte, 4096> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) {
        co_await client.write(bytes_view{buffer}.first(size));
    }
}

/// Waits for nothing but its end.
asio::awaitable<void> wait_for_ever(connection& client) {
    steady_timer never{co_await asio::this_coro::executor};
    never.expires_at(time_point::max());
    (void)client;
    co_await never.async_wait(asio::use_awaitable);
}

/// A blocking socket that knows no kephas.
class peer {
public:
    /// `where` as `stream_server::local_address` has it.
    explicit peer(const std::string& where) {
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
    peer(peer&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    peer& operator=(peer&&) = delete;
    ~peer() { close(); }

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
class running {
public:
    enum class how { own_threads, embedded };

    running(how kind, const std::string& where, stream_server::handler handler, stream_server_options options = {}) {
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
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running() {
        server_->close();
        for (std::thread& each : threads_) each.join();
    }

    stream_server* operator->() const { return server_.get(); }
    [[nodiscard]] peer connect() const { return peer{server_->local_address()}; }
    /// Whether all ended by themselves.
    [[nodiscard]] bool outcome() {
        auto future = outcome_.get_future();
        REQUIRE(future.wait_for(10s) == std::future_status::ready);
        return future.get();
    }
    void wait_for_connections(std::size_t count) const {
        const auto limit = std::chrono::steady_clock::now() + 10s;
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

const std::vector<running::how> both{running::how::own_threads, running::how::embedded};

}  // namespace

TEST_CASE("a stream server serves TCP, Unix sockets with a file, and abstract ones") {
    const temporary_folder folder;
    const std::string abstract = "unix://@kephas-stream-server-" + std::to_string(::getpid());
    for (const auto how : both) {
        for (const std::string& where :
             {std::string{"tcp://127.0.0.1:0"}, std::string{"tcp4://localhost:0"}, std::string{"tcp6://[::1]:0"},
              "unix://" + (folder / "echo.sock").string(), abstract}) {
            CAPTURE(where);
            const running server{how, where, echo};
            const peer client = server.connect();
            client.send("hello");
            CHECK(client.receive(5) == "hello");
            CHECK(server->open_connections() == 1);
            CHECK(server->is_running());
            client.end();
            CHECK(client.ends());
            server.wait_for_connections(0);
        }
    }
}

TEST_CASE("without a host it listens on all addresses, of both versions of IP") {
    const running server{running::how::own_threads, "tcp://:0", echo};
    const std::string port = server->local_address().substr(server->local_address().rfind(':'));
    for (const std::string& where : {"127.0.0.1" + port, "[::1]" + port}) {
        const peer client{where};
        client.send("x");
        CHECK(client.receive(1) == "x");
    }
}

TEST_CASE("many connections are served at the same time, by all threads") {
    for (const auto how : both) {
        std::mutex mutex;
        std::vector<std::thread::id> threads;
        stream_server_options options;
        options.threads = 3;
        const running server{how, "tcp://127.0.0.1:0",
                             [&](connection& client) -> asio::awaitable<void> {
                                 {
                                     const std::lock_guard lock{mutex};
                                     threads.push_back(std::this_thread::get_id());
                                 }
                                 co_await echo(client);
                             },
                             options};
        std::vector<peer> clients;
        for (int i = 0; i < 60; ++i) clients.push_back(server.connect());
        for (int round = 0; round < 3; ++round) {
            for (std::size_t i = 0; i < clients.size(); ++i) clients[i].send(std::to_string(100 + i));
            for (std::size_t i = 0; i < clients.size(); ++i) CHECK(clients[i].receive(3) == std::to_string(100 + i));
        }
        CHECK(server->open_connections() == 60);
        clients.clear();
        server.wait_for_connections(0);
        std::ranges::sort(threads);
        const auto different = std::ranges::unique(threads).begin() - threads.begin();
        if (how == running::how::own_threads) CHECK(different == 3);
    }
}

TEST_CASE("what a handler has written arrives, although it left input unread when it returned") {
    for (const auto how : both) {
        const running server{how, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
                                 (void)co_await client.read_until("\n");
                                 co_await client.write("goodbye");
                             }};
        const peer client = server.connect();
        client.send("line\n" + std::string(20'000, 'x'));
        CHECK(client.receive(7) == "goodbye");
        CHECK(client.ends());
    }
}

TEST_CASE("shutdown stops accepting first, and lets the handlers come to their end") {
    for (const auto how : both) {
        running server{how, "tcp://127.0.0.1:0", echo};
        const std::string where = server->local_address();
        const peer client = server.connect();
        client.send("before");
        CHECK(client.receive(6) == "before");
        server->shutdown(10s);
        const auto limit = std::chrono::steady_clock::now() + 10s;
        while (server->is_running()) REQUIRE(std::chrono::steady_clock::now() < limit);
        client.send("during");
        CHECK(client.receive(6) == "during");
        CHECK_FALSE(server->is_gone());
        client.end();
        CHECK(client.ends());
        CHECK(server.outcome());
        CHECK(server->is_gone());
        CHECK(server->open_connections() == 0);
    }
}

TEST_CASE("at the deadline of a shutdown the handlers that are left are cancelled, and their connections closed") {
    for (const auto how : both) {
        std::atomic<int> cancelled{0};
        running server{how, "tcp://127.0.0.1:0", [&](connection& client) -> asio::awaitable<void> {
                           try {
                               if (cancelled >= 0) co_await wait_for_ever(client);
                           } catch (const std::system_error& failure) {
                               if (failure.code() == asio::error::operation_aborted) ++cancelled;
                               throw;
                           }
                       }};
        const peer first = server.connect();
        const peer second = server.connect();
        server.wait_for_connections(2);
        const auto begin = std::chrono::steady_clock::now();
        server->shutdown(50ms);
        CHECK_FALSE(server.outcome());
        CHECK(std::chrono::steady_clock::now() - begin >= 50ms);
        CHECK(cancelled == 2);
        CHECK(first.ends());
        CHECK(second.ends());
        CHECK(server->is_gone());
    }
}

TEST_CASE("close ends everything at once, also during a shutdown") {
    for (const auto how : both) {
        for (const bool shutting_down : {false, true}) {
            running server{how, "tcp://127.0.0.1:0", echo};
            const peer client = server.connect();
            server.wait_for_connections(1);
            if (shutting_down) server->shutdown(1h);
            server->close();
            CHECK_FALSE(server.outcome());
            CHECK(client.ends());
        }
    }
}

TEST_CASE("what a handler throws is told, ends its connection, and concerns nobody else") {
    for (const auto how : both) {
        std::promise<std::string> told;
        stream_server_options options;
        options.on_error = [&](const std::exception_ptr& failure) {
            try {
                std::rethrow_exception(failure);
            } catch (const std::exception& thrown) {
                told.set_value(thrown.what());
            }
            throw std::runtime_error{"and so does the callback"};
        };
        const running server{how, "tcp://127.0.0.1:0",
                             [](connection& client) -> asio::awaitable<void> {
                                 const std::string line = co_await client.read_until("\n");
                                 if (line == "bad\n") throw std::runtime_error{"a bad line"};
                                 co_await client.write(line);
                             },
                             options};
        const peer good = server.connect();
        const peer bad = server.connect();
        bad.send("bad\n");
        CHECK(bad.ends());
        CHECK(told.get_future().get() == "a bad line");
        good.send("good\n");
        CHECK(good.receive(5) == "good\n");
    }
}

TEST_CASE("a connection on which nothing happens is closed after the idle timeout, and only that one") {
    const temporary_folder folder;
    virtual_clock time;
    asio::io_context context;
    stream_server_options options;
    options.idle_timeout = 200ms;
    stream_server server{context, "unix://" + (folder / "idle.sock").string(), echo, options};
    server.listen();
    bool gone = false;
    asio::co_spawn(context, server.serve(), [&](std::exception_ptr failure, bool /*clean*/) {
        CHECK_FALSE(failure);
        gone = true;
    });
    const peer idle{server.local_address()};
    const peer busy{server.local_address()};
    (void)time.settle(context);
    for (int i = 0; i < 10; ++i) {
        CHECK(server.open_connections() == (i * 50 < 200 ? 2 : 1));
        time.run_for(context, 50ms);
        busy.send("x");
        (void)time.settle(context);
        CHECK(busy.receive(1) == "x");
    }
    CHECK(idle.ends());
    time.run_for(context, 300ms);
    CHECK(busy.ends());
    CHECK(server.open_connections() == 0);
    server.close();
    time.run_for(context, 1s);
    CHECK(gone);
}

TEST_CASE("connections above the limit are closed, and let in again once others have left") {
    for (const auto how : both) {
        stream_server_options options;
        options.max_connections = 2;
        const running server{how, "tcp://127.0.0.1:0", echo, options};
        std::vector<peer> clients;
        for (int i = 0; i < 2; ++i) {
            clients.push_back(server.connect());
            clients.back().send("x");
            CHECK(clients.back().receive(1) == "x");
        }
        CHECK(server.connect().ends());
        clients.pop_back();
        server.wait_for_connections(1);
        const peer next = server.connect();
        next.send("y");
        CHECK(next.receive(1) == "y");
    }
}

TEST_CASE("authorize sees the credentials of a Unix peer, and turns it away") {
    const temporary_folder folder;
    for (const auto how : both) {
        std::atomic<bool> allowed{false};
        std::atomic<int> served{0};
        stream_server_options options;
        options.access = {.mode = 0600, .group = std::nullopt};
        options.authorize = [&](const connection& client) {
            return allowed && client.peer_credentials() == peer_credentials{::getpid(), ::getuid(), ::getgid()};
        };
        const running server{how, "unix://" + (folder / "private.sock").string(),
                             [&](connection& client) -> asio::awaitable<void> {
                                 ++served;
                                 co_await echo(client);
                             },
                             options};
        CHECK(server.connect().ends());
        CHECK(served == 0);
        allowed = true;
        const peer client = server.connect();
        client.send("x");
        CHECK(client.receive(1) == "x");
        CHECK(served == 1);
    }
}

TEST_CASE("every state of a connection is told, and where the server listens") {
    std::mutex mutex;
    std::vector<std::string> states;
    std::vector<std::string> messages;
    stream_server_options options;
    options.on_state = [&](const connection& client, connection_state now) {
        CHECK(client.remote_address().starts_with("127.0.0.1:"));
        const std::lock_guard lock{mutex};
        states.emplace_back(to_string(now));
        throw std::runtime_error{"contained"};
    };
    options.on_message = [&](std::string_view text) {
        const std::lock_guard lock{mutex};
        messages.emplace_back(text);
    };
    std::string where;
    {
        running server{running::how::own_threads, "tcp://127.0.0.1:0", echo, options};
        where = server->local_address();
        const peer client = server.connect();
        client.send("x");
        CHECK(client.receive(1) == "x");
        client.end();
        CHECK(client.ends());
        server->shutdown(10s);
        CHECK(server.outcome());
    }
    CHECK(states == std::vector<std::string>{"new connection", "run handler", "read incoming stream", "write outgoing stream",
                                             "close incoming stream", "close connection"});
    CHECK(messages == std::vector<std::string>{"listening on tcp://" + where, "not listening on " + where + " any more"});
}

TEST_CASE("what cannot be is refused before anything listens") {
    const auto refused = [](const std::string& where) {
        try {
            stream_server server{where, echo};
            server.listen();
            return std::string{};
        } catch (const error& failure) {
            CHECK(failure.code() == errc::invalid_address);
            return std::string{failure.what()};
        }
    };
    CHECK(refused("udp://:0").find("datagrams") != std::string::npos);
    CHECK(refused("tcp://example.org:0").find("takes an IP address") != std::string::npos);
    CHECK(refused("tcp4://[::1]:0").find("version of IP") != std::string::npos);
    CHECK(refused("tcp6://127.0.0.1:0").find("version of IP") != std::string::npos);
    CHECK_THROWS_AS((stream_server{"tcp://:0", nullptr}), std::invalid_argument);
    const auto with = [](auto change) {
        stream_server_options options;
        change(options);
        return options;
    };
    using options = stream_server_options;
    CHECK_THROWS_AS((stream_server{"tcp://:0", echo, with([](options& o) { o.max_connections = 0; })}), std::invalid_argument);
    CHECK_THROWS_AS((stream_server{"tcp://:0", echo, with([](options& o) { o.idle_timeout = -1s; })}), std::invalid_argument);
    CHECK_THROWS_AS((stream_server{"tcp://:0", echo, with([](options& o) { o.drain_timeout = -1s; })}), std::invalid_argument);
    CHECK_THROWS_AS((stream_server{"tcp://:0", echo, with([](options& o) { o.access.mode = 04777; })}), std::invalid_argument);
}

TEST_CASE("a server whose address is taken says so, and may try again") {
    std::optional<running> first;
    first.emplace(running::how::own_threads, "tcp://127.0.0.1:0", echo);
    stream_server second{"tcp://" + (*first)->local_address(), echo};
    for (int i = 0; i < 2; ++i) {
        try {
            (void)second.run();
            FAIL("two listen on one port");
        } catch (const error& failure) {
            CHECK(failure.code() == errc::address_in_use);
        }
    }
    first.reset();
    second.listen();
    CHECK_FALSE(second.local_address().empty());
}

TEST_CASE("a server serves once") {
    running server{running::how::own_threads, "tcp://127.0.0.1:0", echo};
    { const peer client = server.connect(); }
    server->close();
    (void)server.outcome();
    try {
        (void)server.operator->()->run();
        FAIL("it was used again");
    } catch (const error& failure) {
        CHECK(failure.code() == errc::already_running);
    }
}
