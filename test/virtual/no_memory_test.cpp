// What a connection does when there is no memory for it at one moment.
#include <support/failing_new.hpp>
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

TEST_CASE("a message that cannot be compressed for want of memory costs its connection, and no other") {
    for (std::size_t which = 0;; ++which) {
        CAPTURE(which);
        REQUIRE(which < 1000);  // otherwise it does not end
        int left = 0;
        router routes;
        routes.on_disconnect([&](client, close_info) -> asio::awaitable<void> {
            ++left;
            co_return;
        });
        server_options options = virtual_options();
        options.deflate.enabled = true;
        virtual_world world{std::move(routes), options};
        memory_client unlucky = world.connect();
        unlucky.send_handshake("/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        memory_client other = world.connect();
        other.send_handshake();
        world.settle();
        (void)unlucky.take();
        (void)other.take();

        for (client each : world->clients().all()) (void)each.try_send(command_id{1}, std::string(5000, 'x'));
        failing_new::arm(which);
        world.settle();
        failing_new::disarm();
        const bool reached = failing_new::reached();
        world.run_for(10s);
        const server_stats stats = world->stats();
        CHECK(stats.clients + static_cast<std::size_t>(left) == 2);
        CHECK(stats.internal_errors == (reached ? 1 : 0));
        CHECK(stats.closed == (reached ? 1 : 0));
        other.send_close(1000);
        unlucky.end();
        other.end();
        (void)world.stop();
        CHECK(left == 2);
        CHECK(world->stats().opened == world->stats().closed);
        if (!reached) break;
    }
}

TEST_CASE("messages for handlers on the strand for which there is no memory cost their connection, and no other") {
    for (std::size_t which = 0;; ++which) {
        CAPTURE(which);
        REQUIRE(which < 1000);  // otherwise it does not end
        int left = 0;
        router routes;
        routes.on(command_id{1}, dispatch::on_strand, [](request req) -> asio::awaitable<std::optional<payload>> {
            co_return payload{req.share()};
        });
        routes.on_disconnect([&](client, close_info) -> asio::awaitable<void> {
            ++left;
            co_return;
        });
        virtual_world world{std::move(routes), virtual_options()};
        memory_client unlucky = world.connect();
        unlucky.send_handshake();
        memory_client other = world.connect();
        other.send_handshake();
        world.settle();
        (void)unlucky.take();
        (void)other.take();

        for (const char* text : {"one", "two", "three"}) unlucky.send_command(1, text);
        failing_new::arm(which);
        world.settle();
        failing_new::disarm();
        const bool reached = failing_new::reached();
        world.run_for(10s);
        const server_stats stats = world->stats();
        CHECK(stats.clients + static_cast<std::size_t>(left) == 2);  // nobody waits for a handler that never runs
        CHECK(stats.clients >= 1);
        CHECK(stats.handlers_running == 0);
        other.send_command(1, "still here");
        world.settle();
        CHECK(other.take().size() == 1);
        other.send_close(1000);
        unlucky.end();
        other.end();
        CHECK(world.stop().cut == 0);
        CHECK(left == 2);
        CHECK(world->stats().opened == world->stats().closed);
        if (!reached) break;
    }
}
