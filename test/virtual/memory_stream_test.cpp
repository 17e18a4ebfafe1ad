#include <kephas/net/memory_stream.hpp>
#include <kephas/net/read_when_ready.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/virtual_clock.hpp>

#include <support/virtual_world.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

class lender final : public slab_lender {
public:
    slice borrow_slab() override {
        ++lent;
        return slice::allocate(16);
    }
    void give_back_slab(slice /*slab*/) override {}
    int lent = 0;
};

/// One end of a connection, and a coroutine that reads from it until it ends.
struct reading_end {
    reading_end(asio::io_context& context, std::unique_ptr<stream> from) : end{std::move(from)} {
        asio::co_spawn(context, read(), [](std::exception_ptr failure) {
            if (failure) std::rethrow_exception(failure);
        });
    }
    asio::awaitable<void> read() {
        read_buffer buffer;
        buffer.lender = &slabs;
        for (;;) {
            const std::size_t size = co_await read_when_ready(*end, buffer, ec);
            if (size == 0) break;
            text += as_text(buffer.slab.view().first(size));
            ++reads;
        }
        ended = true;
    }

    lender slabs;
    std::unique_ptr<stream> end;
    std::error_code ec;
    std::string text;
    int reads = 0;
    bool ended = false;
};

std::size_t write(stream& to, std::string_view text, std::error_code& ec) {
    const bytes_view parts[] = {as_bytes(text)};
    return to.write_some(parts, ec);
}

}  // namespace

TEST_CASE("what one end of a memory link writes, the other one reads, and then the end") {
    asio::io_context context;
    memory_link link;
    const auto client = link.client_end(context.get_executor());
    reading_end server{context, link.server_end(context.get_executor())};
    std::error_code ec;
    context.poll();
    CHECK(server.slabs.lent == 0);  // nothing is borrowed by who waits
    CHECK(write(*client, "hello", ec) == 5);
    context.poll();
    CHECK(server.text == "hello");
    CHECK_FALSE(server.ended);
    CHECK_FALSE(server.end->peer_gone());
    client->shutdown_send();
    CHECK(server.end->peer_gone());
    context.poll();
    CHECK(server.ended);
    CHECK(server.ec == asio::error::eof);
    CHECK(write(*client, "x", ec) == 0);
    CHECK(ec == asio::error::broken_pipe);
}

TEST_CASE("a full memory pipe blocks the writer until the reader has made room") {
    asio::io_context context;
    memory_link link{4};
    const auto server = link.server_end(context.get_executor());
    std::error_code ec;
    const bytes_view parts[] = {as_bytes("ab"), as_bytes("cde"), as_bytes("f")};
    CHECK(server->write_some(parts, ec) == 4);
    CHECK_FALSE(ec);
    CHECK(write(*server, "x", ec) == 0);
    CHECK(ec == asio::error::would_block);
    int ready = 0;
    server->wait_writable([&](std::error_code failed) { ready += failed ? 100 : 1; });
    context.poll();
    CHECK(ready == 0);
    CHECK(link.to_client().take() == "abcd");
    CHECK(ready == 0);  // never called from inside
    context.restart();
    context.poll();
    CHECK(ready == 1);
}

TEST_CASE("a test decides what arrives when, and in which pieces") {
    asio::io_context context;
    memory_link link;
    reading_end server{context, link.server_end(context.get_executor())};
    link.to_server().hold();
    link.to_server().write("0123456789");
    link.to_server().end();
    context.poll();
    CHECK(server.text.empty());
    CHECK(server.end->peer_gone());
    link.to_server().deliver(3);
    context.poll();
    CHECK(server.text == "012");
    CHECK(server.reads == 1);
    link.to_server().set_step(1);
    link.to_server().release();
    context.poll();
    CHECK(server.text == "0123456789");
    CHECK(server.reads == 8);
    CHECK(server.ended);
}

TEST_CASE("closing with unread input resets the connection, as TCP does") {
    asio::io_context context;
    memory_link link;
    const auto server = link.server_end(context.get_executor());
    std::error_code ec;
    CHECK(write(*server, "last words", ec) == 10);
    link.to_server().write("unread");
    server->close();
    CHECK(link.to_client().was_reset());
    CHECK(link.to_client().take().empty());

    memory_link other;
    const auto polite = other.server_end(context.get_executor());
    CHECK(write(*polite, "last words", ec) == 10);
    polite->close();
    CHECK_FALSE(other.to_client().was_reset());
    CHECK(other.to_client().take() == "last words");
    CHECK(other.to_client().at_end());
}

TEST_CASE("a lost connection ends reads and writes with connection_reset, and what is pending with operation_aborted at close") {
    asio::io_context context;
    memory_link link{1};
    reading_end server{context, link.server_end(context.get_executor())};
    context.poll();
    SUBCASE("lost") {
        link.reset();
        context.poll();
        CHECK(server.ec == asio::error::connection_reset);
        std::error_code ec;
        CHECK(write(*server.end, "x", ec) == 0);
        CHECK(ec == asio::error::connection_reset);
    }
    SUBCASE("closed") {
        std::error_code ec;
        CHECK(write(*server.end, "x", ec) == 1);
        std::error_code outcome;
        server.end->wait_writable([&](std::error_code failed) { outcome = failed; });
        server.end->close();
        context.poll();
        CHECK(server.ec == asio::error::operation_aborted);
        CHECK(outcome == asio::error::operation_aborted);
    }
}

TEST_CASE("virtual time stands still until it is advanced, and timers expire in their order at their instants") {
    virtual_clock time;
    asio::io_context context;
    const time_point start = clock::now();
    std::vector<std::pair<int, duration>> expired;
    const auto after = [&](int number, duration delay) -> asio::awaitable<void> {
        co_await pause_for(delay);
        expired.emplace_back(number, clock::now() - start);
    };
    asio::co_spawn(context, after(1, 3h), [](std::exception_ptr) {});
    asio::co_spawn(context, after(2, 1ns), [](std::exception_ptr) {});
    asio::co_spawn(context, after(3, 2s), [](std::exception_ptr) {});
    CHECK(time.settle(context) == start + 1ns);
    CHECK(clock::now() == start);
    CHECK(expired.empty());
    time.run_for(context, 1h);
    CHECK(expired == std::vector<std::pair<int, duration>>{{2, 1ns}, {3, 2s}});
    CHECK(clock::now() == start + 1h);
    CHECK(time.settle(context) == start + 3h);
    time.run_for(context, 3h);
    CHECK(expired.back() == std::pair<int, duration>{1, 3h});
    CHECK_FALSE(time.settle(context));
}

TEST_CASE("real time goes on when the virtual clock has gone") {
    {
        const virtual_clock time{time_point{} + 5h};
        CHECK(clock::now() == time_point{} + 5h);
        CHECK_THROWS_AS(virtual_clock{}, std::logic_error);
    }
    const auto real = std::chrono::steady_clock::now();
    CHECK(clock::now() >= real);
    CHECK(clock::now() - real < 1min);
}
