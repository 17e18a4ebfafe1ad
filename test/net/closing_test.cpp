// How connections end: what is still answered, what is still sent, and who is told what.
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <future>
#include <optional>
#include <string>

#include <sys/socket.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

/// How each connection has ended: "1000 bye peer clean".
class farewells : public journal {
public:
    void listen(router& routes) {
        routes.on_disconnect([this](client, close_info info) -> asio::awaitable<void> {
            static constexpr const char* who[] = {"peer", "server", "transport"};
            add(std::to_string(static_cast<int>(info.code)) + " " + info.reason + " " +
                who[static_cast<int>(info.initiator)] + (info.clean ? " clean" : ""));
            co_return;
        });
    }
    std::string last() {
        REQUIRE(wait_for(1));
        return all().back();
    }
};

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

router raw_echo() {
    router routes;
    routes.raw(dispatch::on_strand, echo);
    return routes;
}

router command_echo() {
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, echo);
    return routes;
}

/// A masked text frame whose payload is not text.
std::string bad_text() { return test_client::frame(1, "\xFF"); }

std::string close_payload(std::uint16_t code, std::string_view reason = {}) {
    std::string out{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
    return out.append(reason);
}

}  // namespace

TEST_CASE("what came right before a broken frame is answered before the close frame") {
    running_server server{raw_echo()};
    test_client client = test_client::open(server.port());
    client.send_raw(test_client::frame(1, "one") + test_client::frame(2, "two") + bad_text() + test_client::frame(1, "behind"));
    CHECK(client.read_frame() == received_frame{true, 1, "one"});
    CHECK(client.read_frame() == received_frame{true, 2, "two"});
    CHECK(client.read_close() == received_close{1007, "text is not UTF-8"});
    CHECK(client.ends_cleanly());
}

TEST_CASE("what came right before a message shorter than a command id is answered before the close frame") {
    running_server server{command_echo()};
    test_client client = test_client::open(server.port());
    client.send_raw(test_client::frame(2, test_client::command(1, "one")) + test_client::frame(2, "abc"));
    CHECK(client.read_command(1) == "one");
    CHECK(client.read_close() == received_close{1002, "Invalid message format"});
    CHECK(client.ends_cleanly());
}

TEST_CASE("messages within the rate are answered before the close frame that tells of those beyond it") {
    server_options options = quiet_options();
    options.rate_limit = {.messages_per_second = 0.001, .burst = 3};
    running_server server{raw_echo(), options};
    test_client client = test_client::open(server.port());
    std::string input;
    for (int i = 0; i < 5; ++i) input += test_client::frame(1, std::to_string(i));
    client.send_raw(input);
    for (int i = 0; i < 3; ++i) CHECK(client.read_text() == std::to_string(i));
    CHECK(client.read_close() == received_close{1008, "Rate limit exceeded"});
}

TEST_CASE("a client that ends its side behind its close frame still reads what is queued for it") {
    router routes;
    const std::string large(8 * 1024 * 1024, 'x');  // more than the kernel takes for a client that does not read yet
    routes.raw(dispatch::on_strand, [&large](request) -> asio::awaitable<std::optional<payload>> { co_return payload{large}; });
    farewells ended;
    ended.listen(routes);
    running_server server{std::move(routes)};
    test_client client{server.port(), 4096};
    client.handshake();
    client.send_raw(test_client::frame(1, "go") + test_client::frame(8, close_payload(1000, "bye")));
    client.shutdown_send();
    CHECK(client.read_frame() == received_frame{true, 1, large});
    CHECK(client.read_frame() == received_frame{true, 8, close_payload(1000)});
    CHECK(client.ends_cleanly());
    CHECK(ended.last() == "1000 bye peer clean");
}

TEST_CASE("a close frame that has arrived is read although writing has failed before") {
    gate held;
    router routes;
    farewells ended;
    ended.listen(routes);
    std::promise<void> blocked;
    std::promise<void> go_on;
    routes.raw(dispatch::on_strand, [&](request req) -> reply {
        blocked.set_value();
        go_on.get_future().wait();  // what no handler on the strand should do: here it keeps the socket from being read
        co_return payload{req.share()};
    });
    running_server server{std::move(routes)};
    test_client client = test_client::open(server.port());
    client.send_text("hello");
    blocked.get_future().wait();
    client.send_close(1000, "bye");
    client.reset();
    go_on.set_value();
    CHECK(ended.last() == "1000 bye peer");  // not clean: our answer went nowhere
}

TEST_CASE("what a client sent before it left is still read, also when its socket was not read for a while") {
    gate held;
    journal begun;
    router routes;
    farewells ended;
    ended.listen(routes);
    routes.raw(dispatch::pool, [&](request req) -> reply {
        begun.add(req.text());
        co_await held.wait();
        co_return std::nullopt;
    });
    server_options options = quiet_options();
    options.in_flight.messages = 1;
    running_server server{std::move(routes), options};
    SUBCASE("it closes its socket right behind its close frame") {
        test_client client = test_client::open(server.port());
        client.send_text("one");
        REQUIRE(held.wait_for_waiting(1));
        client.send_raw(test_client::frame(1, "two") + test_client::frame(1, "three") +
                        test_client::frame(8, close_payload(4000, "bye")));
        client.close();
        CHECK(ended.last().starts_with("4000 bye peer"));
        CHECK(begun.all() == std::vector<std::string>{"one", "two", "three"});
    }
    SUBCASE("it ends its side without a close frame") {
        test_client client = test_client::open(server.port());
        client.send_text("one");
        REQUIRE(held.wait_for_waiting(1));
        client.send_text("two");
        client.shutdown_send();
        CHECK(ended.last() == "1006 connection lost transport");
        CHECK(begun.all() == std::vector<std::string>{"one", "two"});
        CHECK(client.read_to_end().empty());
    }
}

TEST_CASE("a client that has gone is forgotten in time although its blocking handler keeps its socket from being read") {
    std::promise<void> go_on;
    auto released = go_on.get_future().share();
    journal begun;
    router routes;
    routes.raw(dispatch::pool, [&](request) -> reply {
        begun.add("begun");
        released.wait();
        co_return std::nullopt;
    });
    server_options options = quiet_options();
    options.in_flight.messages = 1;
    options.close_timeout = 100ms;
    options.linger_timeout = 100ms;
    running_server server{std::move(routes), options};
    test_client client = test_client::open(server.port());
    client.send_text("one");
    REQUIRE(begun.wait_for(1));
    client.close();
    CHECK(eventually([&] { return server->clients().size() == 0; }));
    go_on.set_value();
}

TEST_CASE("the peer's close frame is answered while a pong waits for room, in a drain") {
    gate held;
    router routes;
    farewells ended;
    ended.listen(routes);
    routes.on(command_id{1}, dispatch::pool, [&](request) -> reply {
        co_await held.wait();
        co_return std::nullopt;
    });
    const std::string large(8 * 1024 * 1024, 'x');
    routes.on(command_id{2}, dispatch::on_strand, [&](request) -> reply { co_return payload{large}; });
    server_options options = quiet_options();
    options.outbox.max_control_bytes = 300;
    options.control_rate_limit = no_rate_limit();
    running_server server{std::move(routes), options};
    test_client client{server.port(), 4096};
    client.handshake();
    client.send_command(1, "");
    REQUIRE(held.wait_for_waiting(1));
    client.send_command(2, "");
    REQUIRE(eventually([&] { return server->stats().messages_received == 2; }));
    // There is room for two pongs behind the reply that is being written. The third one waits; it may be left out.
    std::string input;
    for (const char c : {'a', 'b', 'c'}) input += test_client::frame(9, std::string(100, c));
    client.send_raw(input);
    server->stop();  // the handler still runs, so its client is not told to leave yet
    client.send_close(1000, "bye");
    CHECK(client.read_command(2) == large);
    CHECK(client.read_frame() == received_frame{true, 10, std::string(100, 'a')});
    CHECK(client.read_frame() == received_frame{true, 10, std::string(100, 'b')});
    CHECK(client.read_close() == received_close{1000, ""});
    CHECK(client.ends_cleanly());
    client.close();
    CHECK(ended.last() == "1000 bye peer clean");
    (void)server.wait();
}

TEST_CASE("nothing is dispatched any more once close() was called, also for a client that does not read") {
    router routes;
    farewells ended;
    ended.listen(routes);
    std::promise<kephas::client> arrived;
    routes.on_connect([&](kephas::client who) -> asio::awaitable<void> {
        arrived.set_value(who);
        co_return;
    });
    journal handled;
    routes.on(command_id{1}, dispatch::on_strand, [&](request req) -> reply {
        handled.add(req.text());
        co_return std::nullopt;
    });
    running_server server{std::move(routes)};
    test_client client{server.port(), 4096};
    client.handshake();
    const kephas::client who = arrived.get_future().get();
    REQUIRE(who.try_send(command_id{9}, payload{std::string(16 * 1024 * 1024, 'x')}) == send_status::queued);
    char first = 0;
    REQUIRE(::recv(client.native_handle(), &first, 1, MSG_PEEK) == 1);
    client.send_command(1, "in time");  // read when what the kernel takes has been written
    REQUIRE(handled.wait_for(1));
    who.close(close_code::normal, "enough");
    client.send_command(1, "too late");
    CHECK(eventually([&] { return server->stats().messages_discarded == 1; }));
    CHECK(client.read_close() == received_close{1000, "enough"});
    client.send_close(1000);
    CHECK(client.ends_cleanly());
    CHECK(ended.last() == "1000 enough server clean");
    CHECK(handled.all() == std::vector<std::string>{"in time"});
}

TEST_CASE("a raw handler that throws on binary is counted and logged, and sends nothing into a protocol that is not ours") {
    log_lines log;
    router routes;
    routes.raw(dispatch::on_strand, [](request req) -> reply {
        if (req.text() == "throw") throw std::runtime_error{"details"};
        co_return payload{req.share()};
    });
    server_options options = quiet_options();
    options.log = log.as_logger();
    running_server server{std::move(routes), options};
    test_client client = test_client::open(server.port());
    client.send_binary("throw");
    client.send_binary("next");
    CHECK(client.read_frame() == received_frame{true, 2, "next"});
    CHECK(log.wait_for("details"));
    CHECK(server->stats().handlers_failed == 1);
}
