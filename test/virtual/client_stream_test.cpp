// The command client over a stream of commands, against a server that the test plays.
#include <support/linked_client.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using lines = std::vector<std::string>;

namespace {

std::string number(std::uint32_t value) {
    std::string bytes(4, '\0');
    store_big_endian(reinterpret_cast<std::byte*>(bytes.data()), value);
    return bytes;
}

std::string frame(std::uint32_t id, std::string_view payload) {
    return number(static_cast<std::uint32_t>(4 + payload.size())) + number(id) + std::string{payload};
}

constexpr std::uint32_t text_id = 0xFFFFFFFF;
constexpr std::uint32_t error_id = 0xFFFFFFFE;

std::string goodbye(unsigned code, const std::string& reason) {
    return frame(error_id, R"({"jsonrpc":"2.0","error":{"code":-32000,"message":")" + reason + R"(","data":{"close":)" +
                               std::to_string(code) + "}},\"id\":null}");
}

struct played_server {
    played_server() { world.served = false; }

    std::unique_ptr<command_client> open(command_client_options options, std::string_view url = "tcp://server:1",
                                         const std::function<void(command_client&)>& prepare = {}) {
        auto client = std::make_unique<command_client>(world.executor(), url, std::move(options));
        if (prepare) prepare(*client);
        states.watch(*client);
        world.go([&client]() -> asio::awaitable<void> { co_await client->connect(); });
        REQUIRE(client->state() == link_state::connected);
        (void)states.take();
        return client;
    }
    std::unique_ptr<command_client> open() { return open(world.options()); }
    void say(std::string_view bytes) {
        world.link().to_client().write(bytes);
        world.settle();
    }
    [[nodiscard]] std::string hear() { return world.link().to_server().take(); }

    client_world world;
    state_recorder states;
};

}  // namespace

TEST_CASE("over a stream: commands, text, calls in both directions, each behind its length") {
    played_server server;
    const auto client = server.open(server.world.options(), "tcp://server:1", [](command_client& prepared) {
        prepared.rpc("up", [](json params) -> asio::awaitable<json> { co_return json{params.at(0).as_int64().value_or(0) + 1}; });
    });
    CHECK_FALSE(client->try_send(command_id{7}, "seven"));
    CHECK_FALSE(client->try_send(command_id{8}, ""));
    CHECK_FALSE(client->try_send_text("hello"));
    server.world.settle();
    CHECK(server.hear() == frame(7, "seven") + frame(8, "") + frame(text_id, "hello"));

    json result;
    server.world.go([&]() -> asio::awaitable<void> { result = co_await client->call("f"); });
    CHECK(server.hear() == frame(text_id, R"({"jsonrpc":"2.0","method":"f","id":1})"));
    server.say(number(0) + frame(text_id, R"({"jsonrpc":"2.0","result":3,"id":1})"));  // behind a sign of life
    CHECK(result == json{3});

    server.say(frame(text_id, R"({"jsonrpc":"2.0","method":"up","params":[1],"id":9})"));
    CHECK(server.hear() == frame(text_id, R"({"jsonrpc":"2.0","result":2,"id":9})"));
    server.say(frame(text_id, R"({"jsonrpc":"2.0","method":"down","id":9})"));
    CHECK(server.hear() == frame(error_id, R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":9})"));

    lines received;
    server.world.go([&]() -> asio::awaitable<void> {
        while (const auto message = co_await client->receive()) {
            received.push_back((message->command ? "command " : "text ") + std::string{message->text()});
        }
    });
    for (const char byte : frame(7, "in pieces") + frame(text_id, "plain text")) server.say({&byte, 1});
    CHECK(received == lines{"command in pieces", "text plain text"});
}

TEST_CASE("over a stream the error of a command ends the request for it") {
    played_server server;
    const auto client = server.open();
    std::int64_t code = 0;
    server.world.go([&]() -> asio::awaitable<void> {
        try {
            (void)co_await client->request(command_id{7}, "x");
        } catch (const rpc_failure& failure) {
            code = failure.code();
        }
    });
    server.say(frame(error_id, R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"unknown command","data":{"command":7}},"id":null})"));
    CHECK(code == -32601);
}

TEST_CASE("over a stream a goodbye is a close frame: its code decides whether the client comes back") {
    for (const unsigned code : {1001U, 1008U, 4001U, 4900U}) {
        CAPTURE(code);
        played_server server;
        const auto client = server.open();
        server.say(goodbye(code, "go"));
        server.world.link().to_client().end();
        server.world.settle();
        CHECK(server.hear().starts_with(goodbye(code, "").substr(0, 8)));  // answered
        CHECK(server.world.link().to_server().was_ended());
        if (may_reconnect(close_code{static_cast<std::uint16_t>(code)})) CHECK(server.states.take() == lines{"reconnecting in 500"});
        else CHECK(server.states.take() == lines{"closed " + std::to_string(code)});
    }
}

TEST_CASE("over a stream the client says goodbye behind what is queued, and ends its side") {
    played_server server;
    const auto client = server.open();
    (void)client->try_send(command_id{1}, "last");
    client->close(close_code{4001}, "enough");
    server.world.settle();
    CHECK(server.hear() == frame(1, "last") + goodbye(4001, "enough"));
    server.say(goodbye(4001, ""));
    CHECK(server.world.link().to_server().was_ended());
    server.world.link().to_client().end();
    server.world.settle();
    CHECK(server.states.take() == lines{"closed 4001"});
}

TEST_CASE("over a stream: what breaks the format, and streams that just end") {
    SUBCASE("a length that holds no id") {
        played_server server;
        const auto client = server.open();
        server.say(number(3) + "abc");
        CHECK(server.hear().find("\"close\":1002") != std::string::npos);
        server.world.run_for(2s);
        CHECK(server.states.take() == lines{"closed 1002"});
    }
    SUBCASE("a message that is too big: decided at its length") {
        played_server server;
        auto options = server.world.options();
        options.max_message = 1'000;
        const auto client = server.open(options);
        server.say(number(1'005));
        CHECK(server.hear().find("\"close\":1009") != std::string::npos);
        server.world.run_for(2s);
        CHECK(server.states.take() == lines{"closed 1009"});
    }
    SUBCASE("an end within a message") {
        played_server server;
        const auto client = server.open();
        server.say(number(100) + "abc");
        server.world.link().to_client().end();
        server.world.settle();
        CHECK(server.states.take() == lines{"reconnecting in 500"});
    }
    SUBCASE("an end between messages") {
        played_server server;
        const auto client = server.open();
        server.world.link().to_client().end();
        server.world.settle();
        CHECK(server.states.take() == lines{"reconnecting in 500"});
    }
    SUBCASE("a reset") {
        played_server server;
        const auto client = server.open();
        server.world.link().reset();
        server.world.settle();
        CHECK(server.states.take() == lines{"reconnecting in 500"});
    }
}

TEST_CASE("a Unix socket that is shared with HTTP is told at once what is spoken") {
    played_server server;
    const auto client = server.open(server.world.options(), "unix:///run/server.sock");
    CHECK(server.hear() == number(0));
}

TEST_CASE("over a stream that is silent signs of life are sent; without an acknowledgement it is lost") {
    played_server server;
    auto options = server.world.options();
    options.ping_interval = 20s;
    options.read_timeout = 60s;
    const auto client = server.open(options);
    server.world.run_for(1min + 1ms);
    CHECK(server.hear() == number(0) + number(0) + number(0));
    server.world.run_for(1h);
    CHECK(client->state() == link_state::connected);
    server.world.link().to_server().hold();
    const auto took = server.world.world().time_until([&] { return client->state() != link_state::connected; });
    REQUIRE(took);
    CHECK(*took >= 60s);
    CHECK(*took <= 100s);
    CHECK(server.states.take() == lines{"reconnecting in 500"});
}

TEST_CASE("over a stream what had not left leaves with the next connection") {
    played_server server;
    const auto client = server.open();
    server.world.link().to_server().set_capacity(6);
    (void)client->try_send(command_id{1}, "one");
    (void)client->try_send(command_id{1}, "two");
    server.world.settle();
    server.world.link().reset();
    server.world.run_for(1s);
    CHECK(server.hear() == frame(1, "one") + frame(1, "two"));
}

TEST_CASE("over a stream a network that is cut in the middle of a message is a lost connection") {
    played_server server;
    const auto client = server.open();
    server.say(number(1'000) + number(7) + std::string(500, 'x'));
    server.world.link().to_client().hold();
    server.world.link().to_server().hold();
    server.world.run_for(2min);
    const lines states = server.states.take();
    REQUIRE(!states.empty());
    CHECK(states[0] == "reconnecting in 500");
    CHECK(client->state() == link_state::connected);
}

TEST_CASE("over a stream requests under one id are answered in the order in which they have left") {
    played_server server;
    std::string hooks;
    const auto client = server.open(server.world.options(), "tcp://server:1", [&](command_client& prepared) {
        prepared.on_reconnected([&](fresh_link link) -> asio::awaitable<void> {
            const client_message answer = co_await link.request(command_id{7}, "of the hook");
            hooks = answer.text();
        });
    });
    server.world.link().reset();
    server.world.settle();
    std::string queued;
    server.world.go([&]() -> asio::awaitable<void> {
        const client_message answer = co_await client->request(command_id{7}, "queued");
        queued = answer.text();
    });
    server.world.run_for(600ms);
    CHECK(server.hear() == frame(7, "of the hook"));
    server.say(frame(7, "for the hook"));
    CHECK(hooks == "for the hook");
    CHECK(queued.empty());
    CHECK(server.hear() == frame(7, "queued"));
    server.say(frame(7, "for the other"));
    CHECK(queued == "for the other");
}

TEST_CASE("over a stream a command that nobody has asked for answers no request that has not left") {
    played_server server;
    const auto client = server.open(server.world.options(), "tcp://server:1", [&](command_client& prepared) {
        prepared.on_reconnected([](fresh_link) -> asio::awaitable<void> { co_await pause_for(1s); });
    });
    server.world.link().reset();
    server.world.settle();
    std::string queued;
    std::string received;
    server.world.go([&]() -> asio::awaitable<void> {
        const client_message answer = co_await client->request(command_id{7}, "queued");
        queued = answer.text();
    });
    server.world.go([&]() -> asio::awaitable<void> {
        const auto message = co_await client->receive();
        received = message->text();
    });
    server.world.run_for(600ms);  // the hook runs
    server.say(frame(7, "unasked"));
    server.say(frame(error_id, R"({"jsonrpc":"2.0","error":{"code":-1,"message":"no","data":{"command":7}},"id":null})"));
    CHECK(queued.empty());
    CHECK(received == "unasked");
    server.world.run_for(1s);
    CHECK(server.hear() == frame(7, "queued"));
    server.say(frame(7, "asked"));
    CHECK(queued == "asked");
    CHECK(server.world.failures.empty());
}

TEST_CASE("over a stream whatever waits for a handler or a reader counts with what it costs, be it as small as it may") {
    std::string small;
    SUBCASE("calls of the server's") { small = frame(text_id, R"({"jsonrpc":"2.0","method":"slow"})"); }
    SUBCASE("batches of calls") {
        small = frame(text_id, R"([{"jsonrpc":"2.0","method":"slow"},{"jsonrpc":"2.0","method":"slow"}])");
    }
    SUBCASE("commands without content") { small = frame(7, ""); }
    SUBCASE("text for a handler") { small = frame(text_id, ""); }
    played_server server;
    server.world.capacity = 1'000'000;
    auto options = server.world.options();
    options.max_received_bytes = 100'000;
    const auto client = server.open(options, "tcp://server:1", [](command_client& prepared) {
        prepared.rpc("slow", [](json) -> asio::awaitable<json> {
            co_await pause_for(1h);
            co_return json{};
        });
        prepared.on_text([](client_message) -> asio::awaitable<void> { co_await pause_for(1h); });
    });
    server.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("f"); });
    for (int i = 0; i < 2'000; ++i) server.say(small);
    CHECK(client->stats().messages_received <= 400);
    CHECK(server.world.failure() == errc::overloaded);
}

TEST_CASE("over a stream a wire on which something is always under way is not lost while acknowledgements come") {
    played_server server;
    const auto client = server.open();
    bool over = false;
    server.world.go([&]() -> asio::awaitable<void> {
        while (!over) {
            payload body{std::string(1'000, 'x')};
            co_await client->send(command_id{1}, std::move(body));
        }
    });
    memory_pipe& wire = server.world.link().to_server();
    for (int i = 0; i < 100; ++i) {
        wire.hold();
        wire.deliver(10'000);
        (void)wire.take();
        server.world.run_for(3s);
        CHECK(wire.unread() > wire.arrived());
    }
    CHECK(client->state() == link_state::connected);
    over = true;
    const auto took = server.world.world().time_until([&] { return client->state() != link_state::connected; });
    CHECK(took);  // nothing is delivered any more
}

TEST_CASE("over a stream what the server says is a sign of life, too") {
    played_server server;
    const auto client = server.open();
    server.world.link().to_server().hold();
    for (int i = 0; i < 30; ++i) {
        server.world.run_for(20s);
        server.say(number(0));
    }
    CHECK(client->stats().connections == 1);
    CHECK(client->state() == link_state::connected);
}

TEST_CASE("over a Unix socket nothing gets lost, so a server that does not read is not looked after") {
    played_server server;
    const auto client = server.open(server.world.options(), "unix:///run/server.sock");
    server.world.link().to_server().hold();
    server.world.run_for(10min);
    CHECK(client->stats().connections == 1);
    CHECK(client->state() == link_state::connected);
}

TEST_CASE("over a stream a batch of errors that nobody waits for is received, and logged, once") {
    played_server server;
    const auto client = server.open();
    server.world.log.clear();
    std::string batch = "[";
    for (int i = 0; i < 100; ++i) batch += R"({"jsonrpc":"2.0","error":{"code":-1,"message":"no"},"id":null},)";
    batch.back() = ']';
    server.say(frame(error_id, batch));
    CHECK(server.world.log.size() == 1);
    CHECK(server.world.log.at(0).size() < 500);
    int received = 0;
    server.world.go([&]() -> asio::awaitable<void> {
        while (co_await client->receive()) ++received;
    });
    CHECK(received == 1);
}
