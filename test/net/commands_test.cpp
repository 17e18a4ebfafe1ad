#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;

namespace {

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

}  // namespace

TEST_CASE("a command's reply goes out under its id, under every dispatch policy") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        router routes;
        routes.on(command_id{0x0100}, policy, echo);
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        client.send_command(0x0100, "hello");
        CHECK(client.read_command(0x0100) == "hello");
        client.send_command(0x0100, "");
        CHECK(client.read_command(0x0100).empty());
        const std::string large(300'000, 'x');
        client.send_command(0x0100, large);
        CHECK(client.read_command(0x0100) == large);
    }
}

TEST_CASE("no payload is no reply") {
    router routes;
    routes.on(command_id{1}, dispatch::serial, [](request) -> asio::awaitable<std::optional<payload>> { co_return std::nullopt; });
    routes.on(command_id{2}, dispatch::serial, echo);
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "silent");
    client.send_command(2, "heard");
    CHECK(client.read_command(2) == "heard");
}

TEST_CASE("an unknown command is answered by an error and the connection goes on") {
    router routes;
    routes.on(command_id{1}, echo);
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(512, "?");
    CHECK(client.read_command(0xFFFFFFFE) ==
          R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"unknown command","data":{"command":512}},"id":null})");
    client.send_command(1, "still here");
    CHECK(client.read_command(1) == "still here");
}

TEST_CASE("a message shorter than a command id closes with 1002") {
    running_server server{router{}};
    auto client = test_client::open(server.port());
    client.send_binary("abc");
    CHECK(client.read_close() == received_close{1002, "Invalid message format"});
}
