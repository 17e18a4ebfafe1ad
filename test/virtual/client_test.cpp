// The command client against our server: messages, calls, handlers, and how both sides close.
#include <support/linked_client.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;
using lines = std::vector<std::string>;

namespace {

/// What a `co_await` threw, as text.
template <class Awaitable>
asio::awaitable<std::string> outcome_of(Awaitable awaited) {
    try {
        co_await std::move(awaited);
        co_return "done";
    } catch (const rpc_failure& failure) {
        co_return "rpc " + std::to_string(failure.code()) + " " + failure.peer_message();
    } catch (const std::system_error& failure) {
        co_return failure.code().message();
    }
}

struct server_side {
    router routes() {
        router table;
        table.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
        table.on(command_id{2}, [](request) -> reply { throw request_error{"no"}; });
        table.on(command_id{3}, [](request) -> reply { co_return std::nullopt; });
        table.on(command_id{4}, [](request req) -> reply {
            req.client().close(close_code{static_cast<std::uint16_t>(std::stoi(std::string{req.text()}))}, "as you like");
            co_return std::nullopt;
        });
        table.rpc("add", {"a", "b"}, [](int a, int b) -> asio::awaitable<int> { co_return a + b; });
        table.rpc("wait", {"ms"}, [](int ms) -> asio::awaitable<int> {
            co_await pause_for(std::chrono::milliseconds{ms});
            co_return ms;
        });
        table.rpc("fail", [](rpc_request) -> asio::awaitable<json> { throw request_error{17, "not today"}; });
        table.fallback_text([](request req) -> reply { co_return payload{"you said " + std::string{req.text()}}; });
        table.on_connect([this](client who) -> asio::awaitable<void> {
            clients.push_back(who);
            co_return;
        });
        table.on_disconnect([this](client, close_info info) -> asio::awaitable<void> {
            ends.push_back(info);
            co_return;
        });
        return table;
    }
    std::vector<client> clients;
    std::vector<close_info> ends;
};

struct fixture {
    server_side server;
    client_world world{server.routes()};

    /// A connected client.
    std::unique_ptr<command_client> open(command_client_options options,
                                         const std::function<void(command_client&)>& prepare = {}) {
        auto made = std::make_unique<command_client>(world.executor(), "ws://server/ws", std::move(options));
        if (prepare) prepare(*made);
        world.go([&made]() -> asio::awaitable<void> { co_await made->connect(); });
        world.run_for(1ms);
        REQUIRE(made->state() == link_state::connected);
        return made;
    }
    std::unique_ptr<command_client> open() { return open(world.options()); }

    /// What a coroutine came to, once time has passed.
    template <class Awaitable>
    std::string outcome(Awaitable awaited, duration within = 1s) {
        auto result = std::make_shared<std::string>("still waits");
        auto kept = std::make_shared<Awaitable>(std::move(awaited));
        world.go([result, kept]() -> asio::awaitable<void> { *result = co_await outcome_of(std::move(*kept)); });
        world.run_for(within);
        return *result;
    }
};

json one_number(int number) { return json::array({number}); }

}  // namespace

TEST_CASE("a client connects, and its commands, texts and calls are answered") {
    fixture f;
    state_recorder states;
    command_client client{f.world.executor(), "ws://server/ws", f.world.options()};
    states.watch(client);
    client_message echoed;
    lines received;
    json sum;
    f.world.go([&]() -> asio::awaitable<void> {
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
    f.world.run_for(1s);
    CHECK(f.world.failures.empty());
    CHECK(f.world.ended == 1);
    CHECK(echoed.command == command_id{1});
    CHECK(echoed.text() == "hello");
    CHECK(sum == json{5});
    CHECK(received == lines{"unexpected", "you said good morning", "bye clean"});
    CHECK(states.take() == lines{"connecting", "connected", "closed 1000"});
    CHECK(client.stats().messages_taken == 4);
    CHECK(client.stats().messages_sent == 4);
    REQUIRE(f.server.ends.size() == 1);
    CHECK(f.server.ends[0] == close_info{close_code::normal, "bye", close_initiator::peer, true});
}

TEST_CASE("calls run at the same time, each with its own outcome and deadline") {
    fixture f;
    const auto client = f.open();
    lines order;
    const auto call = [&](std::string method, json params, duration timeout) {
        f.world.go([&, method, params, timeout]() -> asio::awaitable<void> {
            auto awaited = client->call(method, params, timeout);
            std::string said = co_await outcome_of(std::move(awaited));
            order.push_back(method + " " + said);
        });
    };
    call("wait", one_number(300), 10s);
    call("wait", one_number(20'000), 2s);
    call("fail", {}, 10s);
    call("nothing", {}, 10s);
    f.world.run_for(1s);
    CHECK(order == lines{"fail rpc 17 not today", "nothing rpc -32601 Method not found", "wait done"});
    f.world.run_for(1s);
    CHECK(order.back() == "wait the deadline passed before the answer came");
    f.world.run_for(30s);  // the answer that is too late
    CHECK(order.size() == 4);
    CHECK(client->state() == link_state::connected);
}

TEST_CASE("more calls than the limit end with overloaded") {
    fixture f;
    auto options = f.world.options();
    options.max_pending_calls = 1;
    const auto client = f.open(options);
    f.world.go([&]() -> asio::awaitable<void> {
        const json ms = one_number(1'000);
        (void)co_await client->call("wait", ms);
    });
    CHECK(f.outcome(client->call("wait", one_number(1))) == "too many calls or bytes are pending for this client");
    f.world.run_for(2s);
    CHECK(f.outcome(client->call("wait", one_number(1))) == "done");
}

TEST_CASE("the error of a command ends the request for it, and reaches receive() where nobody waits") {
    fixture f;
    const auto client = f.open();
    CHECK(f.outcome(client->request(command_id{2}, "")) == "rpc -32000 no");
    CHECK(f.outcome(client->request(command_id{99}, "")) == "rpc -32601 unknown command");
    CHECK(f.outcome(client->send(command_id{2}, "")) == "done");
    std::optional<client_message> message;
    f.world.go([&]() -> asio::awaitable<void> { message = co_await client->receive(); });
    f.world.run_for(1s);
    REQUIRE(message);
    CHECK(message->command == command_jsonrpc_error);
    CHECK(message->text().find("\"command\":2") != std::string::npos);
}

TEST_CASE("requests under one id are answered in order, and time out") {
    fixture f;
    const auto client = f.open();
    lines answers;
    for (const char* text : {"a", "b", "c"}) {
        f.world.go([&, text]() -> asio::awaitable<void> {
            const auto answer = co_await client->request(command_id{1}, text);
            answers.push_back(std::string{answer.text()});
        });
    }
    f.world.run_for(1s);
    CHECK(answers == lines{"a", "b", "c"});
    CHECK(f.outcome(client->request(command_id{3}, "", 3s), 3s) == "the deadline passed before the answer came");
}

TEST_CASE("handlers of commands run one at a time, in order, and what they return is sent under the same id") {
    fixture f;
    lines began;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.on(command_id{0x10}, [&](client_message message) -> asio::awaitable<std::optional<payload>> {
            began.push_back(std::string{message.text()});
            co_await pause_for(100ms);
            co_return payload{"re: " + std::string{message.text()}};
        });
        prepared.on(command_id{0x11}, [&](client_message message) -> asio::awaitable<void> {
            began.push_back("11 " + std::string{message.text()});
            co_return;
        });
        prepared.on_text([&](client_message message) -> asio::awaitable<void> {
            began.push_back("text " + std::string{message.text()});
            co_return;
        });
    });
    REQUIRE(f.server.clients.size() == 1);
    auto& peer = f.server.clients[0];
    CHECK(peer.try_send(command_id{0x10}, "one") == send_status::queued);
    CHECK(peer.try_send(command_id{0x11}, "two") == send_status::queued);
    CHECK(peer.try_send_text("three") == send_status::queued);
    f.world.run_for(50ms);
    CHECK(began == lines{"one"});
    f.world.run_for(50ms);
    CHECK(began == lines{"one", "11 two", "text three"});
    f.world.run_for(1s);
    CHECK(client->stats().messages_sent == 1);
    CHECK(client->stats().messages_received == 4);  // with the error of the server, which does not know 0x10
}

TEST_CASE("a handler that throws is counted and logged, and the next message is handled") {
    fixture f;
    int handled = 0;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.on(command_id{0x10}, [&](client_message) -> asio::awaitable<void> {
            ++handled;
            throw std::runtime_error{"a fault of mine"};
            co_return;
        });
    });
    (void)f.server.clients[0].try_send(command_id{0x10}, "");
    (void)f.server.clients[0].try_send(command_id{0x10}, "");
    f.world.run_for(1s);
    CHECK(handled == 2);
    CHECK(client->stats().handlers_failed == 2);
    CHECK(client->state() == link_state::connected);
    CHECK(f.world.log.back().find("a fault of mine") != std::string::npos);
}

TEST_CASE("the server calls the client: results, errors, exceptions, and several at once") {
    fixture f;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.rpc("double", [](json params) -> asio::awaitable<json> {
            co_await pause_for(1s);
            co_return json{params.at(0).as_int64().value_or(0) * 2};
        });
        prepared.rpc("refuse", [](json) -> asio::awaitable<json> {
            throw request_error{42, "I would rather not"};
            co_return json{};
        });
        prepared.rpc("break", [](json) -> asio::awaitable<json> {
            throw std::runtime_error{"secret"};
            co_return json{};
        });
    });
    lines said;
    for (const char* method : {"double", "double", "refuse", "break", "unknown"}) {
        f.world.go([&, method]() -> asio::awaitable<void> {
            const json params = one_number(21);
            auto awaited = f.server.clients[0].call(method, params);
            std::string outcome;
            try {
                const json result = co_await std::move(awaited);
                outcome = write_json(result);
            } catch (const rpc_failure& failure) {
                outcome = std::to_string(failure.code()) + " " + failure.peer_message();
            }
            said.push_back(std::move(outcome));
        });
    }
    f.world.run_for(900ms);
    CHECK(said == lines{"42 I would rather not", "-32603 Internal error", "-32601 Method not found"});
    f.world.run_for(200ms);
    CHECK(said.size() == 5);
    CHECK(said.back() == "42");
    CHECK(client->stats().handlers_failed == 1);
}

TEST_CASE("a handler may call the server that waits for it") {
    fixture f;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.rpc("sum", [&prepared](json params) -> asio::awaitable<json> {
            const json result = co_await prepared.call("add", params);
            co_return result;
        });
    });
    json result;
    f.world.go([&]() -> asio::awaitable<void> {
        const json params = json::array({1, 2});
        result = co_await f.server.clients[0].call("sum", params);
    });
    f.world.run_for(1s);
    CHECK(result == json{3});
}

TEST_CASE("what nobody receives stops the reading, and the server is pushed back") {
    fixture f;
    auto options = f.world.options();
    options.max_received_messages = 4;
    const auto client = f.open(options);
    f.world.link().to_client().set_capacity(1'000);
    int sent = 0;
    f.world.go([&]() -> asio::awaitable<void> {
        for (; sent < 1'000; ++sent) co_await f.server.clients[0].send(command_id{7}, payload{std::string(1'000, 'x')});
    });
    f.world.run_for(1s);
    CHECK(sent < 300);  // what fits into the server's outbox, the wire, and the client's buffers
    CHECK(client->stats().messages_received <= 20);
    int received = 0;
    f.world.go([&]() -> asio::awaitable<void> {
        while (co_await client->receive()) ++received;
    });
    f.world.run_for(1s);
    CHECK(sent == 1'000);
    CHECK(received == 1'000);
}

TEST_CASE("with drop_unhandled nobody has to call receive()") {
    fixture f;
    auto options = f.world.options();
    options.drop_unhandled = true;
    options.max_received_messages = 4;
    const auto client = f.open(options);
    for (int i = 0; i < 100; ++i) (void)f.server.clients[0].try_send(command_id{7}, "x");
    f.world.run_for(1s);
    CHECK(client->stats().messages_received == 100);
    CHECK(client->stats().messages_unhandled == 100);
}

TEST_CASE("while a call waits, messages do not stop the reading; their bytes do, and end it") {
    fixture f;
    auto options = f.world.options();
    options.max_received_messages = 4;
    options.max_received_bytes = 50'000;
    const auto client = f.open(options);
    const auto flood = [&](std::size_t size) {
        for (int i = 0; i < 100; ++i) (void)f.server.clients[0].try_send(command_id{7}, payload{std::string(size, 'x')});
    };
    flood(10);
    CHECK(f.outcome(client->call("add", json::array({1, 2}))) == "done");
    flood(5'000);
    CHECK(f.outcome(client->call("add", json::array({1, 2}))) == "too many calls or bytes are pending for this client");
}

TEST_CASE("a call that ends because its answer could not be read is not sent any more") {
    fixture f;
    auto options = f.world.options();
    options.max_received_bytes = 50'000;
    options.write_timeout = 0s;
    const auto client = f.open(options);
    f.world.link().to_server().set_capacity(0);
    CHECK_FALSE(client->try_send(command_id{3}, payload{std::string(100'000, 'x')}));  // more than is encoded at a time
    f.world.settle();
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->request(command_id{1}, "never"); });
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("add"); });
    CHECK(client->stats().messages_queued == 3);
    for (int i = 0; i < 20; ++i) (void)f.server.clients[0].try_send(command_id{7}, payload{std::string(5'000, 'x')});
    f.world.run_for(1ms);
    CHECK(f.world.failures.size() == 2);
    CHECK(f.world.failure() == errc::overloaded);
    CHECK(client->stats().messages_queued == 1);
    CHECK(client->stats().messages_dropped == 2);
}

TEST_CASE("an empty text waits for room, not until nothing is queued") {
    fixture f;
    auto options = f.world.options();
    options.max_queued_messages = 2;
    options.write_timeout = 0s;
    const auto client = f.open(options);
    f.world.link().to_server().hold();
    f.world.link().to_server().set_capacity(0);
    for (int i = 0; i < 2; ++i) CHECK_FALSE(client->try_send(command_id{3}, "x"));
    bool sent = false;
    f.world.go([&]() -> asio::awaitable<void> {
        co_await client->send_text("");
        sent = true;
    });
    CHECK_FALSE(sent);
    f.world.link().to_server().set_capacity(11);  // one of the two
    f.world.settle();
    CHECK(client->stats().messages_sent == 1);
    CHECK(sent);
}

TEST_CASE("a call that waits for room lets the reading go on: the server may wait for that") {
    fixture f;
    auto options = f.world.options();
    options.max_queued_messages = 1;
    options.max_received_messages = 1;
    const auto client = f.open(options);
    for (int i = 0; i < 10; ++i) (void)f.server.clients[0].try_send(command_id{7}, "x");
    f.world.settle();
    CHECK(client->stats().messages_received < 10);
    f.world.link().to_server().set_capacity(0);
    CHECK_FALSE(client->try_send(command_id{3}, "x"));
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("add"); });
    CHECK(client->stats().messages_received == 10);
}

TEST_CASE("the queue is bounded: try_send says so, send waits, drained tells") {
    fixture f;
    auto options = f.world.options();
    options.max_queued_messages = 3;
    options.write_timeout = 0s;
    const auto client = f.open(options);
    f.world.link().to_server().set_capacity(0);
    for (int i = 0; i < 3; ++i) CHECK_FALSE(client->try_send(command_id{3}, "x"));
    CHECK(client->try_send(command_id{3}, "x") == errc::full);
    bool sent = false;
    bool drained = false;
    f.world.go([&]() -> asio::awaitable<void> {
        co_await client->send(command_id{3}, "y");
        sent = true;
        co_await client->drained();
        drained = true;
    });
    f.world.run_for(1s);
    CHECK_FALSE(sent);
    CHECK(f.outcome(client->call("add", json::array({1, 2}), 2s), 2s) == "the deadline passed before the answer came");
    f.world.link().to_server().set_capacity(64 * 1024);
    f.world.run_for(1ms);
    CHECK(sent);
    CHECK(drained);
    CHECK(client->stats().messages_sent == 4);  // not the call: its time was over before there was room for it
    CHECK(client->stats().messages_queued == 0);
}

TEST_CASE("close comes behind what is queued, and nothing is taken after it") {
    fixture f;
    const auto client = f.open();
    for (int i = 0; i < 10; ++i) CHECK_FALSE(client->try_send(command_id{1}, "before"));
    client->close(close_code{4001}, "enough");
    CHECK(client->try_send(command_id{1}, "after") == errc::closed);
    CHECK(f.outcome(client->send(command_id{1}, "after")) == "the client has left or is leaving");
    f.world.run_for(1s);
    CHECK(client->state() == link_state::closed);
    CHECK(client->stats().messages_sent == 10);
    REQUIRE(f.server.ends.size() == 1);
    CHECK(f.server.ends[0].code == close_code{4001});
    CHECK(f.server.ends[0].reason == "enough");
    CHECK(f.outcome(client->call("add")) == "the client has left or is leaving");
}

TEST_CASE("a close that the server does not answer ends after close_timeout") {
    fixture f;
    const auto client = f.open();
    f.world.link().to_server().hold();
    client->close();
    f.world.run_for(4'999ms);
    CHECK(client->state() != link_state::closed);
    f.world.run_for(1ms);
    CHECK(client->state() == link_state::closed);
    connection_end end;
    f.world.go([&]() -> asio::awaitable<void> { end = co_await client->closed(); });
    CHECK(end.by == connection_end::ended_by::client);
    CHECK(end.code == close_code::normal);
    CHECK_FALSE(end.clean);
}

TEST_CASE("the server closes: code and reason are known, waiting calls end, receive comes to its end") {
    fixture f;
    auto options = f.world.options();
    options.reconnect.enabled = false;
    const auto client = f.open(options);
    std::string called;
    bool over = false;
    f.world.go([&]() -> asio::awaitable<void> {
        const json ms = one_number(60'000);
        auto awaited = client->call("wait", ms);
        called = co_await outcome_of(std::move(awaited));
    });
    f.world.go([&]() -> asio::awaitable<void> { over = !(co_await client->receive()); });
    CHECK_FALSE(client->try_send(command_id{4}, "4321"));
    f.world.run_for(1s);
    CHECK(called == "the client has left or is leaving");
    CHECK(over);
    connection_end end;
    f.world.go([&]() -> asio::awaitable<void> { end = co_await client->closed(); });
    CHECK(end == connection_end{.by = connection_end::ended_by::server, .code = close_code{4321}, .reason = "as you like", .clean = true});
    REQUIRE(f.server.ends.size() == 1);
    CHECK(f.server.ends[0].clean);
}

TEST_CASE("abort ends it at once, whatever is queued") {
    fixture f;
    const auto client = f.open();
    f.world.link().to_server().set_capacity(0);
    CHECK_FALSE(client->try_send(command_id{1}, "never"));
    client->abort();
    f.world.settle();
    CHECK(client->state() == link_state::closed);
    CHECK(client->stats().messages_dropped == 1);
    CHECK(f.world.link().to_server().was_reset());
}

TEST_CASE("the server's pings are answered, and ours are sent when nothing else is said") {
    fixture f;
    auto options = f.world.options();
    options.ping_interval = 25s;
    const auto client = f.open(options);
    f.world.run_for(10min);  // both read timeouts are 60 s
    CHECK(client->state() == link_state::connected);
    CHECK(client->stats().bytes_sent >= 24 * 6);
}

TEST_CASE("what is before connect, and registration after it, is refused clearly") {
    fixture f;
    command_client client{f.world.executor(), "ws://server/ws", f.world.options()};
    CHECK(client.state() == link_state::idle);
    CHECK(client.try_send(command_id{1}, "x") == errc::not_connected);
    CHECK(f.outcome(client.send(command_id{1}, "x")) == "there is no connection");
    CHECK(f.outcome(client.call("add")) == "there is no connection");
    CHECK_THROWS_AS((void)client.try_send(command_jsonrpc, "x"), std::invalid_argument);
    client.on_text([](client_message) -> asio::awaitable<void> { co_return; });
    const auto again = [&] { client.on_text([](client_message) -> asio::awaitable<void> { co_return; }); };
    CHECK_THROWS_AS(again(), std::invalid_argument);
    f.world.go([&]() -> asio::awaitable<void> { co_await client.connect(); });
    CHECK_THROWS_AS(again(), std::logic_error);
}

TEST_CASE("a client that was closed connects again") {
    fixture f;
    const auto client = f.open();
    client->close();
    f.world.run_for(1s);
    CHECK(client->state() == link_state::closed);
    CHECK(f.outcome(client->connect()) == "done");
    CHECK(f.outcome(client->request(command_id{1}, "again")) == "done");
    CHECK(client->stats().connections == 2);
}

TEST_CASE("a client that is destroyed takes everything along, in every phase") {
    int began = 0;
    const auto prepare = [&](command_client& prepared) {
        prepared.on(command_id{0x10}, [&](client_message) -> asio::awaitable<void> {
            ++began;
            co_await pause_for(1h);
        });
    };
    SUBCASE("with a handler that waits, and one message behind it") {
        fixture f;
        auto client = f.open(f.world.options(), prepare);
        (void)f.server.clients[0].try_send(command_id{0x10}, "");
        (void)f.server.clients[0].try_send(command_id{0x10}, "");
        f.world.run_for(1s);
        std::string called;
        f.world.go([&]() -> asio::awaitable<void> {
            const json ms = one_number(60'000);
            auto awaited = client->call("wait", ms);
            called = co_await outcome_of(std::move(awaited));
        });
        f.world.run_for(1s);
        client.reset();
        f.world.run_for(1s);
        CHECK(began == 1);
        CHECK(called == "the client has left or is leaving");
        CHECK(f.server.ends.size() == 1);
    }
    SUBCASE("and its context right after it") {
        fixture f;
        auto client = f.open(f.world.options(), prepare);
        (void)f.server.clients[0].try_send(command_id{0x10}, "");
        f.world.run_for(1s);
        client.reset();
    }
    SUBCASE("and its context right after it, with a message that has not left") {
        client_world world;
        world.served = false;
        auto context = std::make_unique<asio::io_context>();  // one that does not run any more
        auto client = std::make_unique<command_client>(context->get_executor(), "tcp://server:1", world.options());
        asio::co_spawn(*context, client->connect(), [](const std::exception_ptr& failure) { CHECK_FALSE(failure); });
        context->poll();
        REQUIRE(client->state() == link_state::connected);
        world.link().to_server().set_capacity(10);
        CHECK_FALSE(client->try_send(command_id{1}, "unsent"));
        context->poll();
        CHECK(client->stats().messages_queued == 1);
        client.reset();
        context.reset();
    }
    SUBCASE("while it connects") {
        fixture f;
        f.world.latency = 1h;
        auto client = std::make_unique<command_client>(f.world.executor(), "ws://server/ws", f.world.options());
        f.world.go([&]() -> asio::awaitable<void> { co_await client->connect(); });
        client.reset();
        f.world.settle();
        CHECK(f.world.failure() == errc::closed);
    }
    SUBCASE("from its own callback") {
        fixture f;
        auto client = std::make_unique<command_client>(f.world.executor(), "ws://server/ws", f.world.options());
        int told = 0;
        client->on_state([&](const link_change& change) {
            ++told;
            if (change.now == link_state::connected) client.reset();
        });
        f.world.go([&]() -> asio::awaitable<void> { co_await client->connect(); });
        f.world.run_for(1s);
        CHECK(told == 2);
        CHECK(f.server.ends.size() == 1);
    }
}

TEST_CASE("permessage-deflate: both directions, with and without context takeover") {
    for (const bool takeover : {false, true}) {
        CAPTURE(takeover);
        server_side side;
        auto serving = virtual_options();
        serving.deflate = {.enabled = true, .server_context_takeover = takeover, .client_context_takeover = takeover};
        client_world world{side.routes(), serving};
        auto options = world.options();
        options.deflate = {.enabled = true, .server_context_takeover = takeover, .client_context_takeover = takeover, .threshold = 16};
        command_client client{world.executor(), "ws://server/ws", options};
        std::string text;
        for (int i = 0; i < 2'000; ++i) text += "line " + std::to_string(i % 7) + "\n";
        bool equal = true;
        world.go([&]() -> asio::awaitable<void> {
            co_await client.connect();
            for (int i = 0; i < 5; ++i) {
                payload body{text};
                const auto echoed = co_await client.request(command_id{1}, std::move(body));
                equal = equal && echoed.text() == text;
            }
        });
        world.run_for(1s);
        CHECK(world.failures.empty());
        CHECK(world.ended == 1);
        CHECK(equal);
        CHECK(client.stats().bytes_sent < text.size());
        CHECK(client.stats().bytes_received < text.size());
    }
}

TEST_CASE("messages of all sizes arrive, over a wire of any step") {
    fixture f;
    auto options = f.world.options();
    options.max_queued_bytes = 64 * 1024 * 1024;
    const auto client = f.open(options);
    for (const std::size_t step : {std::size_t{1} << 20U, std::size_t{997}}) {
        f.world.link().to_client().set_step(step);
        f.world.link().to_server().set_step(step);
        for (const std::size_t size : {0UL, 1UL, 125UL, 126UL, 4'096UL, 16'384UL, 65'535UL, 65'536UL, 300'000UL}) {
            CAPTURE(size);
            std::string text(size, '\0');
            for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
            bool equal = false;
            f.world.go([&]() -> asio::awaitable<void> {
                payload body{text};
                const auto echoed = co_await client->request(command_id{1}, std::move(body));
                equal = echoed.text() == text;
            });
            f.world.run_for(100ms);
            CHECK(equal);
        }
    }
}

TEST_CASE("what is waited for can be cancelled") {
    fixture f;
    const auto client = f.open();
    asio::cancellation_signal stop;
    lines said;
    const auto spawn = [&](auto awaited) {
        asio::co_spawn(f.world.executor(), outcome_of(std::move(awaited)),
                       asio::bind_cancellation_slot(stop.slot(), [&](const std::exception_ptr& failure, std::string outcome) {
                           said.push_back(failure ? "thrown" : outcome);
                       }));
        f.world.settle();
        stop.emit(asio::cancellation_type::terminal);
        f.world.settle();
    };
    spawn(client->receive());
    spawn(client->call("wait", one_number(60'000)));
    spawn(client->request(command_id{3}, ""));
    spawn(client->closed());
    const std::string cancelled = std::error_code{asio::error::operation_aborted}.message();
    CHECK(said == lines(4, cancelled));
    CHECK(client->state() == link_state::connected);
    CHECK(f.outcome(client->request(command_id{1}, "still there")) == "done");
}

TEST_CASE("a receive() that was cancelled does not stand in the way of the next one") {
    fixture f;
    const auto client = f.open();
    int received = 0;
    for (int i = 0; i < 3; ++i) {
        asio::cancellation_signal stop;
        asio::co_spawn(f.world.executor(), client->receive(),
                       asio::bind_cancellation_slot(stop.slot(), [](const std::exception_ptr&, std::optional<client_message>) {}));
        f.world.settle();
        f.world.go([&]() -> asio::awaitable<void> {
            if (co_await client->receive()) ++received;
        });
        stop.emit(asio::cancellation_type::terminal);  // the first of the two that wait
        f.world.settle();
        CHECK(f.server.clients[0].try_send(command_id{7}, "for the second") == send_status::queued);
        f.world.settle();
        CHECK(received == i + 1);
    }
}
