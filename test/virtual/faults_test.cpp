// Each script of a client is run again and again, with the next of its operations failing each time, until it ends
// without having met the fault. Whatever fails, the server is in order afterwards.
#include <support/fault_runs.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;

namespace {

connection connect_faulty(virtual_world& world, const fault_plan& plan) {
    return {world.connect(64 * 1024, [&](std::unique_ptr<stream> inner, const auto& executor) {
        return make_faulty_stream(std::move(inner), executor, plan);
    })};
}

}  // namespace

TEST_CASE("bytes that come and go one at a time, or not at once, change nothing of what a client sees") {
    const auto seen = [](const script& each, const fault_plan& plan) {
        return server_with_faults{}.run(each, plan, connect_faulty);
    };
    for (const script& each : scripts()) {
        CAPTURE(each.name);
        const events expected = seen(each, [](stream_operation) { return stream_fault::none; });
        CHECK(expected.size() > 0);
        const auto moves = [](stream_operation operation) {
            return operation == stream_operation::read || operation == stream_operation::write;
        };
        CHECK(seen(each, [&](stream_operation operation) {
                  return moves(operation) ? stream_fault::shortened : stream_fault::none;
              }) == expected);
        std::size_t turn = 0;
        CHECK(seen(each, [&](stream_operation operation) {
                  if (!moves(operation)) return stream_fault::none;
                  return turn++ % 2 == 0 ? stream_fault::blocked : stream_fault::shortened;
              }) == expected);
    }
}

TEST_CASE("whatever operation of a connection fails, the server is in order afterwards") {
    const run_meter meter;
    std::size_t runs = 0;
    for (const script& each : scripts()) {
        for (const stream_fault fault :
             {stream_fault::end, stream_fault::reset, stream_fault::shortened, stream_fault::blocked, stream_fault::throws}) {
            runs += 1 + run_with_each_fault(each, fault, connect_faulty);
        }
    }
    meter.print(runs);
    CHECK(runs > 300);
}

TEST_CASE("a stream that throws in the middle of a read keeps neither the connection nor the drain") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        int handled = 0;
        router routes;
        routes.on(command_id{1}, policy, [&handled](request) -> asio::awaitable<std::optional<payload>> {
            ++handled;
            co_return std::nullopt;
        });
        server_options options = virtual_options();
        options.outbox.max_messages = 2;
        virtual_world world{std::move(routes), options};
        bool throws = false;
        const fault_plan plan = [&throws](stream_operation operation) {
            return throws && operation == stream_operation::write ? stream_fault::throws : stream_fault::none;
        };
        memory_client client = world.open(64 * 1024, [&plan](std::unique_ptr<stream> inner, const auto& executor) {
            return make_faulty_stream(std::move(inner), executor, plan);
        });
        throws = true;
        // The error replies find no room and are flushed while the first message still waits for its handler.
        std::string burst = test_client::frame(2, test_client::command(1, ""));
        for (int i = 0; i < 5; ++i) burst += test_client::frame(2, test_client::command(50, "?"));
        client.send_raw(burst);
        CHECK(world.time_until([&] { return world->stats().closed == 1; }) == duration::zero());
        CHECK(handled == 1);
        CHECK_NOTHROW((void)world.stop());
    }
}

TEST_CASE("what is sent to a client that only listens is charged to the budget until it has been written") {
    router routes;
    client who;
    routes.on_connect([&who](client fresh) -> asio::awaitable<void> {
        who = std::move(fresh);
        co_return;
    });
    virtual_world world{std::move(routes)};
    memory_client peer = world.open();
    world.settle();
    peer.send_frame(10, "a pong, which has no answer");
    world.settle();
    REQUIRE(who.try_send(command_id{1}, payload{std::string(200'000, 'x')}) == send_status::queued);
    CHECK(world->stats().outbox_memory >= 200'000);
    peer.link().to_client().set_capacity(1'000'000);
    world.settle();
    CHECK(world->stats().outbox_memory == 0);
}
