// A client's departure cancels the coroutines that work for it: DESIGN.md 5.
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <asio/error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <array>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;
constexpr std::array every_policy{dispatch::pool, dispatch::serial, dispatch::on_strand};

reply echo(request req) { co_return payload{req.share()}; }

/// Counts the handlers that are alive.
class presence {
public:
    explicit presence(std::atomic<std::size_t>& live) : live_{live} { ++live_; }
    presence(const presence&) = delete;
    presence& operator=(const presence&) = delete;
    ~presence() { --live_; }

private:
    std::atomic<std::size_t>& live_;
};

asio::awaitable<int> nested(gate& held, std::size_t depth, std::atomic<std::size_t>& live) {
    const presence here{live};
    if (depth > 0) co_return 1 + co_await nested(held, depth - 1, live);
    co_await held.wait();
    co_return 0;
}

enum class departure : std::uint8_t { close_frame, end_of_stream, reset, half_close };

void leave(test_client& client, departure how) {
    switch (how) {
        case departure::close_frame: client.send_close(1000, "bye"); break;
        case departure::end_of_stream: client.close(); break;
        case departure::reset: client.reset(); break;
        case departure::half_close: client.shutdown_send(); break;
    }
}

server_options unlimited() {
    server_options options = quiet_options();
    options.rate_limit = no_rate_limit();
    return options;
}

}  // namespace

TEST_CASE("a client's departure cancels its handlers at their co_await, however deep, and nobody is answered") {
    for (const dispatch policy : every_policy) {
        gate held;
        std::atomic<std::size_t> live{0};
        std::atomic<std::size_t> aborted{0};
        log_lines log;
        router routes;
        routes.on(command_id{1}, policy, [&](request) -> reply {
            const presence here{live};
            try {
                (void)co_await nested(held, 5, live);
            } catch (const std::system_error& error) {
                if (error.code() == asio::error::operation_aborted) ++aborted;
                throw;
            }
            co_return "too late";
        });
        routes.on(command_id{2}, policy, [](request req) -> reply {
            asio::steady_timer timer{co_await asio::this_coro::executor, 1ms};
            co_await timer.async_wait(asio::use_awaitable);
            co_return payload{req.share()};
        });
        server_options options = quiet_options();
        options.log = log.as_logger();
        running_server server{std::move(routes), options};
        std::size_t expected = 0;
        for (const departure how : {departure::close_frame, departure::end_of_stream, departure::reset, departure::half_close}) {
            auto client = test_client::open(server.port());
            client.send_command(1, "");
            REQUIRE(held.wait_for_waiting(1));
            leave(client, how);
            CHECK(held.wait_for_waiting(0));
            CHECK(eventually([&] { return live == 0; }));
            CHECK(eventually([&] { return server->stats().handlers_cancelled == expected + 1; }));
            ++expected;
            if (how == departure::close_frame) {
                CHECK(client.read_frame().opcode == 8);  // nothing before it
                CHECK(client.ends_cleanly());
            }
            CHECK(eventually([&] { return server->clients().size() == 0; }));
            // the runner that was cancelled serves on
            auto next = test_client::open(server.port());
            for (int i = 0; i < 3; ++i) {
                next.send_command(2, "fine");
                CHECK(next.read_command(2) == "fine");
            }
            next.send_close(1000);
            CHECK(next.read_close().code == 1000);
        }
        CHECK(aborted == expected);
        CHECK(server->stats().handlers_failed == 0);
        for (const std::string& line : log.all()) CHECK(line.find("handler failed") == std::string::npos);
    }
}

TEST_CASE("a handler that catches the cancellation finds the next co_await cancelled too, and its reply goes nowhere") {
    gate held;
    std::atomic<int> second{0};
    router routes;
    routes.on(command_id{1}, [&](request req) -> reply {
        try {
            co_await held.wait();
        } catch (const std::system_error&) {
        }
        try {
            co_await held.wait();
        } catch (const std::system_error& error) {
            if (error.code() == asio::error::operation_aborted) ++second;
        }
        CHECK_FALSE(req.client().is_alive());
        CHECK(req.client().try_send(command_id{1}, "x") == send_status::closed);
        co_return "nobody reads this";
    });
    routes.on(command_id{2}, echo);
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    REQUIRE(held.wait_for_waiting(1));
    client.send_close(1000);
    CHECK(client.read_frame().opcode == 8);
    CHECK(client.ends_cleanly());
    CHECK(eventually([&] { return second == 1; }));
    CHECK(server->stats().handlers_cancelled == 0);
    CHECK(server->stats().handlers_failed == 0);
}

TEST_CASE("a message right before a close frame is handled up to the first suspension") {
    for (const dispatch policy : every_policy) {
        gate held;
        journal seen;
        router routes;
        routes.on(command_id{1}, policy, [&](request req) -> reply {
            seen.add(req.text());
            co_await held.wait();
            seen.add("unreachable");
            co_return std::nullopt;
        });
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        client.send_raw(test_client::frame(2, test_client::command(1, "last words")) +
                        test_client::frame(2, test_client::command(1, "and more")) + test_client::frame(8, "\x03\xE8"));
        CHECK(client.read_close().code == 1000);
        REQUIRE(seen.wait_for(2));
        CHECK(eventually([&] { return server->stats().handlers_cancelled == 2; }));
        auto all = seen.all();
        if (policy == dispatch::pool) std::ranges::sort(all, std::greater{});
        CHECK(all == std::vector<std::string>{"last words", "and more"});
    }
}

TEST_CASE("messages that wait in the serial queue when their client leaves are still begun, in order") {
    for (const dispatch policy : {dispatch::serial, dispatch::on_strand}) {
        gate held;
        journal seen;
        router routes;
        routes.on(command_id{1}, policy, [&](request req) -> reply {
            seen.add(req.text());
            co_await held.wait();
            co_return std::nullopt;
        });
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        for (const char* text : {"a", "b", "c"}) client.send_command(1, text);
        REQUIRE(held.wait_for_waiting(1));
        REQUIRE(eventually([&] { return server->stats().messages_received == 3; }));
        client.reset();
        CHECK(seen.wait_for(3));
        CHECK(seen.all() == std::vector<std::string>{"a", "b", "c"});
        CHECK(eventually([&] { return server->stats().handlers_cancelled == 3; }));
    }
}

TEST_CASE("an operation_aborted that no departure caused is an error like any other") {
    log_lines log;
    router routes;
    routes.on(command_id{1}, [](request) -> reply {
        throw std::system_error{asio::error::operation_aborted};
        co_return std::nullopt;
    });
    server_options options = quiet_options();
    options.log = log.as_logger();
    running_server server{std::move(routes), options};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_command(0xFFFFFFFE).find("-32603") != std::string::npos);
    CHECK(log.wait_for("a handler failed"));
    CHECK(server->stats().handlers_failed == 1);
    CHECK(server->stats().handlers_cancelled == 0);
}

TEST_CASE("on_disconnect runs after the handlers have ended, and is not cancelled itself") {
    for (const dispatch policy : every_policy) {
        gate held;
        journal seen;
        router routes;
        routes.on(command_id{1}, policy, [&](request) -> reply {
            try {
                co_await held.wait();
            } catch (const std::system_error&) {
                seen.add("handler ends");
            }
            co_return std::nullopt;
        });
        routes.on(command_id{2}, policy, [&](request) -> reply {
            seen.add("handler ends");
            co_return std::nullopt;
        });
        routes.on_disconnect([&](client who, close_info why) -> asio::awaitable<void> {
            CHECK_FALSE(who.is_alive());
            CHECK(who.close_info() == why);
            asio::steady_timer timer{co_await asio::this_coro::executor, 5ms};
            co_await timer.async_wait(asio::use_awaitable);
            seen.add("disconnected");
        });
        running_server server{std::move(routes)};
        for (int round = 0; round < 10; ++round) {
            auto client = test_client::open(server.port());
            client.send_command(1, "");
            REQUIRE(held.wait_for_waiting(1));
            client.send_raw(test_client::frame(2, test_client::command(2, "")) + test_client::frame(8, "\x03\xE8"));
            CHECK(client.read_close().code == 1000);
            client.close();
            REQUIRE(seen.wait_for(static_cast<std::size_t>(3 * (round + 1))));
        }
        const auto all = seen.all();
        REQUIRE(all.size() == 30);
        for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == (i % 3 == 2 ? "disconnected" : "handler ends"));
    }
}

TEST_CASE("a departure during on_connect cancels it") {
    gate held;
    std::atomic<int> ended{0};
    router routes;
    routes.on_connect([&](client) -> asio::awaitable<void> { co_await held.wait(); });
    routes.on_disconnect([&](client, close_info) -> asio::awaitable<void> {
        ++ended;
        co_return;
    });
    running_server server{std::move(routes)};
    for (const departure how : {departure::end_of_stream, departure::reset, departure::half_close}) {
        auto client = test_client::open(server.port());
        REQUIRE(held.wait_for_waiting(1));
        leave(client, how);
        CHECK(held.wait_for_waiting(0));
    }
    CHECK(eventually([&] { return ended == 3; }));
    CHECK(server->clients().size() == 0);
}

TEST_CASE("sends, calls and closed() that wait end when their client leaves") {
    journal seen;
    router routes;
    routes.on(command_id{1}, [&](request req) -> reply {
        try {
            (void)co_await req.client().call("never");
        } catch (const std::system_error& error) {
            const bool expected = error.code() == errc::closed || error.code() == asio::error::operation_aborted;
            seen.add(expected ? "call ended" : error.code().message());
        }
        co_return std::nullopt;
    });
    routes.on(command_id{2}, [&](request req) -> reply {
        try {
            for (;;) co_await req.client().send(command_id{2}, payload{std::string(10'000, 'x')});
        } catch (const std::system_error& error) {
            const bool expected = error.code() == errc::closed || error.code() == asio::error::operation_aborted;
            seen.add(expected ? "send ended" : error.code().message());
        }
        co_return std::nullopt;
    });
    running_server server{std::move(routes)};
    test_client client{server.port(), 4096};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101"));
    client.send_command(1, "");
    CHECK(client.read_text().find("never") != std::string::npos);
    client.send_command(2, "");
    REQUIRE(eventually([&] { return server->stats().handlers_started == 2; }));
    client.reset();
    REQUIRE(seen.wait_for(2));
    auto all = seen.all();
    std::ranges::sort(all);
    CHECK(all == std::vector<std::string>{"call ended", "send ended"});
}

TEST_CASE("a thousand clients killed in the middle of nested awaits leave nothing behind") {
    for (const dispatch policy : every_policy) {
        gate held;
        std::atomic<std::size_t> live{0};
        router routes;
        routes.on(command_id{1}, policy, [&](request) -> reply {
            const presence here{live};
            (void)co_await nested(held, 3, live);
            co_return std::nullopt;
        });
        routes.on(command_id{2}, policy, echo);
        server_options options = unlimited();
        options.io_threads = 2;
        running_server server{std::move(routes), options};
        static constexpr std::size_t clients = 1000;
        static constexpr std::size_t at_a_time = 250;
        for (std::size_t done = 0; done < clients; done += at_a_time) {
            std::vector<test_client> group;
            for (std::size_t i = 0; i < at_a_time; ++i) {
                group.push_back(test_client::open(server.port()));
                group.back().send_command(1, "");
            }
            REQUIRE(held.wait_for_waiting(at_a_time));
            for (std::size_t i = 0; i < at_a_time; ++i) leave(group[i], static_cast<departure>(i % 3));
            REQUIRE(held.wait_for_waiting(0));
        }
        CHECK(eventually([&] { return live == 0; }));
        CHECK(eventually([&] { return server->stats().handlers_cancelled == clients; }));
        CHECK(eventually([&] { return server->stats().closed == clients; }));
        auto client = test_client::open(server.port());
        client.send_command(2, "and on it goes");
        CHECK(client.read_command(2) == "and on it goes");
    }
}
