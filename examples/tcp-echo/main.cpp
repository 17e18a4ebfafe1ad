// An echo server over TCP or a Unix socket: kephas-tcp-echo tcp://:7
#include <kephas/net/stream_server.hpp>

#include <array>
#include <cstdio>
#include <exception>
#include <string_view>

int main(int argc, char** argv) {
    try {
        kephas::stream_server_options options;
        options.on_message = [](std::string_view text) {
            std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
            std::fflush(stdout);
        };
        //[tcp-echo
        kephas::stream_server server{
            argc > 1 ? argv[1] : "tcp://:8080",
            [](kephas::connection& client) -> asio::awaitable<void> {
                std::array<std::byte, 4096> buffer;
                while (const std::size_t size = co_await client.read_some(buffer)) {
                    co_await client.write(kephas::bytes_view{buffer}.first(size));
                }
            },
            options};
        const bool clean = server.run();  // until SIGINT or SIGTERM, and 25 s at most for those who are still connected
        //]
        std::printf("%s\n", clean ? "all have left" : "some had to be cut off");
        return clean ? 0 : 1;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "kephas-tcp-echo: %s\n", failure.what());
        return 2;
    }
}
