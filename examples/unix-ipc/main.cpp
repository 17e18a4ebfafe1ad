// A daemon that answers only to processes of its own user: kephas-unix-ipc unix:///run/user/1000/app.sock
//   printf 'uptime\nwhoami\n' | nc -U /run/user/1000/app.sock
#include <kephas/net/stream_server.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include <unistd.h>

namespace {

asio::awaitable<void> answer(kephas::connection& client) {
    const kephas::time_point begin = kephas::clock::now();
    for (;;) {
        const std::string line = co_await client.read_until("\n", 1024);
        if (line.empty()) co_return;
        if (line == "whoami\n") {
            const kephas::peer_credentials peer = client.peer_credentials().value();
            co_await client.write(fmt::format("process {} of user {}\n", peer.pid, peer.uid));
        } else if (line == "uptime\n") {
            const auto connected = std::chrono::duration_cast<std::chrono::milliseconds>(kephas::clock::now() - begin);
            co_await client.write(fmt::format("connected for {} ms\n", connected.count()));
        } else {
            co_await client.write("commands are whoami and uptime\n");
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: kephas-unix-ipc unix:///FILE\n");
        return 2;
    }
    try {
        //[unix-ipc
        kephas::stream_server_options options;
        options.access.mode = 0600;
        options.authorize = [](const kephas::connection& client) { return client.peer_credentials()->uid == ::geteuid(); };
        options.on_message = [](std::string_view text) { fmt::print("{}\n", text), std::fflush(stdout); };
        kephas::stream_server server{argv[1], answer, options};
        //]
        return server.run() ? 0 : 1;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "kephas-unix-ipc: %s\n", failure.what());
        return 2;
    }
}
