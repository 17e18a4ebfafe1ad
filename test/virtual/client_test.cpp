// The command client against our server: messages, calls, handlers, and how both sides close.
#include <support/linked_client.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;
using lines = std::vector<std::string>;

namespace {

router echo_routes() {
    router table;
    table.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
    table.on(command_id{2}, [](request) -> reply { throw request_error{"no"}; });
    table.rpc("add", {"a", "b"}, [](int a, int b) -> asio::awaitable<int> { co_return a + b; });
    table.rpc("slow", [](rpc_request) -> asio::awaitable<json> {
        co_await pause_for(5s);
        co_return json{"done"};
    });
    table.rpc("fail", [](rpc_request) -> asio::awaitable<json> { throw request_error{17, "not today"}; });
    table.fallback_text([](request req) -> reply { co_return payload{"you said " + std::string{req.text()}}; });
    return table;
}

}  // namespace

TEST_CASE("a client connects, and its commands, texts and calls are answered") {
    client_world world{echo_routes()};
    state_recorder states;
    command_client client{world.executor(), "ws://server/ws", world.options()};
    states.watch(client);
    client_message echoed;
    lines received;
    json sum;
    world.go([&]() -> asio::awaitable<void> {
        co_await client.connect();
        echoed = co_await client.request(command_id{1}, "hello");
        const json params = json::array({2, 3});
        sum = co_await client.call("add", params);
        co_await client.send(command_id{1}, "unexpected");
        co_await client.send_text("good morning");
        for (int i = 0; i < 2; ++i) {
            const auto message = co_await client.receive();
            received.push_back(std::string{message->text()});
        }
        client.close(close_code::normal, "bye");
        const connection_end end = co_await client.closed();
        received.push_back(end.reason + (end.clean ? " clean" : " unclean"));
    });
    CHECK(world.failures.empty());
    world.run_for(1s);
    CHECK(world.ended == 1);
    CHECK(echoed.command == command_id{1});
    CHECK(echoed.text() == "hello");
    CHECK(sum == json{5});
    CHECK(received == lines{"unexpected", "you said good morning", "bye clean"});
    CHECK(states.take() == lines{"connecting", "connected", "closed 1000"});
    CHECK(client.stats().messages_taken == 4);
    CHECK(client.stats().messages_sent == 4);
    CHECK(world.world().logged("code=1000 reason=\"bye\""));
}
