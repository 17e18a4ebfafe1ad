// What may happen to a client while its on_connect runs.
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

/// A server whose on_connect does nothing for an hour, and goes on when it is cancelled.
struct connecting_server {
    connecting_server() : world{routes()} {}
    router routes() {
        router table;
        table.on_connect([this](client who) -> asio::awaitable<void> {
            handle = who;
            try {
                co_await pause_for(1h);
            } catch (const std::system_error&) {
                cancelled = world.elapsed();
            }
        });
        table.on_disconnect([this](client, close_info info) -> asio::awaitable<void> {
            ends.push_back(std::move(info));
            co_return;
        });
        return table;
    }
    client handle;
    std::optional<duration> cancelled;
    std::vector<close_info> ends;
    virtual_world world;
};

}  // namespace

TEST_CASE("abort() during on_connect resets the connection at once") {
    connecting_server server;
    memory_client client = server.world.open();
    server.world.run_until(1s);
    server.handle.abort();
    server.world.settle();
    CHECK(client.take() == events{"reset"});
    CHECK(server.cancelled == 1s);
    CHECK(server.world->clients().size() == 0);
    CHECK(server.ends == std::vector{close_info{close_code::abnormal, "aborted", close_initiator::server, false}});
}

TEST_CASE("a client that is too slow during on_connect is closed at once") {
    connecting_server server;
    memory_client client = server.world.open();
    server.world.run_until(1s);
    for (int i = 0; i < 300; ++i) {
        if (server.handle.try_send(command_id{1}, payload{"x"}, overflow_policy::close) == send_status::full) break;
    }
    server.world.settle();
    const events seen = client.take();
    REQUIRE(seen.size() > 2);
    CHECK(events(seen.end() - 2, seen.end()) == events{"close 3008 slow consumer", "end"});
    CHECK(server.cancelled == 1s);
    CHECK(server.world->clients().size() == 0);
    CHECK(server.ends.empty());  // it has its time to take that
    client.end();
    server.world.settle();
    CHECK(server.ends ==
          std::vector{close_info{close_code::slow_consumer, "slow consumer", close_initiator::server, false}});
}

TEST_CASE("a close() during on_connect still waits for it: it may go on sending") {
    connecting_server server;
    memory_client client = server.world.open();
    server.handle.close(close_code{4001}, "no");
    server.world.run_until(5s);
    CHECK_FALSE(server.cancelled);
}
