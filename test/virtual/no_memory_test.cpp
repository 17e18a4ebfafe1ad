// What a connection does when there is no memory for it at one moment.
#include <support/failing_new.hpp>
#include <support/virtual_world.hpp>

#include <asio/local/stream_protocol.hpp>

#include <doctest/doctest.h>

#include <sys/socket.h>
#include <unistd.h>

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

// Only its first allocation fails, that of the strand: Asio does not survive the next ones.
TEST_CASE("a socket that cannot be attached for want of memory is closed, and the server does not wait for it") {
    virtual_world world{router{}};
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    asio::local::stream_protocol::socket socket{world.context(), asio::local::stream_protocol{}, ends[0]};
    failing_new::arm(0);
    CHECK_THROWS_AS(world->attach(asio::generic::stream_protocol::socket{std::move(socket)}), std::bad_alloc);
    failing_new::disarm();
    CHECK(failing_new::reached());
    char byte = 0;
    CHECK(::recv(ends[1], &byte, 1, MSG_DONTWAIT) == 0);  // the end of the stream: the other end is closed
    ::close(ends[1]);
    CHECK_NOTHROW((void)world.stop());
}
