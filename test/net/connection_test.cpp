#include <support/run_coroutine.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connection.hpp>
#include <kephas/net/memory_stream.hpp>
#include <kephas/net/owned_fd.hpp>
#include <kephas/net/poller.hpp>
#include <kephas/net/socket_stream.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/virtual_clock.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
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
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

namespace {

/// The ways to be connected with a peer whose descriptor is at hand.
struct over_poller {
    asio::io_context context{1};
    std::shared_ptr<poller> sockets = std::make_shared<poller>(context.get_executor());
    int peer = -1;
    std::unique_ptr<stream> open() {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        peer = ends[1];
        return make_polled_stream(owned_fd{ends[0]}, *sockets);
    }
    ~over_poller() {
        sockets->stop();
        ::close(peer);
    }
};
struct over_asio {
    asio::io_context context;
    int peer = -1;
    std::unique_ptr<stream> open() {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        peer = ends[1];
        asio::generic::stream_protocol::socket socket{context};
        socket.assign(asio::generic::stream_protocol{AF_UNIX, 0}, ends[0]);
        return make_socket_stream(std::move(socket));
    }
    ~over_asio() { ::close(peer); }
};

void send(int fd, std::string_view text) { REQUIRE(::send(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())); }
std::string receive(int fd) {
    std::array<char, 4096> block{};
    const ssize_t size = ::recv(fd, block.data(), block.size(), MSG_DONTWAIT);
    return size > 0 ? std::string{block.data(), static_cast<std::size_t>(size)} : std::string{};
}

asio::awaitable<void> pass(duration time) {
    steady_timer pause{co_await asio::this_coro::executor};
    pause.expires_after(time);
    co_await pause.async_wait(asio::use_awaitable);
}

/// Does something while somebody else waits.
void soon(asio::io_context& context, std::function<void()> what) {
    asio::co_spawn(
        context,
        [](std::function<void()> todo) -> asio::awaitable<void> {
            co_await pass(5ms);
            todo();
        }(std::move(what)),
        [](std::exception_ptr failure) {
            if (failure) std::rethrow_exception(failure);
        });
}

asio::awaitable<std::string> read_text(connection& from, std::size_t most = 4096) {
    std::string text(most, '\0');
    const std::size_t size = co_await from.read_some(std::as_writable_bytes(std::span{text}));
    text.resize(size);
    co_return text;
}

}  // namespace

TEST_CASE_TEMPLATE("a connection reads what has come, waits for what comes, and reads 0 at the end", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    send(over.peer, "hello");
    soon(over.context, [&] { send(over.peer, "later"); });
    run(over.context, [](connection& from, int peer) -> asio::awaitable<void> {
        CHECK(co_await read_text(from, 3) == "hel");
        CHECK(co_await read_text(from) == "lo");
        CHECK(co_await read_text(from) == "later");
        ::shutdown(peer, SHUT_WR);
        CHECK(co_await read_text(from) == "");
        CHECK(co_await read_text(from) == "");
        co_await from.write("still here");
        CHECK(receive(peer) == "still here");
    }(ours, over.peer));
    CHECK(ours.bytes_read() == 10);
    CHECK(ours.bytes_written() == 10);
}

TEST_CASE_TEMPLATE("shutdown_write ends the stream for the peer, who may still send", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    run(over.context, [](connection& from, int peer) -> asio::awaitable<void> {
        co_await from.write("all");
        from.shutdown_write();
        std::array<char, 8> block{};
        CHECK(::recv(peer, block.data(), block.size(), 0) == 3);
        CHECK(::recv(peer, block.data(), block.size(), 0) == 0);
        send(peer, "thanks");
        CHECK(co_await read_text(from) == "thanks");
    }(ours, over.peer));
}

TEST_CASE_TEMPLATE("read_exactly takes no more and no less", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    send(over.peer, "abc");
    soon(over.context, [&] { send(over.peer, "defg"); });
    run(over.context, [](connection& from) -> asio::awaitable<void> {
        std::array<std::byte, 6> six{};
        co_await from.read_exactly(six);
        CHECK(as_text(six) == "abcdef");
    }(ours));
    ::shutdown(over.peer, SHUT_WR);
    CHECK(failure_of(over.context, [](connection& from) -> asio::awaitable<void> {
        std::array<std::byte, 2> two{};
        co_await from.read_exactly(two);  // only one is left
    }(ours)).code() == asio::error::eof);
}

TEST_CASE_TEMPLATE("read_until finds a delimiter wherever the pieces end", Over, over_poller, over_asio) {
    const std::string text = "first\r\nsecond\r\n\r\nrest";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        Over over;
        connection ours{over.open()};
        if (cut > 0) send(over.peer, std::string_view{text}.substr(0, cut));
        soon(over.context, [&] {
            if (cut < text.size()) send(over.peer, std::string_view{text}.substr(cut));
            ::shutdown(over.peer, SHUT_WR);
        });
        run(over.context, [](connection& from) -> asio::awaitable<void> {
            CHECK(co_await from.read_until("\r\n") == "first\r\n");
            CHECK(co_await from.read_until("\r\n") == "second\r\n");
            CHECK(co_await from.read_until("\r\n") == "\r\n");
            std::array<std::byte, 2> two{};
            co_await from.read_exactly(two);
            CHECK(as_text(two) == "re");
            CHECK(co_await read_text(from, 1) == "s");
            CHECK(co_await from.read_until("\r\n") == "t");  // no delimiter: the end
            CHECK(co_await from.read_until("\r\n") == "");
        }(ours));
    }
}

TEST_CASE_TEMPLATE("read_until does not collect more than it may", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    send(over.peer, "0123456789\n");
    CHECK(failure_of(over.context, [](connection& from) -> asio::awaitable<void> {
        (void)co_await from.read_until("\n", 10);
    }(ours)).code() == condition::too_big);
    run(over.context, [](connection& from) -> asio::awaitable<void> {  // nothing is lost
        CHECK(co_await from.read_until("\n", 11) == "0123456789\n");
    }(ours));
}

TEST_CASE_TEMPLATE("a write waits for a peer that does not read, and arrives whole and in order", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    std::string sent;
    for (int i = 0; sent.size() < 4 * 1024 * 1024; ++i) sent += std::to_string(i) + ' ';
    std::string received;
    asio::co_spawn(
        over.context,
        [](int peer, std::string& to, std::size_t all) -> asio::awaitable<void> {
            while (to.size() < all) {
                co_await pass(1ms);
                for (std::string piece = receive(peer); !piece.empty(); piece = receive(peer)) to += piece;
            }
        }(over.peer, received, sent.size()),
        [&](std::exception_ptr) { over.context.stop(); });
    bool written = false;
    asio::co_spawn(
        over.context,
        [](connection& to, const std::string& text, bool& done) -> asio::awaitable<void> {
            const bytes_view all = as_bytes(text);
            const std::array<bytes_view, 5> parts{all.first(1), bytes_view{}, all.subspan(1, 1'000'000),
                                                  all.subspan(1'000'001), bytes_view{}};
            co_await to.write(parts);
            done = true;
        }(ours, sent, written),
        [](std::exception_ptr failure) { CHECK_FALSE(failure); });
    over.context.run_for(10s);
    CHECK(written);
    CHECK(received == sent);
}

TEST_CASE_TEMPLATE("reads and writes can be cancelled, and nothing is lost by it", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    run(over.context, [](connection& from, int peer) -> asio::awaitable<void> {
        for (int i = 0; i < 3; ++i) {
            const auto outcome = co_await (read_text(from) || pass(2ms));
            CHECK(outcome.index() == 1);
        }
        send(peer, "after all");
        CHECK(co_await read_text(from) == "after all");
        const std::string much(8 * 1024 * 1024, 'x');
        const auto outcome = co_await (from.write(much) || pass(2ms));
        CHECK(outcome.index() == 1);
        CHECK(from.bytes_written() < much.size());
        while (!receive(peer).empty()) {}
        co_await from.write("!");
        std::string last;
        for (std::string piece = receive(peer); !piece.empty(); piece = receive(peer)) last = piece;
        CHECK(last == "!");
    }(ours, over.peer));
}

TEST_CASE_TEMPLATE("a read may be awaited later than it was asked for, whatever has happened meanwhile", Over, over_poller, over_asio) {
    Over over;
    connection ours{over.open()};
    run(over.context, [](connection& from, int peer) -> asio::awaitable<void> {
        std::array<std::byte, 16> buffer{};
        asio::awaitable<std::size_t> first = from.read_some(buffer);
        send(peer, "hello");
        co_await pass(2ms);
        const std::size_t size = co_await std::move(first);
        CHECK(as_text(bytes_view{buffer}.first(size)) == "hello");
        { const asio::awaitable<std::size_t> never = from.read_some(buffer); }
        asio::awaitable<std::size_t> behind = from.read_some(buffer);
        send(peer, "one\ntwo");
        CHECK(co_await from.read_until("\n") == "one\n");
        const std::size_t rest = co_await std::move(behind);
        CHECK(as_text(bytes_view{buffer}.first(rest)) == "two");
        asio::awaitable<std::size_t> second = from.read_some(buffer);
        from.close();
        co_await pass(2ms);
        std::error_code ec;
        try {
            (void)co_await std::move(second);
        } catch (const error& failure) {
            ec = failure.code();
        }
        CHECK(ec == asio::error::operation_aborted);
    }(ours, over.peer));
}

TEST_CASE_TEMPLATE("an observer may cancel the read that it is told of, which still returns what it has read", Over, over_poller, over_asio) {
    Over over;
    asio::cancellation_signal cancel;
    connection ours{over.open(), std::make_shared<const connection_observer>([&](const connection&, connection_state now) {
                        if (now == connection_state::read) cancel.emit(asio::cancellation_type::terminal);
                    })};
    std::string text;
    std::error_code ended;
    const auto reading = [](connection& from, std::string& to) -> asio::awaitable<void> {
        to = co_await read_text(from);
        (void)co_await read_text(from);
    };
    asio::co_spawn(over.context, reading(ours, text),
                   asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr& failure) {
                       try {
                           if (failure) std::rethrow_exception(failure);
                       } catch (const std::system_error& why) {
                           ended = why.code();
                       }
                       over.context.stop();
                   }));
    soon(over.context, [&] { send(over.peer, "hello"); });
    over.context.run_for(20s);
    CHECK(text == "hello");
    CHECK(ended == asio::error::operation_aborted);
}

TEST_CASE_TEMPLATE("close ends what waits, and what is asked afterwards", Over, over_poller, over_asio) {
    for (const bool abort : {false, true}) {
        Over over;
        connection ours{over.open()};
        soon(over.context, [&] {
            if (abort) ours.abort();
            else ours.close();
        });
        const auto reading = [](connection& from) -> asio::awaitable<void> { (void)co_await read_text(from); };
        const auto writing = [](connection& to) -> asio::awaitable<void> { co_await to.write("x"); };
        CHECK(failure_of(over.context, reading(ours)).code() == asio::error::operation_aborted);
        CHECK_FALSE(ours.is_open());
        CHECK(failure_of(over.context, reading(ours)).code() == asio::error::operation_aborted);
        CHECK(failure_of(over.context, writing(ours)).code() == asio::error::operation_aborted);
        std::array<char, 8> block{};
        CHECK(::recv(over.peer, block.data(), block.size(), MSG_DONTWAIT) == 0);
    }
}

TEST_CASE_TEMPLATE("a connection may go while the stream waits for it", Over, over_poller, over_asio) {
    Over over;
    {
        connection ours{over.open()};
        run(over.context, [](connection& from) -> asio::awaitable<void> {
            (void)co_await (read_text(from) || pass(1ms));
            const std::string much(8 * 1024 * 1024, 'x');
            (void)co_await (from.write(much) || pass(1ms));
        }(ours));
    }
    run(over.context, pass(5ms));  // what the stream has promised comes to nothing
}

TEST_CASE("a connection says who its peer is") {
    over_poller over;
    const connection ours{over.open()};
    REQUIRE(ours.peer_credentials());
    CHECK(*ours.peer_credentials() == peer_credentials{::getpid(), ::getuid(), ::getgid()});
    CHECK(ours.remote_address().empty());  // socketpair(2)
    CHECK_FALSE(ours.tls());

    const memory_link link;
    asio::io_context context;
    const connection in_memory{link.server_end(context.get_executor())};
    CHECK(in_memory.remote_address() == "memory");
    CHECK_FALSE(in_memory.peer_credentials());
}

TEST_CASE("an observer hears of every state that a connection enters, in order") {
    over_poller over;
    std::vector<std::string> states;
    const auto observer = std::make_shared<const connection_observer>([&](const connection& /*which*/, connection_state now) {
        states.emplace_back(to_string(now));
    });
    connection ours{over.open(), observer};
    send(over.peer, "x");
    ::shutdown(over.peer, SHUT_WR);
    run(over.context, [](connection& from) -> asio::awaitable<void> {
        (void)co_await read_text(from);
        (void)co_await read_text(from);
        co_await from.write("y");
        from.shutdown_write();
        from.close();
        from.close();
    }(ours));
    CHECK(states == std::vector<std::string>{"read incoming stream", "close incoming stream", "write outgoing stream",
                                             "close outgoing stream", "close connection"});
}

TEST_CASE("idle time begins anew with each read and write") {
    const time_point coarse = clock::coarse_now();
    CHECK(coarse <= clock::now());
    virtual_clock time;
    over_poller over;
    connection ours{over.open()};
    run(over.context, [](connection& from, int peer, virtual_clock& now) -> asio::awaitable<void> {
        now.advance(20ms);
        CHECK(from.idle_time() == 20ms);
        co_await from.write("x");
        CHECK(from.idle_time() == 0ms);
        now.advance(1ms);
        CHECK(from.idle_time() == 1ms);
        send(peer, "y");
        (void)co_await read_text(from);
        CHECK(from.idle_time() == 0ms);
    }(ours, over.peer, time));
}

TEST_CASE("without a limit read_until waits for the delimiter, however much comes before it") {
    over_poller over;
    connection ours{over.open()};
    run(over.context, [](connection& from, int peer) -> asio::awaitable<void> {
        send(peer, "no");
        steady_timer timer{co_await asio::this_coro::executor};
        timer.expires_after(1ms);
        timer.async_wait([peer](std::error_code) { send(peer, " limit\nrest"); });
        const std::string line = co_await from.read_until("\n", std::string::npos);
        CHECK(line == "no limit\n");
    }(ours, over.peer));
}
