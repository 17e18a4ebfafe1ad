#include <support/datagram_peer.hpp>
#include <support/datagram_sockets.hpp>
#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

TEST_CASE("a datagram comes with its sender, who is answered") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        CHECK(server.is_open());
        CHECK_FALSE(server.is_connected());
        CHECK_FALSE(server.local_address().empty());
        const datagram_peer peer{server.local()};
        run(context, [](datagram_socket& socket, const datagram_peer& other) -> asio::awaitable<void> {
            other.send("hello");
            const auto datagram = co_await socket.receive();
            REQUIRE(datagram);
            CHECK(text_of(*datagram) == "hello");
            CHECK(datagram->full_size == 5);
            CHECK_FALSE(datagram->truncated());
            CHECK(to_string(datagram->sender()) == other.local_address());
            co_await socket.send(datagram->bytes, datagram->sender());
            co_await socket.send("and more", datagram->sender());
            CHECK(other.nothing_there());  // queued
            co_await socket.flush();
        }(server, peer));
        CHECK(peer.receive() == "hello");
        CHECK(peer.receive() == "and more");
        CHECK(server.counters().received == 1);
        CHECK(server.counters().bytes_received == 5);
        CHECK(server.counters().sent == 2);
        CHECK(server.counters().bytes_sent == 13);
        CHECK(server.counters().send_calls == 1);
    }
}

TEST_CASE("many senders at once are each answered, and nobody gets what is another's") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        std::vector<datagram_peer> peers;
        for (int i = 0; i < 20; ++i) peers.emplace_back(server.local());
        run(context, [](datagram_socket& socket, const std::vector<datagram_peer>& all) -> asio::awaitable<void> {
            for (int round = 0; round < 4; ++round) {
                for (std::size_t i = 0; i < all.size(); i += 2) all[i].send("from " + std::to_string(i));
                for (std::size_t left = all.size() / 2; left > 0;) {
                    const auto batch = co_await socket.receive_batch();
                    for (const datagram_view& each : batch) CHECK(socket.try_send(each.bytes, each.sender()));
                    left -= batch.size();
                }
                co_await socket.flush();
                for (std::size_t i = 0; i < all.size(); i += 2) CHECK(all[i].receive() == "from " + std::to_string(i));
            }
        }(server, peers));
        for (const datagram_peer& each : peers) CHECK(each.nothing_there());
    }
}

TEST_CASE("an empty datagram is one") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            co_await client->send("");
            const auto datagram = co_await socket.receive();
            REQUIRE(datagram);
            CHECK(datagram->bytes.empty());
            CHECK_FALSE(datagram->truncated());
            co_await socket.send("", datagram->sender());
            co_await socket.flush();
            const auto answer = co_await client->receive();
            REQUIRE(answer);
            CHECK(answer->bytes.empty());
        }(server));
    }
}

TEST_CASE("what is longer than there is room for arrives cut off, and says how long it was") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket_options options;
        options.max_size = 100;
        datagram_socket server{context.get_executor(), address::parse(where), options};
        CHECK(server.max_size() == 100);
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            for (const std::size_t size : {99U, 100U, 101U, 5'000U, 1U}) {
                const std::string text = pattern(size, static_cast<unsigned>(size));
                co_await client->send(text);
                const auto datagram = co_await socket.receive();
                REQUIRE(datagram);
                CHECK(datagram->full_size == size);
                CHECK(datagram->truncated() == (size > 100));
                CHECK(text_of(*datagram) == text.substr(0, 100));
            }
        }(server));
        CHECK(server.counters().truncated == 2);
        CHECK(server.counters().received == 5);
        CHECK(server.counters().bytes_received == 99 + 100 + 100 + 100 + 1);
    }
}

TEST_CASE("the largest datagrams arrive whole, and are answered") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        CHECK(server.max_size() >= 65'507);
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            for (const std::size_t size : {1'472U, 65'507U}) {
                const std::string text = pattern(size);
                co_await client->send(text);
                const auto datagram = co_await socket.receive();
                REQUIRE(datagram);
                CHECK(text_of(*datagram) == text);
                co_await socket.send(datagram->bytes, datagram->sender());
                const std::string copied = pattern(size, 7);
                co_await socket.send(copied, datagram->sender());
                co_await socket.flush();
                CHECK(co_await next_text(*client) == text);
                CHECK(co_await next_text(*client) == copied);
            }
        }(server));
        CHECK(server.counters().truncated == 0);
    }
}

TEST_CASE("a Unix datagram may be as large as the send buffer allows") {
    asio::io_context context;
    datagram_socket server{context.get_executor(), address::parse(abstract_name("large"))};
    run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
        const auto client = co_await client_of(socket);
        const std::string text = pattern(150'000);
        co_await client->send(text);
        const auto datagram = co_await socket.receive();
        REQUIRE(datagram);
        CHECK_FALSE(datagram->truncated());
        CHECK(text_of(*datagram) == text);
        co_await socket.send(datagram->bytes, datagram->sender());
        co_await socket.flush();
        CHECK(co_await next_text(*client) == text);
    }(server));
}

TEST_CASE("what is too large to be sent is an error, and the socket goes on") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            const std::string large(16 * 1024 * 1024, 'x');
            std::error_code ec;
            try {
                co_await client->send(large);
            } catch (const error& failure) {
                ec = failure.code();
            }
            CHECK(ec == std::errc::message_size);
            co_await client->send("small");
            const auto datagram = co_await socket.receive();
            REQUIRE(datagram);
            CHECK(text_of(*datagram) == "small");
            ec = {};
            try {
                co_await socket.send(large, datagram->sender());
            } catch (const error& failure) {
                ec = failure.code();
            }
            CHECK(ec == std::errc::message_size);
            ec = {};
            try {
                (void)socket.try_send(as_bytes(large), datagram->sender());
            } catch (const error& failure) {
                ec = failure.code();
            }
            CHECK(ec == std::errc::message_size);
            co_await socket.send("small too", datagram->sender());
            co_await socket.flush();
            CHECK(co_await next_text(*client) == "small too");
        }(server));
    }
}

TEST_CASE("one queued datagram that the system refuses is told, and those around it leave") {
    asio::io_context context;
    std::vector<std::pair<std::error_code, std::string>> told;
    datagram_socket_options options;
    options.max_size = 8 * 1024 * 1024;
    options.on_send_error = [&](std::error_code ec, const socket_address& to) {
        told.emplace_back(ec, to_string(to));
        throw std::runtime_error{"concerns nobody"};
    };
    datagram_socket server{context.get_executor(), address::parse(abstract_name("refusing")), options};
    const datagram_peer peer{server.local()};
    const socket_address nobody = socket_address::of_unix("@kephas-nobody-" + std::to_string(::getpid()));
    const temporary_folder folder;
    const socket_address no_file = socket_address::of_unix((folder / "none.sock").string());
    run(context, [](datagram_socket& socket, const socket_address& to, const socket_address& gone,
                    const socket_address& missing) -> asio::awaitable<void> {
        const std::string large(7 * 1024 * 1024, 'x');  // more than the system lets a send buffer be
        co_await socket.send("one", to);
        co_await socket.send("lost", gone);
        co_await socket.send("two", to);
        co_await socket.send("lost", missing);
        co_await socket.send("three", to);
        co_await socket.flush();
        co_await socket.send("four", to);
        co_await socket.send(large, to);
        co_await socket.send("five", to);
        co_await socket.flush();
    }(server, end_of(peer.local_address()), nobody, no_file));
    for (const char* expected : {"one", "two", "three", "four", "five"}) CHECK(peer.receive() == expected);
    REQUIRE(told.size() == 3);
    CHECK(told[0].first == std::errc::connection_refused);
    CHECK(told[0].second == to_string(nobody));
    CHECK(told[1].first == std::errc::no_such_file_or_directory);
    CHECK(told[2].first == std::errc::message_size);
    CHECK(told[2].second == peer.local_address());
    const datagram_counters& counters = server.counters();
    CHECK(counters.sent == 5);
    CHECK(counters.peer_gone == 2);
    CHECK(counters.too_big == 1);
    CHECK(counters.queue_full == 0);
    CHECK(counters.failed == 0);
}

TEST_CASE("a sender without a name cannot be answered, and that is said") {
    asio::io_context context;
    datagram_socket server{context.get_executor(), address::parse(abstract_name("unnamed"))};
    const datagram_peer peer{server.local(), datagram_peer::name::none};
    run(context, [](datagram_socket& socket, const datagram_peer& other) -> asio::awaitable<void> {
        other.send("who am I");
        const auto datagram = co_await socket.receive();
        REQUIRE(datagram);
        CHECK(text_of(*datagram) == "who am I");
        CHECK(datagram->sender().empty());
        CHECK(to_string(datagram->sender()) == "");
        CHECK_THROWS_AS((void)socket.try_send(datagram->bytes, datagram->sender()), error);
        std::error_code ec;
        try {
            co_await socket.send(datagram->bytes, datagram->sender());
        } catch (const error& failure) {
            ec = failure.code();
        }
        CHECK(ec == std::errc::destination_address_required);
    }(server, peer));
}

TEST_CASE("datagrams are received and sent in batches") {
    for (const std::string& where : kinds) {
        if (where.starts_with("unix")) continue;  // a queue of ten
        CAPTURE(where);
        asio::io_context context;
        datagram_socket_options options;
        options.batch = 16;
        datagram_socket server{context.get_executor(), address::parse(where), options};
        const datagram_peer peer{server.local()};
        for (int i = 0; i < 40; ++i) peer.send("number " + std::to_string(i));
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            for (int i = 0; i < 40; ++i) {
                const auto datagram = co_await socket.receive();
                REQUIRE(datagram);
                CHECK(text_of(*datagram) == "number " + std::to_string(i));
                co_await socket.send(datagram->bytes, datagram->sender());
            }
            co_await socket.flush();
        }(server));
        for (int i = 0; i < 40; ++i) CHECK(peer.receive() == "number " + std::to_string(i));
        CHECK(server.counters().receive_calls == 3);
        CHECK(server.counters().send_calls == 3);
        CHECK(server.counters().sent == 40);
    }
}

TEST_CASE("a queue without room is sent before more is queued") {
    asio::io_context context;
    datagram_socket_options options;
    options.batch = 4;
    options.max_size = 1'000;
    datagram_socket server{context.get_executor(), address::parse("udp://127.0.0.1:0"), options};
    const datagram_peer peer{server.local()};
    const socket_address to = end_of(peer.local_address());
    for (int i = 0; i < 4; ++i) CHECK(server.try_send(as_bytes("x"), to));
    CHECK_FALSE(server.try_send(as_bytes("y"), to));  // the batch is full
    run(context, [](datagram_socket& socket, const socket_address& receiver) -> asio::awaitable<void> {
        co_await socket.send("y", receiver);
        co_await socket.flush();
        const std::string half = pattern(40'000);  // two of these are more than is copied
        CHECK(socket.try_send(as_bytes(half), receiver));
        CHECK_FALSE(socket.try_send(as_bytes(half), receiver));
        co_await socket.send(half, receiver);
        co_await socket.flush();
    }(server, to));
    for (int i = 0; i < 4; ++i) CHECK(peer.receive() == "x");
    CHECK(peer.receive() == "y");
    for (int i = 0; i < 2; ++i) CHECK(peer.receive() == pattern(40'000));
    CHECK(server.counters().sent == 7);
}

TEST_CASE("what is sent while another coroutine receives leaves at once") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        bool received = false;
        run(context, [](datagram_socket& socket, bool& done) -> asio::awaitable<void> {
            const auto executor = co_await asio::this_coro::executor;
            const auto client = co_await client_of(socket);
            auto reader = [](datagram_socket& from, bool& flag) -> asio::awaitable<void> {
                CHECK(co_await next_text(from) == "the end");
                flag = true;
            };
            asio::co_spawn(executor, reader(socket, done), [](std::exception_ptr failure) { CHECK_FALSE(failure); });
            co_await asio::post(executor, asio::use_awaitable);
            co_await socket.send("unasked", client->local());
            CHECK(co_await next_text(*client) == "unasked");
            co_await client->send("the end");
            steady_timer timer{executor};
            while (!done) {
                timer.expires_after(1ms);
                co_await timer.async_wait(asio::use_awaitable);
            }
        }(server, received));
        CHECK(received);
    }
}

TEST_CASE("receiving has a deadline, and can go on after it") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            for (const duration limit : {duration{20ms}, duration{0}, duration{-1s}}) {
                std::error_code ec;
                const time_point begin = clock::now();
                try {
                    (void)co_await socket.receive(begin + limit);
                } catch (const error& failure) {
                    ec = failure.code();
                }
                CHECK(ec == errc::timed_out);
                CHECK(ec == condition::timed_out);
                CHECK(clock::now() - begin >= limit);
                CHECK(clock::now() - begin < 10s);
            }
            co_await client->send("late");
            CHECK(co_await next_text(socket) == "late");
            co_await client->send("in time");
            const auto there = co_await socket.receive(clock::now() + 10s);
            REQUIRE(there);
            CHECK(text_of(*there) == "in time");
        }(server));
    }
}

TEST_CASE("a deadline that has passed while a datagram came does not end a later wait") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        const datagram_peer peer{server.local()};
        run(context, [](datagram_socket& socket, const datagram_peer& other) -> asio::awaitable<void> {
            other.send("first");
            CHECK(co_await next_text(socket) == "first");
            for (const bool limited : {true, false}) {
                other.send("with the timer");
                const auto here = co_await socket.receive(clock::now());  // both are there in the same turn of the context
                REQUIRE(here);
                asio::co_spawn(
                    socket.get_executor(),
                    [](asio::any_io_executor executor, const datagram_peer& sender) -> asio::awaitable<void> {
                        steady_timer soon{executor, clock::now() + 20ms};
                        co_await soon.async_wait(asio::use_awaitable);
                        sender.send("later");
                    }(socket.get_executor(), other),
                    [](std::exception_ptr failure) { CHECK_FALSE(failure); });
                const time_point deadline = limited ? clock::now() + 10s : time_point::max();
                const auto later = co_await socket.receive(deadline);
                REQUIRE(later);
                CHECK(text_of(*later) == "later");
            }
        }(server, peer));
    }
}

TEST_CASE("receiving can be cancelled, and loses nothing") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            steady_timer soon{co_await asio::this_coro::executor};
            for (int i = 0; i < 3; ++i) {
                soon.expires_after(2ms);
                const auto outcome = co_await (socket.receive() || soon.async_wait(asio::use_awaitable));
                CHECK(outcome.index() == 1);
                co_await client->send("still there");
                CHECK(co_await next_text(socket) == "still there");
            }
        }(server));
    }
}

TEST_CASE("close ends what waits, and everything after it") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        const datagram_peer peer{server.local()};
        const socket_address to = end_of(peer.local_address());
        run(context, [](datagram_socket& socket, const socket_address& other) -> asio::awaitable<void> {
            const auto executor = co_await asio::this_coro::executor;
            asio::post(executor, [&socket] { socket.close(); });
            const auto code_of = [](asio::awaitable<void> task) -> asio::awaitable<std::error_code> {
                try {
                    co_await std::move(task);
                } catch (const std::system_error& failure) {
                    co_return failure.code();
                }
                co_return std::error_code{};
            };
            const auto receive = [](datagram_socket& from) -> asio::awaitable<void> { (void)co_await from.receive(); };
            CHECK(co_await code_of(receive(socket)) == asio::error::operation_aborted);
            CHECK_FALSE(socket.is_open());
            CHECK(co_await code_of(receive(socket)) == asio::error::operation_aborted);
            CHECK(co_await code_of(socket.send("x", other)) == asio::error::operation_aborted);
            socket.close();
        }(server, to));
        CHECK(server.overflows() == 0);
    }
}

TEST_CASE("what was queued when a socket is closed is counted") {
    asio::io_context context;
    datagram_socket server{context.get_executor(), address::parse("udp://127.0.0.1:0")};
    const socket_address self = server.local();
    CHECK(server.try_send(as_bytes("x"), self));
    CHECK(server.try_send(as_bytes("y"), self));
    server.close();
    CHECK(server.counters().failed == 2);
    CHECK(server.counters().sent == 0);
}

TEST_CASE("a socket that shall not receive any more returns nothing, once it has returned what was taken") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto executor = co_await asio::this_coro::executor;
            const auto client = co_await client_of(socket);
            for (const char* text : {"one", "two", "three"}) co_await client->send(text);
            CHECK(co_await next_text(socket) == "one");
            socket.stop_receiving();
            CHECK(co_await next_text(socket) == "two");
            CHECK(co_await next_text(socket) == "three");
            CHECK_FALSE(co_await socket.receive());
            const auto batch = co_await socket.receive_batch();
            CHECK(batch.empty());
            co_await socket.send("bye", client->local());
            co_await socket.flush();
            CHECK(co_await next_text(*client) == "bye");
        }(server));
        datagram_socket waiting{context.get_executor(), address::parse(where.starts_with("unix") ? where + "2" : where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto executor = co_await asio::this_coro::executor;
            asio::post(executor, [&socket] { socket.stop_receiving(); });
            CHECK_FALSE(co_await socket.receive());
        }(waiting));
    }
}

TEST_CASE("nobody there is an error for a client, which goes on when somebody is") {
    asio::io_context context;
    std::string where;
    {
        const datagram_socket there{context.get_executor(), address::parse("udp://127.0.0.1:0")};
        where = there.local_address();
    }
    run(context, [](std::string end) -> asio::awaitable<void> {
        const auto executor = co_await asio::this_coro::executor;
        const address parsed = address::parse(network::udp, end);
        const time_point deadline = clock::now() + 10s;
        const auto client = co_await connect_datagram(parsed, deadline);
        CHECK(client->is_connected());
        CHECK(client->remote_address() == end);
        co_await client->send("anybody?");
        std::error_code ec;
        try {
            (void)co_await client->receive(deadline);
        } catch (const error& failure) {
            ec = failure.code();
        }
        CHECK(ec == std::errc::connection_refused);
        co_await client->send("anybody?");
        ec = {};
        try {
            co_await client->send("told of the one before");
        } catch (const error& failure) {
            ec = failure.code();
        }
        CHECK(ec == std::errc::connection_refused);
        datagram_socket server{executor, parsed};
        co_await client->send("now?");
        CHECK(co_await next_text(server) == "now?");
        co_await server.send("yes", client->local());
        co_await server.flush();
        CHECK(co_await next_text(*client) == "yes");
    }(where));
}

TEST_CASE("a socket that always has something to receive lets others of its thread have their turn") {
    asio::io_context context;
    datagram_socket_options options;
    options.batch = 1;
    datagram_socket server{context.get_executor(), address::parse("udp://127.0.0.1:0"), options};
    const datagram_peer peer{server.local()};
    for (int i = 0; i < 100; ++i) peer.send("x");
    int received = 0;
    int when = 0;
    run(context, [](datagram_socket& socket, int& count, int& seen) -> asio::awaitable<void> {
        asio::post(socket.get_executor(), [&] { seen = count; });
        for (; count < 100; ++count) (void)co_await socket.receive();
    }(server, received, when));
    CHECK(when > 0);
    CHECK(when < 50);
}

TEST_CASE("what the kernel had no room for is counted") {
    asio::io_context context;
    datagram_socket_options options;
    options.receive_buffer = 4096;
    datagram_socket server{context.get_executor(), address::parse("udp://127.0.0.1:0"), options};
    const datagram_peer peer{server.local()};
    const std::string text(1000, 'x');
    for (int i = 0; i < 100; ++i) peer.send(text);
    const std::uint64_t lost = server.overflows();
    CHECK(lost > 0);
    run(context, [](datagram_socket& socket, std::uint64_t rest) -> asio::awaitable<void> {
        while (socket.counters().received < rest) (void)co_await socket.receive_batch();
    }(server, 100 - lost));
    CHECK(server.counters().received == 100 - lost);
}

TEST_CASE("options that cannot be are refused by name") {
    asio::io_context context;
    const auto refused = [&](const datagram_socket_options& options) -> std::string {
        try {
            const datagram_socket socket{context.get_executor(), address::parse("udp://127.0.0.1:0"), options};
        } catch (const std::invalid_argument& failure) {
            return failure.what();
        }
        return "";
    };
    CHECK(refused({}) == "");
    CHECK(refused({.batch = 0}).find("batch") != std::string::npos);
    CHECK(refused({.batch = 1025}).find("batch") != std::string::npos);
    CHECK(refused({.max_size = 1U << 30}).find("max_size") != std::string::npos);
    CHECK(refused({.send_patience = -1ms}).find("send_patience") != std::string::npos);
    CHECK(refused({.send_patience = 1h}).find("send_patience") != std::string::npos);
}

TEST_CASE("a socket that is not connected has no peer to send to") {
    asio::io_context context;
    datagram_socket server{context.get_executor(), address::parse("udp://127.0.0.1:0")};
    const error failure = failure_of(context, [](datagram_socket& socket) -> asio::awaitable<void> {
        co_await socket.send("x");
    }(server));
    CHECK(failure.code() == std::errc::not_connected);
    CHECK_THROWS_AS((void)server.try_send(as_bytes("x")), error);
}

TEST_CASE("a connected socket queues, too") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_socket server{context.get_executor(), address::parse(where)};
        run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            for (int i = 0; i < 8; ++i) CHECK(client->try_send(as_bytes(std::to_string(i))));
            CHECK(client->counters().sent == 0);
            co_await client->send("after them");
            CHECK(client->counters().send_calls == 2);
            for (int i = 0; i < 8; ++i) CHECK(co_await next_text(socket) == std::to_string(i));
            CHECK(co_await next_text(socket) == "after them");
        }(server));
    }
}

TEST_CASE("what could not be sent is counted by its reason, whatever was called to send it") {
    asio::io_context context;
    auto server = std::make_unique<datagram_socket>(context.get_executor(), address::parse("udp://127.0.0.1:0"));
    run(context, [](std::unique_ptr<datagram_socket>& socket) -> asio::awaitable<void> {
        const auto client = co_await client_of(*socket);
        const std::string large(100'000, 'x');
        const socket_address to = socket->local();
        CHECK_THROWS_AS((void)client->try_send(as_bytes(large)), error);
        CHECK_THROWS_AS((void)client->try_send(as_bytes(large), to), error);
        for (const bool connected : {true, false}) {
            bool refused = false;
            try {
                if (connected) co_await client->send(large);
                else co_await client->send(large, to);
            } catch (const error& failure) {
                refused = failure.code() == std::errc::message_size;
            }
            CHECK(refused);
        }
        CHECK(client->counters().too_big == 4);
        CHECK(client->counters().sent == 0);
        socket = nullptr;
        co_await client->send("to nobody");  // whose answer is that nobody is there
        bool gone = false;
        try {
            co_await client->send("not sent");
        } catch (const error& failure) {
            gone = failure.code() == std::errc::connection_refused;
        }
        CHECK(gone);
        CHECK(client->counters().sent == 1);
        CHECK(client->counters().peer_gone == 1);
        client->close();
        CHECK_THROWS_AS((void)client->try_send(as_bytes("closed")), error);
        CHECK(client->counters().failed == 1);
    }(server));
}

TEST_CASE("what leaves the queue while a connected socket waits for room does not take its place") {
    asio::io_context context;
    datagram_socket server{context.get_executor(), address::parse(abstract_name("in-turn"))};
    run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
        const auto client = co_await client_of(socket);
        int sent = 0;
        bool ended = false;
        static constexpr int count = 5'000;  // more than the server's queue has room for
        asio::co_spawn(
            socket.get_executor(),
            [](datagram_socket& from, int& done) -> asio::awaitable<void> {
                for (; done < count; ++done) {
                    const std::string text = std::to_string(done);
                    co_await from.send(text);
                }
            }(*client, sent),
            [&](std::exception_ptr failure) {
                CHECK_FALSE(failure);
                ended = true;
            });
        for (int before = -1; std::exchange(before, sent) != sent || sent == 0;) {  // until it waits
            co_await asio::post(socket.get_executor(), asio::use_awaitable);
        }
        REQUIRE(sent < count);
        CHECK(client->try_send(as_bytes("queued")));
        asio::co_spawn(
            socket.get_executor(),
            [](datagram_socket& from) -> asio::awaitable<void> {
                const auto answer = co_await from.receive(clock::now() + 10s);
                CHECK(answer.has_value());
            }(*client),
            [](std::exception_ptr failure) { CHECK_FALSE(failure); });
        bool queued_came = false;
        for (int i = 0; i < count + 1;) {
            const auto datagram = co_await socket.receive(clock::now() + 5s);
            REQUIRE(datagram);
            if (text_of(*datagram) == "queued") queued_came = true;
            if (++i == count + 1) co_await socket.send("answer", datagram->sender());
        }
        co_await socket.flush();
        CHECK(queued_came);
        for (int i = 0; i < 1000 && !ended; ++i) co_await asio::post(socket.get_executor(), asio::use_awaitable);
        CHECK(ended);
        // The client stays until its receiver has its answer.
        while (client->counters().received == 0) co_await asio::post(socket.get_executor(), asio::use_awaitable);
        for (int i = 0; i < 10; ++i) co_await asio::post(socket.get_executor(), asio::use_awaitable);
    }(server));
}
