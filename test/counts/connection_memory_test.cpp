#include "counting_malloc.hpp"

#include <support/running_server.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;

namespace {

/// A WebSocket connection of which the client's side owns no memory. The caller closes it.
int open_connection(std::uint16_t port) {
    constexpr std::string_view request =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
    std::array<char, 1024> head;
    std::size_t size = 0;
    while (!std::string_view{head.data(), size}.ends_with("\r\n\r\n")) {
        const ssize_t got = ::recv(fd, head.data() + size, head.size() - size, 0);
        REQUIRE(got > 0);
        size += static_cast<std::size_t>(got);
    }
    return fd;
}

}  // namespace

TEST_CASE("an idle connection holds little memory") {
    constexpr std::size_t connections = 400;
    std::vector<int> sockets;
    sockets.reserve(2 * connections);
    router routes;
    routes.on(command_id{1}, dispatch::on_strand,
              [](request) -> asio::awaitable<std::optional<payload>> { co_return std::nullopt; });
    running_server server{std::move(routes)};
    const auto open = [&](std::size_t count) {
        const std::size_t wanted = sockets.size() + count;
        while (sockets.size() < wanted) sockets.push_back(open_connection(server.port()));
        REQUIRE(eventually([&] { return server->stats().clients == wanted; }));
    };
    open(connections);  // what the server allocates for all of them
    std::array<std::size_t, counts::most_counted_size / 16 + 1> before{};
    for (std::size_t i = 0; i < before.size(); ++i) before[i] = counts::live_blocks(i * 16);
    const std::size_t bytes_before = counts::live_bytes();
    open(connections);
    const double bytes = static_cast<double>(counts::live_bytes() - bytes_before) / connections;
    fmt::print("an idle connection holds {:.0f} bytes:", bytes);
    for (std::size_t i = 0; i < before.size(); ++i) {
        const auto more = static_cast<double>(counts::live_blocks(i * 16)) - static_cast<double>(before[i]);
        if (more > connections / 20) fmt::print(" {:.2f} x {}", more / connections, i * 16);
    }
    fmt::print("\n");
    CHECK(bytes <= 3'600);
    for (const int fd : sockets) ::close(fd);
}
