#include "counting_malloc.hpp"

#include <support/tls_server.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;

namespace {

/// A WebSocket connection over TLS of which the client's side keeps only the socket. The caller closes it.
int open_connection(std::uint16_t port, SSL_CTX* context) {
    constexpr std::string_view request =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    const std::unique_ptr<SSL, void (*)(SSL*)> ssl{SSL_new(context), &SSL_free};
    SSL_set_fd(ssl.get(), fd);
    REQUIRE(SSL_connect(ssl.get()) == 1);
    REQUIRE(SSL_write(ssl.get(), request.data(), static_cast<int>(request.size())) > 0);
    std::array<char, 1024> head;
    REQUIRE(SSL_read(ssl.get(), head.data(), head.size()) > 0);
    REQUIRE(std::string_view{head.data(), 12} == "HTTP/1.1 101");
    return fd;
}

void measure(int version) {
    constexpr std::size_t connections = 200;
    const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free};
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_proto_version(context.get(), version);
    std::vector<int> sockets;
    sockets.reserve(2 * connections);
    running_server server{echo_routes(), tls_server_options()};
    const auto open = [&](std::size_t count) {
        const std::size_t wanted = sockets.size() + count;
        while (sockets.size() < wanted) sockets.push_back(open_connection(server.port(), context.get()));
        REQUIRE(eventually([&] { return server->stats().clients == wanted; }));
    };
    open(connections);  // what the server allocates for all of them
    std::array<std::size_t, counts::most_counted_size / 16 + 1> before{};
    for (std::size_t i = 0; i < before.size(); ++i) before[i] = counts::live_blocks(i * 16);
    const std::size_t bytes_before = counts::live_bytes();
    open(connections);
    const double bytes = static_cast<double>(counts::live_bytes() - bytes_before) / connections;
    fmt::print("an idle connection over TLS 1.{} holds {:.0f} bytes:", version - TLS1_VERSION, bytes);
    for (std::size_t i = 0; i < before.size(); ++i) {
        const auto more = static_cast<double>(counts::live_blocks(i * 16)) - static_cast<double>(before[i]);
        if (more > connections / 20) fmt::print(" {:.2f} x {}", more / connections, i * 16);
    }
    fmt::print("\n");
    CHECK(bytes <= 18'500);  // of which OpenSSL 3.0 takes 14,000: see docs/design/tls.md
    for (const int fd : sockets) ::close(fd);
}

}  // namespace

TEST_CASE("an idle connection over TLS owns no buffers") {
    measure(TLS1_2_VERSION);
    measure(TLS1_3_VERSION);
}
