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

}  // namespace

TEST_CASE("an idle connection holds little memory, and little more if it compresses") {
    server_options compressing = quiet_options();
    compressing.deflate.enabled = true;
    const double plain = idle_bytes("an idle connection", quiet_options());
    const double compressed = idle_bytes("an idle connection that compresses", compressing);
    CHECK(plain <= 3'600);
    CHECK(compressed - plain <= 400);
}
