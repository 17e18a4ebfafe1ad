// Every deadline of a server, at its exact instant. The timers of the shards have ticks of 10 ms, and begin with the
// server: an instant that is a multiple of 10 ms from its start is met to the nanosecond.
#include <support/gate.hpp>
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

reply echo(request req) { co_return payload{req.share()}; }

router echo_routes() {
    router routes;
    routes.on(command_id{1}, echo);
    return routes;
}

/// What a client sees from now on, and when.
struct watched {
    explicit watched(virtual_world& in, memory_client& whom) : world{in}, client{whom} {}
    /// Lets time pass until `event` is seen. How long that took; a minute at most.
    duration wait_for(const std::string& event) {
        const auto time = world.time_until([&] {
            for (std::string& each : client.take()) seen.push_back(std::move(each));
            return std::find(seen.begin(), seen.end(), event) != seen.end();
        });
        return time.value_or(duration::max());
    }
    virtual_world& world;
    memory_client& client;
    events seen;
};

}  // namespace

TEST_CASE("a handshake has ten seconds, however busily its bytes come") {
    virtual_world world{echo_routes()};
    memory_client silent = world.connect();
    memory_client busy = world.connect();
    const std::string request = memory_client::handshake();
    for (std::size_t i = 0; i < 10; ++i) {
        CHECK(silent.take().empty());
        CHECK(busy.take().empty());
        world.run_until(i * 1s + 990ms);
        busy.send_raw(request.substr(i, 1));
    }
    world.run_until(9'999ms);
    CHECK(busy.take().empty());
    world.run_until(10s);
    CHECK(silent.take() == events{"end"});
    CHECK(busy.take() == events{"end"});
    CHECK(world->stats().handshake_timeouts == 2);
}

TEST_CASE("authorize shares the ten seconds of the handshake, and is cancelled after them") {
    bool cancelled = false;
    router routes;
    routes.authorize([&](http::request) -> asio::awaitable<authorization> {
        try {
            co_await pause_for(1h);
        } catch (const std::system_error&) {
            cancelled = true;
        }
        co_return authorization::accept();
    });
    virtual_world world{std::move(routes)};
    memory_client client = world.connect();
    world.run_for(4s);
    client.send_handshake();
    world.run_until(9'990ms);
    CHECK_FALSE(cancelled);
    CHECK(watched{world, client}.wait_for("end") == 10ms);
    CHECK(cancelled);
}

TEST_CASE("a client is pinged every 54 seconds, and its pongs keep it alive") {
    virtual_world world{echo_routes()};
    memory_client client = world.open();
    for (int i = 1; i <= 100; ++i) {
        world.run_until(i * 54s - 1ns);
        CHECK(client.take().empty());
        world.run_for(1ns);
        CHECK(client.take() == events{"ping"});
        client.send_frame(10, "");
    }
    CHECK(world->clients().size() == 1);
}

TEST_CASE("a client that says nothing for 60 seconds is dropped without a close frame; any byte counts") {
    virtual_world world{echo_routes()};
    memory_client client = world.open();
    watched what{world, client};
    world.run_until(30s);
    client.send_raw("\x82");  // the first byte of a frame
    world.settle();
    CHECK(what.wait_for("end") == 60s);
    CHECK(what.seen == events{"ping", "end"});
    CHECK(world.logged("read timeout"));
}

TEST_CASE("a message has a minute, and a second more for every 16 KiB of it") {
    virtual_world world{echo_routes()};
    memory_client client = world.open();
    watched what{world, client};
    world.run_until(10s);
    SUBCASE("a byte at a time") {
        client.send_frame(2, "begin", false);
        for (int i = 0; i < 5; ++i) {
            world.run_for(10s);
            client.send_frame(0, "x", false);
        }
        CHECK(what.wait_for("close 1008 message timeout") == 10s);
    }
    SUBCASE("much of it at once") {
        client.send_frame(2, std::string(48 * 1024, 'x'), false);
        world.run_for(50s);
        client.send_frame(0, "x", false);
        CHECK(what.wait_for("close 1008 message timeout") == 13s);
    }
}

TEST_CASE("a client that takes nothing for ten seconds while something is queued is too slow") {
    virtual_world world{echo_routes()};
    memory_client client = world.open(16 * 1024);
    const auto handle = world->clients().all().front();
    world.run_until(5s);
    CHECK(handle.try_send(command_id{2}, payload{std::string(100'000, 'x')}) == send_status::queued);
    world.settle();
    const auto gone = world.time_until([&] { return !handle.is_alive(); });
    CHECK(gone == 10s);
    CHECK(world->clients().size() == 0);
    // Its close frame does not get through either: after close_timeout the connection is cut.
    CHECK_FALSE(handle.close_info());
    CHECK(world.time_until([&] { return handle.close_info().has_value(); }) == 5s);
    CHECK(handle.close_info()->code == close_code::slow_consumer);
}

TEST_CASE("taking 64 KiB in ten seconds is steady, a byte less is not") {
    constexpr std::size_t steady = 64 * 1024;
    for (const std::size_t taken : {steady, steady - 1}) {
        CAPTURE(taken);
        server_options options = virtual_options();
        options.outbox.max_bytes = 10 * steady;
        virtual_world world{echo_routes(), options};
        memory_client client = world.open(4 * 1024);
        const auto handle = world->clients().all().front();
        CHECK(handle.try_send(command_id{2}, payload{std::string(9 * steady, 'x')}) == send_status::queued);
        world.settle();
        for (int round = 1; round < 6 && handle.is_alive(); ++round) {
            world.run_until(round * 9'990ms);
            std::size_t left = taken;
            while (left > 0) {
                const std::size_t step = std::min<std::size_t>(left, 4 * 1024);
                std::vector<std::byte> memory(step);
                std::error_code ec;
                REQUIRE(client.link().to_client().read(memory, ec) == step);
                left -= step;
                world.settle();
            }
            world.run_for(10ms);
        }
        CHECK(handle.is_alive() == (taken == steady));
        client.reset();
    }
}

TEST_CASE("after our close frame the peer has five seconds to answer") {
    virtual_world world{echo_routes()};
    memory_client client = world.open();
    const auto handle = world->clients().all().front();
    world.run_until(1s);
    handle.close(close_code{4000}, "enough");
    world.settle();
    CHECK(client.take() == events{"close 4000 enough"});
    CHECK(world.time_until([&] { return handle.close_info().has_value(); }) == 5s);
    CHECK(client.take() == events{"end"});
    CHECK(handle.close_info()->code == close_code{4000});
}

TEST_CASE("a peer that has answered our close frame has two seconds to end its side") {
    virtual_world world{echo_routes()};
    memory_client client = world.open();
    const auto handle = world->clients().all().front();
    handle.close(close_code{4000}, "enough");
    world.run_until(3s);
    client.send_close(4000);
    world.settle();
    CHECK(client.take() == events{"close 4000 enough", "end"});
    CHECK_FALSE(handle.close_info());
    for (int i = 0; i < 20; ++i) client.send_raw("what it still sends is read, and discarded");
    CHECK(world.time_until([&] { return handle.close_info().has_value(); }) == 2s);
    CHECK(handle.close_info()->clean);
    CHECK_FALSE(client.link().to_client().was_reset());
}

TEST_CASE("whoever is refused has two seconds to take the answer") {
    virtual_world world{echo_routes()};
    memory_client client = world.connect();
    client.send_raw("nonsense\r\n\r\n");
    world.settle();
    CHECK(client.take() == events{"HTTP/1.1 400 Bad Request", "end"});
    client.send_raw("and it goes on");
    world.run_for(1'990ms);
    CHECK_FALSE(client.link().to_server().unread() > 0);
    client.send_raw("and on");
    world.run_for(10ms);
    client.send_raw("nobody reads this");
    world.settle();
    CHECK(client.link().to_server().unread() == 0);
    CHECK_FALSE(client.link().to_client().was_reset());
}

TEST_CASE("on_connect has ten seconds, then it is cancelled and the client closed with 1011") {
    std::optional<duration> cancelled;
    virtual_world* here = nullptr;
    router routes;
    routes.on_connect([&](client) -> asio::awaitable<void> {
        try {
            co_await pause_for(1h);
        } catch (const std::system_error&) {
            cancelled = here->elapsed();
        }
    });
    virtual_world world{std::move(routes)};
    here = &world;
    world.run_until(2s);
    memory_client client = world.open();
    CHECK(watched{world, client}.wait_for("close 1011 internal error") == 10s);
    CHECK(cancelled == 12s);
    CHECK(world.logged("on_connect took too long"));
}

TEST_CASE("a handler that takes longer than handler_timeout is cancelled, and its client told") {
    router routes;
    routes.on(command_id{1}, [](request) -> reply {
        co_await pause_for(1h);
        co_return payload{"never"};
    });
    server_options options = virtual_options();
    options.handler_timeout = 1'234'567us;  // by a timer of its own, not by a tick of the wheel
    virtual_world world{std::move(routes), options};
    memory_client client = world.open();
    client.send_command(1, "");
    world.settle();
    CHECK(watched{world, client}.wait_for(
              "binary " + test_client::command(0xFFFFFFFE, R"({"jsonrpc":"2.0","error":{"code":-32000,"message":)"
                                                           R"("operation timed out","data":{"command":1}},"id":null})")) ==
          1'234'567us);
    CHECK(world->stats().handlers_timed_out == 1);
}

TEST_CASE("a departure is seen within 50 ms while the client is not read") {
    gate held;
    router routes;
    routes.on(command_id{1}, [&held](request) -> reply {
        co_await held.wait();
        co_return std::nullopt;
    });
    server_options options = virtual_options();
    options.in_flight.messages = 1;
    virtual_world world{std::move(routes), options};
    memory_client client = world.open();
    for (int i = 0; i < 3; ++i) client.send_command(1, "");
    world.run_until(777ms);
    CHECK(held.waiting() == 1);
    client.end();
    const auto gone = world.time_until([&] { return world->clients().size() == 0; });
    REQUIRE(gone);
    CHECK(*gone <= 60ms);  // a tick more at most
    CHECK(held.waiting() == 0);
}

TEST_CASE("a drain tells its clients to leave in batches, at its pace") {
    server_options options = virtual_options();
    options.drain.batch = 100;
    options.drain.batch_interval = 50ms;
    options.drain.jitter = 0;
    virtual_world world{echo_routes(), options};
    std::vector<memory_client> clients;
    for (int i = 0; i < 250; ++i) clients.push_back(world.open());
    world.run_until(1s);
    world->stop();
    std::map<duration, int> told;
    const auto look = [&] {
        for (memory_client& client : clients) {
            if (client.take() != events{"close 1001"}) continue;
            ++told[world.elapsed() - 1s];
            client.send_close(1001);
            client.end();
        }
        world.settle();
        return world.ended();
    };
    CHECK(world.time_until(look) == 100ms);
    CHECK(told == std::map<duration, int>{{0ms, 100}, {50ms, 100}, {100ms, 50}});
    CHECK(world.report() == drain_report{250, 0, 0});
}

TEST_CASE("the batches of a drain leave at uneven times, and in no order of theirs") {
    server_options options = virtual_options();
    options.drain.batch = 1;
    options.drain.batch_interval = 100ms;
    virtual_world world{echo_routes(), options};
    std::vector<memory_client> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(world.open());
    world.run_until(1s);
    world->stop();
    std::vector<std::size_t> order;
    std::vector<duration> intervals;
    duration last = 0s;
    const auto look = [&] {
        for (std::size_t i = 0; i < clients.size(); ++i) {
            if (clients[i].take() != events{"close 1001"}) continue;
            if (!order.empty()) intervals.push_back(world.elapsed() - last);
            last = world.elapsed();
            order.push_back(i);
            clients[i].send_close(1001);
            clients[i].end();
        }
        world.settle();
        return world.ended();
    };
    REQUIRE(world.time_until(look));
    REQUIRE(order.size() == 30);
    CHECK_FALSE(std::is_sorted(order.begin(), order.end()));  // once in 30! it would be
    for (const duration interval : intervals) {
        CHECK(interval >= 50ms);
        CHECK(interval <= 150ms);
    }
    CHECK(std::set<duration>(intervals.begin(), intervals.end()).size() > 20);
}

TEST_CASE("a drain waits for handlers until its deadline, and then cancels them") {
    std::vector<duration> cancelled;
    virtual_world* here = nullptr;
    router routes;
    routes.on(command_id{1}, [&](request) -> reply {
        try {
            co_await pause_for(1h);
        } catch (const std::system_error&) {
            cancelled.push_back(here->elapsed());
        }
        co_return payload{"late"};
    });
    virtual_world world{std::move(routes)};
    here = &world;
    memory_client client = world.open();
    client.send_command(1, "");
    world.run_until(1s);
    world->stop();
    world.run_until(1s + 9'999ms);
    CHECK(cancelled.empty());
    CHECK(client.take().empty());
    world.run_until(11s);
    CHECK(cancelled == std::vector<duration>{11s});
    CHECK(client.take() == events{"close 1001", "end"});
    client.end();
    world.settle();
    CHECK(world.report() == drain_report{0, 1, 0});
}

TEST_CASE("a drain cuts who does not take its close frame") {
    virtual_world world{echo_routes()};
    memory_client client = world.open(16);
    const auto handle = world->clients().all().front();
    CHECK(handle.try_send(command_id{2}, payload{std::string(1000, 'x')}) == send_status::queued);
    world.run_until(1s);
    world->stop();
    // 10 s until the deadline of the drain, one more of grace
    CHECK(world.time_until([&] { return world.ended(); }) == 11s);
    CHECK(world.report() == drain_report{0, 1, 1});
    CHECK(client.take() == events{"reset"});
}
