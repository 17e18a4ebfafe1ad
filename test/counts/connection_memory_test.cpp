#include "idle_connections.hpp"

#include <support/tls_server.hpp>

using namespace kephas;
using namespace kephas::test;

namespace {

int open_connection(std::uint16_t port) {
    const int fd = connect_to(port);
    REQUIRE(::send(fd, opening_handshake.data(), opening_handshake.size(), 0) ==
            static_cast<ssize_t>(opening_handshake.size()));
    std::array<char, 1024> head;
    std::size_t size = 0;
    while (!std::string_view{head.data(), size}.ends_with("\r\n\r\n")) {
        const ssize_t got = ::recv(fd, head.data() + size, head.size() - size, 0);
        REQUIRE(got > 0);
        size += static_cast<std::size_t>(got);
    }
    return fd;
}

double idle_bytes(std::string_view what, const server_options& options) {
    running_server server{echo_routes(), options};
    return idle_connection_bytes(what, server, open_connection);
}

double bytes_after_echo(dispatch policy, std::string_view what) {
    router routes;
    routes.on(command_id{0x0100}, policy,
              [](request req) -> asio::awaitable<std::optional<payload>> { co_return payload{req.share()}; });
    running_server server{std::move(routes), quiet_options()};
    return idle_connection_bytes(what, server, [](std::uint16_t port) {
        const int fd = open_connection(port);
        static constexpr std::string_view message{"\x82\x88\0\0\0\0\0\0\x01\0abcd", 14};
        REQUIRE(::send(fd, message.data(), message.size(), 0) == static_cast<ssize_t>(message.size()));
        std::array<char, 10> answer;
        REQUIRE(::recv(fd, answer.data(), answer.size(), MSG_WAITALL) == static_cast<ssize_t>(answer.size()));
        return fd;
    });
}

}  // namespace

TEST_CASE("an idle connection holds little memory, and little more if it compresses") {
    server_options compressing = quiet_options();
    compressing.deflate.enabled = true;
    const double plain = idle_bytes("an idle connection", quiet_options());
    const double compressed = idle_bytes("an idle connection that compresses", compressing);
    CHECK(plain <= 1'480);
    CHECK(compressed - plain <= 260);
}

TEST_CASE("a connection that has echoed once holds little more than one that never did") {
    const double plain = idle_bytes("an idle connection", quiet_options());
    CHECK(bytes_after_echo(dispatch::on_strand, "after an echo on the strand, it") - plain <= 200);
    CHECK(bytes_after_echo(dispatch::serial, "after an echo on a serial route, it") - plain <= 840);
    CHECK(bytes_after_echo(dispatch::pool, "after an echo on the pool, it") - plain <= 580);
}
