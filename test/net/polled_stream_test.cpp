#include <kephas/net/poller.hpp>
#include <kephas/net/socket_stream.hpp>

#include <asio/error.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace kephas;

namespace {

class small_slabs final : public slab_lender {
public:
    slice borrow_slab() override { return slice::allocate(4); }
    void give_back_slab(slice /*slab*/) override {}
};

/// Counts how often it was told, and may do something about it.
struct counting_waiter final : read_waiter {
    void readable() noexcept override {
        ++told;
        if (then) then();
    }
    int told = 0;
    std::function<void()> then;
};

/// A stream and the descriptor of its peer.
struct pair {
    explicit pair(poller& sockets) {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        server = make_polled_stream(owned_fd{ends[0]}, sockets);
        peer = std::make_unique<owned_fd>(ends[1]);
    }
    void send(std::string_view text) const { REQUIRE(::send(peer->get(), text.data(), text.size(), 0) > 0); }
    std::string read(std::error_code& ec) {
        read_buffer buffer{{}, &slabs, {}};
        const std::size_t size = server->read_some(buffer, ec);
        return std::string{as_text(buffer.slab.view().first(size))};
    }

    small_slabs slabs;
    std::unique_ptr<stream> server;
    std::unique_ptr<owned_fd> peer;
};

struct fixture {
    /// What happens until nothing more does; how many handlers of Asio's that took.
    std::size_t settle() {
        context.restart();
        std::size_t handlers = 0;
        while (context.poll_one() > 0) REQUIRE(++handlers < 100);  // or it spins
        return handlers;
    }

    asio::io_context context{1};
    std::shared_ptr<poller> sockets = std::make_shared<poller>(context.get_executor());
    ~fixture() { sockets->stop(); }
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "who waits is told once, and again for what was not read") {
    pair socket{*sockets};
    counting_waiter waiter;
    std::error_code ec;
    CHECK(socket.read(ec).empty());
    CHECK(ec == asio::error::would_block);
    socket.server->wait_readable(waiter);
    settle();
    CHECK(waiter.told == 0);
    socket.send("abcdef");
    settle();
    CHECK(waiter.told == 1);
    CHECK(socket.read(ec) == "abcd");
    CHECK_FALSE(ec);
    socket.server->wait_readable(waiter);
    settle();
    CHECK(waiter.told == 2);
    CHECK(socket.read(ec) == "ef");
    socket.server->wait_readable(waiter);
    settle();
    CHECK(waiter.told == 2);
    ::shutdown(socket.peer->get(), SHUT_WR);
    settle();
    CHECK(waiter.told == 3);
    CHECK(socket.read(ec).empty());
    CHECK(ec == asio::error::eof);
}

TEST_CASE_FIXTURE(fixture, "input that nobody waits for keeps no thread busy, and neither does a peer that is gone") {
    pair socket{*sockets};
    counting_waiter waiter;
    socket.server->wait_readable(waiter);
    socket.send("a");
    settle();
    CHECK(waiter.told == 1);
    socket.send("b");
    settle();  // REQUIREs that this comes to an end
    CHECK(settle() == 0);
    CHECK(waiter.told == 1);
    socket.server->wait_readable(waiter);
    settle();
    CHECK(waiter.told == 2);
    socket.peer.reset();  // EPOLLHUP is told whether it was asked for or not
    settle();
    CHECK(settle() == 0);
    CHECK(waiter.told == 2);
    socket.server->wait_readable(waiter);
    settle();
    CHECK(waiter.told == 3);
}

TEST_CASE_FIXTURE(fixture, "closing tells who waits, later, and whoever waits afterwards") {
    pair never_waited{*sockets};
    pair socket{*sockets};
    counting_waiter waiter;
    std::error_code outcome;
    int written = 0;
    for (stream* each : {socket.server.get(), never_waited.server.get()}) {
        waiter.told = written = 0;
        if (each == socket.server.get()) {
            each->wait_readable(waiter);
            each->wait_writable([&](std::error_code ec) {
                ++written;
                outcome = ec;
            });
            each->close();
            CHECK(waiter.told == 0);
            CHECK(written == 0);
            settle();
            CHECK(waiter.told == 1);
            CHECK(written == 1);
            CHECK(outcome == asio::error::operation_aborted);
        } else {
            each->abort();
        }
        each->wait_readable(waiter);
        settle();
        CHECK(waiter.told == (each == socket.server.get() ? 2 : 1));
        std::error_code ec;
        read_buffer buffer{{}, &socket.slabs, {}};
        CHECK(each->read_some(buffer, ec) == 0);
        CHECK(ec);
        CHECK(ec != asio::error::would_block);
        CHECK(each->peer_gone());
    }
}

TEST_CASE_FIXTURE(fixture, "a stream that is destroyed by one that is told first hears nothing of what has happened to it") {
    std::vector<std::unique_ptr<pair>> sockets_of_many;
    std::vector<counting_waiter> waiters(20);
    for (std::size_t i = 0; i < waiters.size(); ++i) {
        sockets_of_many.push_back(std::make_unique<pair>(*sockets));
        waiters[i].then = [&, i] {  // only the first one that is told survives
            for (std::size_t other = 0; other < waiters.size(); ++other) {
                if (other != i) sockets_of_many[other]->server.reset();
            }
        };
        sockets_of_many[i]->server->wait_readable(waiters[i]);
        sockets_of_many[i]->send("x");
    }
    settle();
    int told = 0;
    for (const counting_waiter& each : waiters) told += each.told;
    CHECK(told == 1);
}

TEST_CASE_FIXTURE(fixture, "a stream that is destroyed while it waits, or is about to be told of its end, tells nobody") {
    counting_waiter waiter;
    {
        pair waits{*sockets};
        waits.server->wait_readable(waiter);
        pair closed{*sockets};
        closed.server->wait_readable(waiter);
        closed.server->close();
    }
    settle();
    CHECK(waiter.told == 0);
}

TEST_CASE_FIXTURE(fixture, "who waits for its turn has it behind those that are ready by then, and once in a round") {
    pair busy{*sockets};
    pair quiet{*sockets};
    counting_waiter quiet_waiter;
    counting_waiter busy_waiter;
    std::string order;
    std::error_code ec;
    quiet_waiter.then = [&] {
        order += 'q';
        if (order.size() > 12) return;
        CHECK(quiet.read(ec) == "q");
        quiet.send("q");  // readable from now on
        quiet.server->wait_readable(quiet_waiter);
    };
    busy_waiter.then = [&] {
        order += 'b';
        if (order.size() <= 12) CHECK(busy.server->wait_turn(busy_waiter));
    };
    CHECK(busy.server->wait_turn(busy_waiter));
    busy.send("input that is there for longer than its turn");
    quiet.send("q");
    quiet.server->wait_readable(quiet_waiter);
    settle();
    CHECK(order.substr(0, 12) == "qbqbqbqbqbqb");
}

TEST_CASE_FIXTURE(fixture, "who waits for its turn is told if the stream is closed, and not if it is destroyed") {
    counting_waiter waiter;
    pair closed{*sockets};
    CHECK(closed.server->wait_turn(waiter));
    closed.server->close();
    settle();
    CHECK(waiter.told == 1);
    {
        pair destroyed{*sockets};
        CHECK(destroyed.server->wait_turn(waiter));
    }
    settle();
    CHECK(waiter.told == 1);
    CHECK(settle() == 0);
}

TEST_CASE_FIXTURE(fixture, "who waits to write is told once the peer has read") {
    pair socket{*sockets};
    const std::string block(64 * 1024, 'x');
    const bytes_view parts[] = {as_bytes(block), as_bytes(block)};
    std::error_code ec;
    std::size_t total = 0;
    while (!ec) total += socket.server->write_some(parts, ec);
    CHECK(ec == asio::error::would_block);
    int ready = 0;
    socket.server->wait_writable([&](std::error_code failed) { ready += failed ? 100 : 1; });
    counting_waiter waiter;
    socket.server->wait_readable(waiter);
    settle();
    CHECK(ready == 0);
    std::vector<char> memory(total);
    std::size_t taken = 0;
    while (taken < total) {
        const ssize_t size = ::recv(socket.peer->get(), memory.data(), memory.size(), 0);
        REQUIRE(size > 0);
        taken += static_cast<std::size_t>(size);
    }
    settle();
    CHECK(ready == 1);
    CHECK(waiter.told == 0);
    CHECK(settle() == 0);
    socket.send("x");
    settle();
    CHECK(waiter.told == 1);
}

TEST_CASE_FIXTURE(fixture, "a poller that is stopped lets its context end, and streams may outlive that") {
    pair socket{*sockets};
    counting_waiter waiter;
    socket.server->wait_readable(waiter);
    sockets->stop();
    context.run();  // returns
    CHECK(waiter.told == 0);
    socket.server->close();
}
