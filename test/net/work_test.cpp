// What one client's work may hold of memory, whatever the client does.
#include <kephas/base/error.hpp>

#include <kephas/net/slab_cache.hpp>

#include <kephas/server/call_table.hpp>
#include <kephas/server/handler_work.hpp>
#include <kephas/server/job.hpp>
#include <kephas/server/options.hpp>

#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <future>
#include <set>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {
using reply = asio::awaitable<std::optional<payload>>;
}

TEST_CASE("a queue of jobs that never runs empty does not grow") {
    job_queue queue;
    (void)queue.add();
    std::set<const job*> places;
    for (int i = 0; i < 10'000; ++i) {
        (void)queue.add();
        const job* oldest = queue.take();
        REQUIRE(oldest != nullptr);
        if (i >= 100) places.insert(oldest);
    }
    CHECK(queue.size() == 1);
    CHECK(places.size() < 16);
}

TEST_CASE("a queue of jobs gives its memory back when it is empty and the last one is done, and not before") {
    job_queue queue;
    queue.trim();
    for (std::size_t i = 1; i <= 3; ++i) queue.add().counted_bytes = i;
    REQUIRE(queue.take() != nullptr);
    queue.trim();
    CHECK(queue.size() == 2);
    CHECK(queue.waiting().size() == 2);
    const job* running = nullptr;
    for (std::size_t i = 2; i <= 3; ++i) {
        running = queue.take();
        REQUIRE(running != nullptr);
        CHECK(running->counted_bytes == i);
    }
    CHECK(queue.empty());
    queue.trim();
    CHECK(running->counted_bytes == 3);
    CHECK(queue.take() == nullptr);
    queue.trim();
    CHECK(queue.empty());
    queue.add().counted_bytes = 4;
    const job* first = queue.take();
    REQUIRE(first != nullptr);
    CHECK(first->counted_bytes == 4);
    CHECK(queue.take() == nullptr);
}

TEST_CASE("a job stays where it is while it is done, whatever is added behind it") {
    job_queue queue;
    for (std::size_t i = 0; i < 3; ++i) queue.add().counted_bytes = i;
    const job* first = queue.take();
    REQUIRE(first != nullptr);
    for (std::size_t i = 3; i < 1'000; ++i) queue.add().counted_bytes = i;
    CHECK(first->counted_bytes == 0);
    CHECK(queue.waiting().size() == 2);
    CHECK(queue.waiting_behind().size() == 997);
    for (std::size_t i = 1; i < 1'000; ++i) {
        const job* next = queue.take();
        REQUIRE(next != nullptr);
        CHECK(next->counted_bytes == i);
    }
    CHECK(queue.take() == nullptr);
}

TEST_CASE("messages without bytes count when a pending call lifts the limit on messages") {
    const in_flight_options limits{.messages = 4, .bytes = 1024};
    handler_work work{limits};
    for (int i = 0; i < 4; ++i) work.begin(0, false);
    CHECK(work.messages_full());
    CHECK_FALSE(work.bytes_full());
    for (int i = 0; i < 4; ++i) work.begin(0, false);
    CHECK(work.bytes_full());
    (void)work.end(0, false);
    CHECK_FALSE(work.bytes_full());
}

TEST_CASE("a client that has left opens no call, whether it was called before or not") {
    std::uint64_t id = 0;
    std::error_code ec;
    call_table never_called;
    CHECK_FALSE(never_called.any_pending());
    never_called.end_all(errc::overloaded);
    never_called.close();
    never_called.close();
    CHECK(never_called.open(1, id, ec) == nullptr);
    CHECK(ec == errc::closed);
    CHECK_FALSE(never_called.any_pending());
    never_called.refuse("1", errc::invalid_response);

    call_table called;
    const auto call = called.open(1, id, ec);
    REQUIRE(call != nullptr);
    CHECK(called.any_pending());
    CHECK(called.open(1, id, ec) == nullptr);
    CHECK(ec == errc::overloaded);
    called.close();
    CHECK(call->failure == errc::closed);
    CHECK_FALSE(called.any_pending());
    CHECK(called.open(1, id, ec) == nullptr);
    CHECK(ec == errc::closed);
}

TEST_CASE("messages that wait for a suspended handler on the strand do not keep the read buffer") {
    gate go;
    std::promise<std::size_t> held;
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [&](request) -> reply {
        co_await go.wait();
        co_return std::nullopt;
    });
    routes.on(command_id{2}, dispatch::on_strand, [&](request req) -> reply {
        held.set_value(req.share().block_size());
        co_return std::nullopt;
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(eventually([&] { return server->stats().handlers_started == 1; }));
    client.send_command(2, "small");
    CHECK(eventually([&] { return server->stats().messages_received == 2; }));
    go.open();
    CHECK(held.get_future().get() < slab_cache::slab_size);
}

TEST_CASE("what is echoed to a client that does not read does not keep a read buffer for each message") {
    std::promise<std::size_t> held;
    std::promise<client> arrived;
    router routes;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        arrived.set_value(std::move(who));
        co_return;
    });
    routes.on(command_id{2}, dispatch::on_strand, [&](request req) -> reply {
        held.set_value(req.share().block_size());
        co_return payload{req.share()};
    });
    running_server server{std::move(routes)};
    test_client peer{server.port(), 4096};
    REQUIRE(peer.handshake().starts_with("HTTP/1.1 101"));
    const client who = arrived.get_future().get();
    // More than any kernel takes for a client that does not read: the outbox stays full.
    REQUIRE(who.try_send(command_id{9}, payload{std::string(48 * 1024 * 1024, 'b')}) == send_status::queued);
    peer.send_command(2, "small");
    CHECK(held.get_future().get() < slab_cache::slab_size);
}
