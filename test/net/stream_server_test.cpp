#include <support/running_stream_server.hpp>
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

const std::vector<running_stream_server::how> both{running_stream_server::how::own_threads, running_stream_server::how::embedded};

}  // namespace

TEST_CASE("a stream server serves TCP, Unix sockets with a file, and abstract ones") {
    const temporary_folder folder;
    const std::string abstract = "unix://@kephas-stream-server-" + std::to_string(::getpid());
    for (const auto how : both) {
        for (const std::string& where :
             {std::string{"tcp://127.0.0.1:0"}, std::string{"tcp4://localhost:0"}, std::string{"tcp6://[::1]:0"},
              "unix://" + (folder / "echo.sock").string(), abstract}) {
            CAPTURE(where);
            const running_stream_server server{how, where, echo};
            const socket_peer client = server.connect();
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
    const running_stream_server server{running_stream_server::how::own_threads, "tcp://:0", echo};
    const std::string port = server->local_address().substr(server->local_address().rfind(':'));
    for (const std::string& where : {"127.0.0.1" + port, "[::1]" + port}) {
        const socket_peer client{where};
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
        const running_stream_server server{how, "tcp://127.0.0.1:0",
                             [&](connection& client) -> asio::awaitable<void> {
                                 {
                                     const std::lock_guard lock{mutex};
                                     threads.push_back(std::this_thread::get_id());
                                 }
                                 co_await echo(client);
                             },
                             options};
        std::vector<socket_peer> clients;
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
        if (how == running_stream_server::how::own_threads) CHECK(different == 3);
    }
}

TEST_CASE("what a handler has written arrives, although it left input unread when it returned") {
    for (const auto how : both) {
        const running_stream_server server{how, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
                                 (void)co_await client.read_until("\n");
                                 co_await client.write("goodbye");
                             }};
        const socket_peer client = server.connect();
        client.send("line\n" + std::string(20'000, 'x'));
        CHECK(client.receive(7) == "goodbye");
        CHECK(client.ends());
    }
}

TEST_CASE("what a handler has written arrives, although the peer goes on sending when it has returned") {
    for (const auto how : both) {
        const running_stream_server server{how, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
                                 (void)co_await client.read_until("\n");
                                 co_await client.write("too much");
                             }};
        const socket_peer client = server.connect();
        client.send("line\n" + std::string(20'000, 'x'));
        for (int i = 0; i < 30; ++i) client.send(std::string(16'000, 'y'));
        client.end();
        CHECK(client.receive(8) == "too much");
        CHECK(client.ends());
    }
}

TEST_CASE("a shutdown for as long as it takes cuts nobody, and idle connections are closed meanwhile") {
    for (const auto how : both) {
        stream_server_options options;
        options.idle_timeout = 30ms;
        running_stream_server server{how, "tcp://127.0.0.1:0", echo, options};
        const socket_peer idle = server.connect();
        idle.send("x");
        CHECK(idle.receive(1) == "x");
        server->shutdown(duration::max());
        CHECK(idle.ends());
        CHECK(server.outcome());
    }
}

TEST_CASE("shutdown stops accepting first, and lets the handlers come to their end") {
    for (const auto how : both) {
        running_stream_server server{how, "tcp://127.0.0.1:0", echo};
        const std::string where = server->local_address();
        const socket_peer client = server.connect();
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
        std::atomic<int> begun{0};
        std::atomic<int> cancelled{0};
        running_stream_server server{how, "tcp://127.0.0.1:0", [&](connection& client) -> asio::awaitable<void> {
                           try {
                               if (++begun > 0) co_await wait_for_ever(client);
                           } catch (const std::system_error& failure) {
                               if (failure.code() == asio::error::operation_aborted) ++cancelled;
                               throw;
                           }
                       }};
        const socket_peer first = server.connect();
        const socket_peer second = server.connect();
        while (begun < 2) std::this_thread::yield();
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
            running_stream_server server{how, "tcp://127.0.0.1:0", echo};
            const socket_peer client = server.connect();
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
        const running_stream_server server{how, "tcp://127.0.0.1:0",
                             [](connection& client) -> asio::awaitable<void> {
                                 const std::string line = co_await client.read_until("\n");
                                 if (line == "bad\n") throw std::runtime_error{"a bad line"};
                                 co_await client.write(line);
                             },
                             options};
        const socket_peer good = server.connect();
        const socket_peer bad = server.connect();
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
    const socket_peer idle{server.local_address()};
    const socket_peer busy{server.local_address()};
    (void)time.settle(context);
    CHECK(clock::coarse_now() == clock::now());
    for (int i = 0; i < 10; ++i) {
        CHECK(server.open_connections() == (i * 50 <= 200 ? 2 : 1));
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
        const running_stream_server server{how, "tcp://127.0.0.1:0", echo, options};
        std::vector<socket_peer> clients;
        for (int i = 0; i < 2; ++i) {
            clients.push_back(server.connect());
            clients.back().send("x");
            CHECK(clients.back().receive(1) == "x");
        }
        CHECK(server.connect().ends());
        clients.pop_back();
        server.wait_for_connections(1);
        const socket_peer next = server.connect();
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
        const running_stream_server server{how, "unix://" + (folder / "private.sock").string(),
                             [&](connection& client) -> asio::awaitable<void> {
                                 ++served;
                                 co_await echo(client);
                             },
                             options};
        CHECK(server.connect().ends());
        CHECK(served == 0);
        allowed = true;
        const socket_peer client = server.connect();
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
        running_stream_server server{running_stream_server::how::own_threads, "tcp://127.0.0.1:0", echo, options};
        where = server->local_address();
        const socket_peer client = server.connect();
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
    std::optional<running_stream_server> first;
    first.emplace(running_stream_server::how::own_threads, "tcp://127.0.0.1:0", echo);
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
    running_stream_server server{running_stream_server::how::own_threads, "tcp://127.0.0.1:0", echo};
    { const socket_peer client = server.connect(); }
    server->close();
    (void)server.outcome();
    try {
        (void)server.operator->()->run();
        FAIL("it was used again");
    } catch (const error& failure) {
        CHECK(failure.code() == errc::already_running);
    }
}
