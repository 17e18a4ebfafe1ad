// Each script of a client is run again and again, with the next of its operations failing each time, until it ends
// without having met the fault. Whatever fails, the server is in order afterwards.
#include <kephas/net/faulty_stream.hpp>

#include <support/scripted_server.hpp>

#include <doctest/doctest.h>

#include <cstdio>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

std::string name(stream_fault fault) {
    switch (fault) {
        case stream_fault::none: return "none";
        case stream_fault::end: return "end";
        case stream_fault::reset: return "reset";
        case stream_fault::shortened: return "shortened";
        case stream_fault::blocked: return "blocked";
        case stream_fault::throws: return "throws";
    }
    return "?";
}

/// Nothing of a client is left, everything is counted, and the next one is served.
/// `may_throw`: an exception has ended one connection at most, and is counted.
void check_order(scripted_server& app, virtual_world& world, bool may_throw = false) {
    const auto quiet = [&] { return world->clients().size() == 0 && app.live_handlers == 0; };
    CHECK(world.time_until(quiet));
    world.run_for(10s);  // on_disconnect, and what lingers
    CHECK(app.live_handlers == 0);
    CHECK(app.connected == app.disconnected);
    for (const auto& [id, times] : app.connected) CHECK(times == 1);

    if (!world.ended()) {
        memory_client next = world.connect();
        next.send_handshake();
        world.run_for(100ms);
        CHECK(next.take() == events{"HTTP/1.1 101 Switching Protocols", "binary " + test_client::command(99, "welcome")});
        next.send_command(1, "hello");
        world.settle();
        CHECK(next.take() == events{"binary " + test_client::command(1, "hello")});
        next.send_close(1000);
        world.settle();
        next.end();
        (void)world.stop();
    }
    CHECK(world.ended());
    CHECK_NOTHROW((void)world.stop());
    const server_stats stats = world->stats();
    CHECK(stats.clients == 0);
    CHECK(stats.opened == app.connected.size());
    CHECK(stats.opened == stats.closed);
    CHECK(stats.accepted >= stats.opened + stats.refused + stats.handshake_timeouts);
    CHECK(stats.handlers_failed == 0);
    std::size_t exceptions = 0;
    for (const auto& line : world.log()) exceptions += line.find("exception") != std::string::npos;
    CHECK(exceptions == stats.internal_errors);
    CHECK(exceptions <= (may_throw ? 1 : 0));
}

/// Runs `each` with the fault at its operation number 0, 1, 2, ... Returns how many there were.
std::size_t run_with_each_fault(const script& each, stream_fault fault, std::optional<stream_operation> only = {}) {
    for (std::size_t which = 0;; ++which) {
        INFO(each.name << ": operation " << which << " fails with " << name(fault));
        nth_fault broken{which, fault};
        scripted_server app;
        virtual_world world{app.routes()};
        memory_client client = world.connect(64 * 1024, [&](std::unique_ptr<stream> inner, const auto& executor) {
            return make_faulty_stream(std::move(inner), executor, only ? broken.plan(*only) : broken.plan());
        });
        each.run(world, client);
        // A connection that has lost its peer is not kept for ever, ...
        CHECK(world.time_until([&] { return client.link().to_client().was_ended(); }));
        check_order(app, world, fault == stream_fault::throws);
        if (!broken.reached()) return which;
        REQUIRE(which < 10'000);  // otherwise the script does not end
    }
}

}  // namespace

TEST_CASE("bytes that come and go one at a time, or not at once, change nothing of what a client sees") {
    const auto seen = [](const script& each, const fault_plan& plan) {
        scripted_server app;
        virtual_world world{app.routes()};
        memory_client client = world.connect(64 * 1024, [&](std::unique_ptr<stream> inner, const auto& executor) {
            return make_faulty_stream(std::move(inner), executor, plan);
        });
        each.run(world, client);
        CHECK(world.time_until([&] { return client.link().to_client().was_ended(); }));
        check_order(app, world);
        return client.history();
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
    const auto begin = std::chrono::steady_clock::now();
    std::size_t runs = 0;
    for (const script& each : scripts()) {
        for (const stream_fault fault :
             {stream_fault::end, stream_fault::reset, stream_fault::shortened, stream_fault::blocked, stream_fault::throws}) {
            runs += 1 + run_with_each_fault(each, fault);
        }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("%zu runs in %.2f s: %.0f a second\n", runs, took.count(), static_cast<double>(runs) / took.count());
    CHECK(runs > 300);
}
