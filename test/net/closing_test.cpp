// How connections end: what is still answered, what is still sent, and who is told what.
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

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
    journal ended;
    routes.on_disconnect([&ended](client, close_info info) -> asio::awaitable<void> {
        ended.add(std::to_string(static_cast<int>(info.code)) + (info.clean ? " clean" : ""));
        co_return;
    });
    running_server server{std::move(routes)};
    test_client client{server.port(), 4096};
    client.handshake();
    client.send_raw(test_client::frame(1, "go") + test_client::frame(8, close_payload(1000, "bye")));
    client.shutdown_send();
    CHECK(client.read_frame() == received_frame{true, 1, large});
    CHECK(client.read_frame() == received_frame{true, 8, close_payload(1000)});
    CHECK(client.ends_cleanly());
    REQUIRE(ended.wait_for(1));
    CHECK(ended.all().front() == "1000 clean");
}
