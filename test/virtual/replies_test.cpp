// Replies of handlers on the strand leave together, past the outbox: in order with everything else, and accounted for.
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

constexpr command_id echo_id{1}, send_id{2}, drain_id{3}, large_id{4}, close_id{5};

/// Everything that is sent to one client, in every way, by handlers on its strand.
router routes_of_all_ways() {
    router routes;
    routes.on(echo_id, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
    routes.on(send_id, dispatch::on_strand, [](request req) -> reply {
        (void)req.client().try_send(send_id, payload{"sent"});
        co_return payload{"replied"};
    });
    routes.on(drain_id, dispatch::on_strand, [](request req) -> reply {
        co_await req.client().drained();
        co_return payload{"drained"};
    });
    routes.on(large_id, dispatch::on_strand, [](request) -> reply { co_return payload{std::string(10'000, 'x')}; });
    routes.on(close_id, dispatch::on_strand, [](request req) -> reply {
        req.client().close(close_code::normal, "bye");
        co_return payload{"too late"};
    });
    return routes;
}

std::string command(command_id id, std::string_view body) {
    return "binary " + test_client::command(static_cast<std::uint32_t>(id), body);
}

void send(memory_client& client, command_id id, std::string_view body = {}) {
    client.send_command(static_cast<std::uint32_t>(id), body);
}

void check_sums(virtual_world& world, std::uint64_t messages) {
    const auto out = world->stats().outbound;
    const auto& c = out.counters;
    CHECK(c.queued_messages == messages);
    CHECK(c.queued_messages == c.written_messages + c.dropped_messages + c.discarded_messages + out.still_queued_messages);
    CHECK(c.queued_bytes == c.written_bytes + c.dropped_bytes + c.discarded_bytes + out.still_queued_bytes);
}

}  // namespace

TEST_CASE("replies and messages of one burst arrive in the order in which they were made") {
    virtual_world world{routes_of_all_ways()};
    memory_client client = world.open();
    send(client, echo_id, "1");
    send(client, send_id);
    send(client, echo_id, "2");
    send(client, large_id);
    send(client, echo_id, "3");
    world.settle();
    CHECK(client.take() == events{command(echo_id, "1"), command(send_id, "sent"), command(send_id, "replied"),
                                  command(echo_id, "2"), command(large_id, std::string(10'000, 'x')), command(echo_id, "3")});
    check_sums(world, 6);
    CHECK(world->stats().outbound.still_queued_messages == 0);
}

TEST_CASE("a handler that waits until all is written sees the replies of its burst written") {
    virtual_world world{routes_of_all_ways()};
    memory_client client = world.open();
    client.link().to_client().set_capacity(7);  // the first of two replies of six bytes and a half
    send(client, echo_id, "a");
    send(client, echo_id, "b");
    send(client, drain_id);
    world.settle();
    CHECK(world->stats().handlers_running == 1);
    CHECK(client.take() == events{command(echo_id, "a")});
    world.settle();
    CHECK(world->stats().handlers_running == 0);
    client.link().to_client().set_capacity(1024);
    world.settle();
    CHECK(client.take() == events{command(echo_id, "b"), command(drain_id, "drained")});
    check_sums(world, 3);

    send(client, drain_id);  // nothing is left to be written: that does not take for ever
    send(client, echo_id, "c");
    world.settle();
    CHECK(client.take() == events{command(drain_id, "drained"), command(echo_id, "c")});
}

TEST_CASE("replies that the kernel takes in pieces of any size lose nothing, and are counted once") {
    for (const std::size_t room : {1U, 2U, 6U, 7U, 8U, 13U, 100U}) {
        CAPTURE(room);
        virtual_world world{routes_of_all_ways()};
        memory_client client = world.open();
        client.link().to_client().set_capacity(room);
        events expected;
        for (int i = 0; i < 20; ++i) {
            send(client, echo_id, std::to_string(i));
            expected.push_back(command(echo_id, std::to_string(i)));
        }
        events seen;
        for (int i = 0; i < 1000 && seen.size() < expected.size(); ++i) {
            world.settle();
            check_sums(world, 20);
            for (auto& each : client.take()) seen.push_back(std::move(each));
        }
        CHECK(seen == expected);
    }
}

TEST_CASE("a client that is closed by a handler gets the replies that came before, and none after") {
    virtual_world world{routes_of_all_ways()};
    memory_client client = world.open();
    send(client, echo_id, "before");
    send(client, close_id);
    send(client, echo_id, "after");
    world.settle();
    CHECK(client.take() == events{command(echo_id, "before"), "close 1000 bye"});
    check_sums(world, 1);
}

TEST_CASE("replies to a client that is lost before it takes them are discarded, and counted so") {
    virtual_world world{routes_of_all_ways()};
    memory_client client = world.open();
    client.link().to_client().set_capacity(10);
    for (int i = 0; i < 5; ++i) send(client, echo_id, "reply");
    world.settle();
    client.reset();
    world.run_for(10s);
    check_sums(world, 5);
    const auto& c = world->stats().outbound.counters;
    CHECK(c.written_messages == 0);
    CHECK(c.written_bytes == 10);
    CHECK(c.discarded_messages == 5);
}
