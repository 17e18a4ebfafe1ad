#include <support/run_coroutine.hpp>
#include <support/running_stream_server.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/stream_client.hpp>

#include <asio/error.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

constexpr auto own_threads = running_stream_server::how::own_threads;

asio::awaitable<void> echo(connection& client) {
    std::array<std::byte, 4096> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) {
        co_await client.write(bytes_view{buffer}.first(size));
    }
}

/// What the client throws.
error failure_of(asio::io_context& context, stream_client& client, asio::awaitable<void> (*task)(stream_client&)) {
    return test::failure_of(context, task(client));
}

}  // namespace

TEST_CASE("a client connects, reads, writes, closes, and connects again, over TCP and over Unix sockets") {
    const temporary_folder folder;
    for (const std::string& where : {std::string{"tcp://127.0.0.1:0"}, "unix://" + (folder / "client.sock").string()}) {
        running_stream_server server{own_threads, where, echo};
        const bool tcp = where.starts_with("tcp");
        asio::io_context context;
        stream_client client{tcp ? "tcp://" + server->local_address() : where};
        CHECK_FALSE(client.is_connected());
        run(context, [](stream_client& self) -> asio::awaitable<void> {
            for (int round = 0; round < 2; ++round) {
                co_await self.connect(10s);
                CHECK(self.is_connected());
                co_await self.write("one\ntwo\nthree");
                const std::string first = co_await self.read_until("\n");
                CHECK(first == "one\n");
                std::array<std::byte, 4> exact;
                co_await self.read_exactly(exact);
                CHECK(as_text(exact) == "two\n");
                std::array<std::byte, 100> some;
                std::size_t size = co_await self.read_some(some);
                while (size < 5) size += co_await self.read_some(mutable_bytes{some}.subspan(size));
                CHECK(as_text(bytes_view{some}.first(size)) == "three");
                const std::array<bytes_view, 2> parts{as_bytes("a"), as_bytes("b\n")};
                co_await self.write(std::span<const bytes_view>{parts});
                const std::string both = co_await self.read_until("\n");
                CHECK(both == "ab\n");
                CHECK(self.current().bytes_written() == 16);
                self.close();
                CHECK_FALSE(self.is_connected());
                self.close();  // nothing to do
            }
        }(client));
        server.wait_for_connections(0);
    }
}

TEST_CASE("half a close sends FIN: the server sees the end, answers, and the client is connected until it has read that") {
    const running_stream_server server{own_threads, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        std::string all;
        std::array<std::byte, 64> buffer;
        while (const std::size_t size = co_await client.read_some(buffer)) all += as_text(bytes_view{buffer}.first(size));
        co_await client.write("got " + std::to_string(all.size()) + "\n");
    }};
    asio::io_context context;
    stream_client client{"tcp://" + server->local_address()};
    run(context, [](stream_client& self) -> asio::awaitable<void> {
        co_await self.connect(10s);
        co_await self.write("12345");
        self.shutdown_write();
        CHECK(self.is_connected());
        const std::string answer = co_await self.read_until("\n");
        CHECK(answer == "got 5\n");
        std::array<std::byte, 1> rest;
        const std::size_t more = co_await self.read_some(rest);
        CHECK(more == 0);
        CHECK_FALSE(self.is_connected());
    }(client));
}

TEST_CASE("once connects when needed, sends, hands over the connection, and closes what it has connected") {
    running_stream_server server{own_threads, "tcp://127.0.0.1:0", echo};
    asio::io_context context;
    stream_client client{"tcp://" + server->local_address()};
    run(context, [](stream_client& self) -> asio::awaitable<void> {
        std::string seen;
        const auto keep = [&seen](connection& on) -> asio::awaitable<void> { seen = co_await on.read_until("\n"); };
        co_await self.once("first\n", 10s, keep);
        CHECK(seen == "first\n");
        CHECK_FALSE(self.is_connected());
        co_await self.connect(10s);
        const std::string local = self.current().local_address();
        co_await self.once("second\n", 10s, keep);
        CHECK(seen == "second\n");
        CHECK(self.is_connected());
        CHECK(self.current().local_address() == local);
    }(client));
    client.close();
    server.wait_for_connections(0);
}

TEST_CASE("once connects anew after the server has left") {
    const running_stream_server server{own_threads, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        const std::string line = co_await client.read_until("\n");
        co_await client.write(line);
    }};
    asio::io_context context;
    stream_client client{"tcp://" + server->local_address()};
    run(context, [](stream_client& self) -> asio::awaitable<void> {
        std::string seen;
        const auto to_the_end = [&seen](connection& on) -> asio::awaitable<void> {
            seen = co_await on.read_until("\n");
            (void)co_await on.read_until("\n");
        };
        co_await self.connect(10s);
        co_await self.once("a\n", 10s, to_the_end);
        CHECK_FALSE(self.is_connected());
        co_await self.once("b\n", 10s, to_the_end);
        CHECK(seen == "b\n");
    }(client));
}

TEST_CASE("once ends at its deadline, with what its handler throws, and with the errors of connecting") {
    const running_stream_server silent{own_threads, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        std::array<std::byte, 64> buffer;
        while (co_await client.read_some(buffer) > 0) {
        }
    }};
    asio::io_context context;
    stream_client client{"tcp://" + silent->local_address()};
    const error late = failure_of(context, client, [](stream_client& self) -> asio::awaitable<void> {
        co_await self.once("x", 50ms, [](connection& on) -> asio::awaitable<void> { (void)co_await on.read_until("\n"); });
    });
    CHECK(late.code() == errc::timed_out);
    CHECK(std::string{late.what()}.find(silent->local_address()) != std::string::npos);
    CHECK_FALSE(client.is_connected());
    CHECK_THROWS_WITH_AS(run(context, [](stream_client& self) -> asio::awaitable<void> {
        co_await self.once("x", 10s, [](connection&) -> asio::awaitable<void> {
            throw std::runtime_error{"of the handler's"};
            co_return;
        });
    }(client)), "of the handler's", std::runtime_error);
    CHECK_FALSE(client.is_connected());
    const temporary_folder folder;
    stream_client nobody{"unix://" + (folder / "nobody.sock").string()};
    CHECK(failure_of(context, nobody, [](stream_client& self) -> asio::awaitable<void> {
        co_await self.once("x", 10s, [](connection&) -> asio::awaitable<void> { co_return; });
    }).code() == std::errc::no_such_file_or_directory);
}

TEST_CASE("a connection that has failed, or of which an answer was left half read, is not used again") {
    std::atomic<int> connections{0};
    const running_stream_server server{own_threads, "tcp://127.0.0.1:0", [&](connection& client) -> asio::awaitable<void> {
        const int number = ++connections;
        const std::string line = co_await client.read_until("\n");
        co_await client.write("a" + std::to_string(number) + "\nb\n");
        if (line == "reset\n") client.abort();
        (void)co_await client.read_until("\n");
    }};
    asio::io_context context;
    stream_client client{"tcp://" + server->local_address()};
    run(context, [](stream_client& self) -> asio::awaitable<void> {
        std::string seen;
        const auto one_line = [&seen](connection& on) -> asio::awaitable<void> { seen = co_await on.read_until("\n"); };
        co_await self.connect(10s);
        bool thrown = false;
        try {
            co_await self.once("x\n", 10s, [](connection& on) -> asio::awaitable<void> {
                (void)co_await on.read_until("\n");
                throw std::runtime_error{"in the middle"};
            });
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK_FALSE(self.is_connected());
        co_await self.once("x\n", 10s, one_line);
        CHECK(seen == "a2\n");

        co_await self.connect(10s);
        co_await self.write("reset\n");
        std::error_code failure;
        try {
            std::array<std::byte, 64> much;
            co_await self.read_exactly(much);
        } catch (const error& reset) {
            failure = reset.code();
        }
        CHECK(failure);
        CHECK_FALSE(self.is_connected());
        co_await self.once("x\n", 10s, one_line);
        CHECK(seen == "a4\n");
    }(client));
}

TEST_CASE("without a connection reading and writing fail clearly") {
    const running_stream_server server{own_threads, "tcp://127.0.0.1:0", echo};
    asio::io_context context;
    stream_client client{"tcp://" + server->local_address()};
    const auto refused = [&](asio::awaitable<void> (*task)(stream_client&)) {
        return failure_of(context, client, task).code() == errc::not_connected;
    };
    const auto all = [&] {
        CHECK(refused([](stream_client& self) -> asio::awaitable<void> { co_await self.write("x"); }));
        CHECK(refused([](stream_client& self) -> asio::awaitable<void> { (void)co_await self.read_until("\n"); }));
        CHECK(refused([](stream_client& self) -> asio::awaitable<void> {
            std::array<std::byte, 1> one;
            co_await self.read_exactly(one);
        }));
        CHECK(refused([](stream_client& self) -> asio::awaitable<void> {
            self.shutdown_write();
            co_return;
        }));
    };
    all();
    run(context, client.connect(10s));
    client.close();
    all();
}

TEST_CASE("a client is not made for an address that it cannot connect to") {
    CHECK_THROWS_AS(stream_client{"udp://127.0.0.1:1"}, error);
    CHECK_THROWS_AS(stream_client{"unixgram:///tmp/x"}, error);
    CHECK_THROWS_AS(stream_client{"127.0.0.1:1"}, error);
    CHECK(stream_client{"tls://example.org:1"}.server() == address::parse("tls://example.org:1"));
}
