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

TEST_CASE("every id finds its own handler, small or large, and the ids between them none") {
    constexpr std::uint32_t ids[] = {0, 1, 7, 1023, 1024, 70'000, 0xFFFFFFFD};
    router routes;
    for (const std::uint32_t id : ids) {
        routes.on(command_id{id}, dispatch::on_strand, [id](request) -> asio::awaitable<std::optional<payload>> {
            co_return payload{std::to_string(id)};
        });
    }
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    for (const std::uint32_t id : ids) {
        client.send_command(id, "");
        CHECK(client.read_command(id) == std::to_string(id));
    }
    for (const std::uint32_t id : {2U, 1022U, 1025U, 0xFFFFFFFCU}) {
        client.send_command(id, "");
        CHECK(client.read_command(0xFFFFFFFE).find("unknown command") != std::string::npos);
    }
}

TEST_CASE("a message shorter than a command id closes with 1002") {
    running_server server{router{}};
    auto client = test_client::open(server.port());
    client.send_binary("abc");
    CHECK(client.read_close() == received_close{1002, "Invalid message format"});
}
