// What a server does that has no descriptors left.
#include <support/process.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <deque>
#include <string>
#include <thread>

using namespace kephas::test;

namespace {

std::string program() {
    const char* path = std::getenv("KEPHAS_DESCRIPTORS_PROGRAM");  // set by meson
    return path != nullptr ? path : "test/net/descriptors-program";
}

struct limited_server : process {
    limited_server(int descriptors, int total)
        : process{{program(), std::to_string(descriptors), std::to_string(total)}} {
        (void)read_line();  // listening on ...
        port = static_cast<std::uint16_t>(std::stoul(read_line().substr(5)));
    }
    /// The next line of the log that is not about one of our clients.
    std::string read_interesting_line() {
        for (;;) {
            std::string line = read_line();
            if (!line.starts_with("connection ended:")) return line;
        }
    }
    std::uint16_t port = 0;
};

bool echoes(test_client& client) {
    client.send_command(1, "still here");
    return client.read_command(1) == "still here";
}

}  // namespace

TEST_CASE("when descriptors run out the server says so once, serves on, and accepts again when there are some") {
    limited_server server{48, 100'000};
    std::deque<test_client> open;
    std::deque<test_client> waiting;
    // The kernel takes them all; those for which the server has no descriptor get no answer yet.
    for (int i = 0; i < 60; ++i) {
        test_client client{server.port};
        client.send_raw("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
        waiting.push_back(std::move(client));
    }
    CHECK(server.read_interesting_line() == "cannot accept connections: Too many open files; trying again");
    while (waiting.front().is_readable(1'000)) {
        CHECK(waiting.front().read_head().starts_with("HTTP/1.1 101 "));
        open.push_back(std::move(waiting.front()));
        waiting.pop_front();
    }
    CHECK(open.size() > 20);
    CHECK(open.size() < 48);
    REQUIRE(waiting.size() > 12);
    for (auto& client : open) CHECK(echoes(client));
    open.clear();
    // Those who waited are served, with what the others have left ...
    while (!waiting.empty()) {
        CHECK(waiting.front().read_head().starts_with("HTTP/1.1 101 "));
        CHECK(echoes(waiting.front()));
        waiting.pop_front();
    }
    // ... and of the shortage the log says no more than that it is over.
    CHECK(server.read_interesting_line() == "accepting connections again");
    server.send_signal(SIGTERM);
    CHECK(server.read_interesting_line().starts_with("Shutting down gracefully..."));
}

TEST_CASE("without a limit of its own the server keeps a reserve of descriptors and answers 503 before they run out") {
    limited_server server{64, 0};
    std::deque<test_client> open;
    for (;;) {
        test_client client{server.port};
        const std::string head = client.handshake();
        if (head.starts_with("HTTP/1.1 503 ")) {
            CHECK(head.find("\r\nRetry-After: 5\r\n") != std::string::npos);
            break;
        }
        REQUIRE(head.starts_with("HTTP/1.1 101 "));
        open.push_back(std::move(client));
        REQUIRE(open.size() < 64);
    }
    CHECK(open.size() == 64 - 16);
    CHECK(server.read_line().starts_with("refused a connection: as many are open as there may be remote_addr=127.0.0.1"));
    for (auto& client : open) CHECK(echoes(client));
    open.pop_back();
    for (int attempts = 0;; ++attempts) {  // until the server has seen that it has left
        test_client next{server.port};
        if (next.handshake().starts_with("HTTP/1.1 101 ")) break;
        REQUIRE(attempts < 1'000);
    }
}
