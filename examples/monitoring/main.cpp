// An echo server that tells what its connections do: kephas-monitoring tcp://:8080 5
// The second argument is how often it tells how many there are, in seconds.
#include <kephas/base/logger.hpp>

#include <kephas/net/steady_timer.hpp>
#include <kephas/net/stream_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

namespace {

void say(std::string_view text) {
    fmt::print("{}\n", text);
    std::fflush(stdout);
}

asio::awaitable<void> echo(kephas::connection& client) {
    std::array<std::byte, 4096> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) {
        co_await client.write(kephas::bytes_view{buffer}.first(size));
    }
}

//[monitoring
kephas::stream_server_options watched() {
    kephas::stream_server_options options;
    options.on_message = say;
    options.on_state = [](const kephas::connection& which, kephas::connection_state now) {
        const std::string peer = kephas::escaped(which.remote_address());  // a Unix peer chooses its name
        say(fmt::format("{} <- {}: {}", which.local_address(), peer, to_string(now)));
        if (now == kephas::connection_state::closed) {
            say(fmt::format("{} has sent {} bytes and got {}", peer, which.bytes_read(), which.bytes_written()));
        }
    };
    options.on_error = [](const std::exception_ptr& failure) {
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& error) {
            say(fmt::format("error: {}", error.what()));
        }
    };
    return options;
}

/// Tells how many are connected, every `interval` seconds, and every second while they leave.
asio::awaitable<void> count(const kephas::stream_server& server, double interval) {
    kephas::steady_timer timer{co_await asio::this_coro::executor};
    while (!server.is_gone()) {
        say(fmt::format("{} connections", server.open_connections()));
        const std::chrono::duration<double> pause{server.is_running() ? interval : std::min(interval, 1.0)};
        timer.expires_after(std::chrono::duration_cast<kephas::duration>(pause));
        co_await timer.async_wait(asio::use_awaitable);
    }
}
//]

}  // namespace

int main(int argc, char** argv) {
    try {
        asio::io_context context{1};
        kephas::stream_server server{context, argc > 1 ? argv[1] : "tcp://:8080", echo, watched()};
        const double interval = argc > 2 ? std::atof(argv[2]) : 5;
        asio::signal_set signals{context, SIGINT, SIGTERM};
        signals.async_wait([&](std::error_code ec, int /*number*/) {
            if (!ec) server.shutdown(std::chrono::seconds{25});
        });
        int outcome = 0;
        asio::co_spawn(context, server.serve(), [&](const std::exception_ptr& failure, bool clean) {
            signals.cancel();
            if (failure) std::rethrow_exception(failure);
            say(clean ? "all have left" : "some had to be cut off");
            outcome = clean ? 0 : 1;
        });
        asio::co_spawn(context, count(server, interval), [](const std::exception_ptr& failure) {
            if (failure) std::rethrow_exception(failure);
        });
        context.run();
        return outcome;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "kephas-monitoring: {}\n", failure.what());
        return 2;
    }
}
