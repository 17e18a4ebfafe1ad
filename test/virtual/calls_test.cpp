// The deadline of a call to a client, wherever the call waits.
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

/// A server whose command 1 calls its client back. How the call ended, and when.
struct calling_server {
    explicit calling_server(std::optional<duration> timeout = {}) : world{routes(timeout), options()} {}

    static server_options options() {
        server_options options = virtual_options();
        options.outbox.max_messages = 2;
        return options;
    }
    router routes(std::optional<duration> timeout) {
        router table;
        table.on(command_id{1}, [this, timeout](request req) -> reply {
            const duration begin = world.elapsed();
            try {
                if (timeout) (void)co_await req.client().call("f", {}, *timeout);
                else (void)co_await req.client().call("f");
                outcome = std::error_code{};
            } catch (const std::system_error& failure) {
                outcome = failure.code();
            }
            took = world.elapsed() - begin;
            co_return std::nullopt;
        });
        return table;
    }

    std::optional<std::error_code> outcome;
    duration took{};
    virtual_world world;
};

}  // namespace

TEST_CASE("a call to a client has 30 seconds, or what it was given") {
    for (const auto& [timeout, expected] : {std::pair<std::optional<duration>, duration>{std::nullopt, 30s},
                                            {1'500ms, 1'500ms}, {1us, 1us}}) {
        calling_server server{timeout};
        memory_client client = server.world.open();
        client.send_command(1, "");
        server.world.settle();
        CHECK(client.take() == events{R"(text {"jsonrpc":"2.0","method":"f","id":1})"});
        CHECK_FALSE(server.outcome);
        CHECK(server.world.time_until([&] { return server.outcome.has_value(); }) == expected);
        CHECK(*server.outcome == errc::timed_out);
        CHECK(server.took == expected);
    }
}

TEST_CASE("the deadline of a call holds while it waits for room in the outbox") {
    calling_server server{3s};
    memory_client client = server.world.open(16);
    const auto handle = server.world->clients().all().front();
    while (handle.try_send(command_id{2}, payload{std::string(100, 'x')}) == send_status::queued) {
    }
    client.send_raw(test_client::frame(2, test_client::command(1, "")));
    server.world.settle();
    CHECK_FALSE(server.outcome);
    CHECK(server.world.time_until([&] { return server.outcome.has_value(); }) == 3s);
    CHECK(*server.outcome == errc::timed_out);
    // It is not sent later either.
    for (int i = 0; i < 100; ++i) {
        for (const std::string& event : client.take()) CHECK(event.find("jsonrpc") == std::string::npos);
        server.world.settle();
    }
    CHECK(handle.is_alive());
}

TEST_CASE("a call that waits for room is sent when there is some, and still has the rest of its time") {
    calling_server server{3s};
    memory_client client = server.world.open(16);
    const auto handle = server.world->clients().all().front();
    while (handle.try_send(command_id{2}, payload{std::string(100, 'x')}) == send_status::queued) {
    }
    client.send_raw(test_client::frame(2, test_client::command(1, "")));
    server.world.run_for(2s);
    events seen;
    while (seen.empty() || seen.back().find("jsonrpc") == std::string::npos) {
        for (std::string& event : client.take()) seen.push_back(std::move(event));
        server.world.settle();
        REQUIRE(seen.size() < 10);
    }
    CHECK_FALSE(server.outcome);
    SUBCASE("answered") {
        for (const char byte : test_client::frame(1, R"({"jsonrpc":"2.0","result":7,"id":1})")) {
            client.send_raw({&byte, 1});
            server.world.settle();
        }
        CHECK(server.outcome == std::error_code{});
    }
    SUBCASE("not answered") {
        CHECK(server.world.time_until([&] { return server.outcome.has_value(); }) == 1s);
        CHECK(*server.outcome == errc::timed_out);
    }
}
