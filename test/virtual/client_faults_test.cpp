// Something goes wrong at each operation of the client's stream, one after the other: it comes back every time, nothing that is
// waited for is forgotten, and what is counted adds up.
#include <kephas/net/faulty_stream.hpp>

#include <support/linked_client.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

router routes() {
    router table;
    table.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
    table.on(command_id{2}, [](request req) -> reply {
        (void)req.client().try_send(command_id{7}, "ask back");
        (void)co_await req.client().call("back");
        co_return payload{"called"};
    });
    table.rpc("add", {"a", "b"}, [](int a, int b) -> asio::awaitable<int> { co_return a + b; });
    return table;
}

/// Until it succeeds: whatever ends with a lost connection is the caller's to repeat.
template <class Ask>
asio::awaitable<void> insist(Ask ask) {
    for (int tries = 0; tries < 5; ++tries) {
        try {
            auto asking = ask();
            co_await std::move(asking);
            co_return;
        } catch (const error& failure) {
            if (failure.code() != errc::closed) throw;
        }
    }
    throw std::runtime_error{"in vain"};
}

/// Whether the fault was met.
bool run_with(std::size_t which, stream_fault fault, std::string_view url) {
    CAPTURE(which);
    client_world world{routes()};
    world.capacity = 20'000;  // so that writing has to wait
    nth_fault plan{which, fault};
    auto options = world.options();
    options.retry_first_connect = true;
    options.max_queued_bytes = 1'000'000;
    options.close_timeout = 2s;
    const client_transport connect = options.transport;
    options.transport = [&](address where, time_point deadline) -> asio::awaitable<std::unique_ptr<stream>> {
        auto connecting = connect(where, deadline);
        auto inner = co_await std::move(connecting);
        const auto executor = co_await asio::this_coro::executor;
        if (plan.reached()) co_return inner;
        co_return make_faulty_stream(std::move(inner), executor, plan.plan());
    };
    command_client client{world.executor(), url, options};
    client.rpc("back", [](json) -> asio::awaitable<json> { co_return json{true}; });
    int asked = 0;
    client.on(command_id{7}, [&](client_message) -> asio::awaitable<void> {
        ++asked;
        co_return;
    });
    const std::string big(100'000, 'x');
    connection_end end;
    world.go([&]() -> asio::awaitable<void> {
        co_await client.connect();
        auto echo = insist([&]() -> asio::awaitable<void> {
            payload body{big};
            const client_message echoed = co_await client.request(command_id{1}, std::move(body), 20s);
            CHECK(echoed.text() == big);
        });
        co_await std::move(echo);
        auto called = insist([&]() -> asio::awaitable<void> {
            const client_message answer = co_await client.request(command_id{2}, "", 20s);
            CHECK(answer.text() == "called");
        });
        co_await std::move(called);
        auto add = insist([&]() -> asio::awaitable<void> {
            const json params = json::array({1, 2});
            const json sum = co_await client.call("add", params, 20s);
            CHECK(sum == json{3});
        });
        co_await std::move(add);
        co_await client.send(command_id{99}, "the last one");
        client.close();
        end = co_await client.closed();
    });
    world.run_for(2min);
    CHECK(world.failures.empty());
    REQUIRE(world.ended == 1);
    CHECK(asked >= 1);
    CHECK(client.state() == link_state::closed);
    CHECK(end.by == connection_end::ended_by::client);
    const client_stats stats = client.stats();
    CHECK(stats.messages_queued == 0);
    CHECK(stats.bytes_queued == 0);
    CHECK(stats.messages_taken == stats.messages_sent + stats.messages_dropped);
    world.run_for(1min);
    CHECK(world.world()->clients().size() == 0);
    return plan.reached();
}

}  // namespace

TEST_CASE("a fault at each operation of a WebSocket connection") {
    for (const stream_fault fault : {stream_fault::end, stream_fault::reset, stream_fault::shortened, stream_fault::blocked, stream_fault::throws}) {
        CAPTURE(static_cast<int>(fault));
        std::size_t which = 0;
        while (run_with(which, fault, "ws://server/ws")) ++which;
        CHECK(which >= 20);
    }
}
