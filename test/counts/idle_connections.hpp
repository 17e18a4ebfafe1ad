#pragma once

#include "counting_malloc.hpp"

#include <support/running_server.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace kephas::test {

inline constexpr std::string_view opening_handshake =
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// A socket that is connected to the server on `port`. The caller closes it.
inline int connect_to(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
}

/// Whether no other thread of this process has anything to do: what a connection needs only while it is opened has been freed.
inline bool others_sleep() {
    const std::string self = std::to_string(::gettid());
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        if (task.path().filename() == self) continue;
        std::ifstream file{task.path() / "stat"};
        const std::string stat{std::istreambuf_iterator<char>{file}, {}};
        const std::size_t name_end = stat.rfind(')');  // the state is behind the name (proc(5))
        if (name_end != std::string::npos && stat.compare(name_end, 3, ") S") != 0) return false;
    }
    return true;
}

/// The bytes that each of some connections more takes in the server, printed with the blocks that make them up.
/// `open(port)` opens a WebSocket and returns its socket; the client's side must keep no memory for it.
template <class Open>
double idle_connection_bytes(std::string_view what, running_server& server, Open open) {
    constexpr std::size_t connections = 200;
    std::vector<int> sockets;
    sockets.reserve(2 * connections);
    const auto open_some = [&] {
        for (std::size_t i = 0; i < connections; ++i) sockets.push_back(open(server.port()));
        REQUIRE(eventually([&] { return server->stats().clients == sockets.size() && others_sleep(); }));
    };
    open_some();  // what the server allocates for all of them
    std::array<std::size_t, counts::most_counted_size / 16 + 1> before{};
    for (std::size_t i = 0; i < before.size(); ++i) before[i] = counts::live_blocks(i * 16);
    const std::size_t bytes_before = counts::live_bytes();
    open_some();
    const double bytes = static_cast<double>(counts::live_bytes() - bytes_before) / connections;
    fmt::print("{} holds {:.0f} bytes:", what, bytes);
    for (std::size_t i = 0; i < before.size(); ++i) {
        const auto more = static_cast<double>(counts::live_blocks(i * 16)) - static_cast<double>(before[i]);
        if (more > connections / 20) fmt::print(" {:.2f} x {}", more / connections, i * 16);
    }
    fmt::print("\n");
    for (const int fd : sockets) ::close(fd);
    return bytes;
}

}  // namespace kephas::test
