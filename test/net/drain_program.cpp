// A server in a process of its own, for the tests of signals: prints its port, then its log.
#include <kephas/kephas.hpp>

#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <cstdio>

int main() {
    kephas::router routes;
    routes.on(kephas::command_id{1}, [](kephas::request req) -> asio::awaitable<std::optional<kephas::payload>> {
        co_return kephas::payload{req.share()};
    });
    routes.on(kephas::command_id{2}, [](kephas::request) -> asio::awaitable<std::optional<kephas::payload>> {
        asio::steady_timer forever{co_await asio::this_coro::executor, std::chrono::hours{1}};
        co_await forever.async_wait(asio::use_awaitable);
        co_return std::nullopt;
    });
    kephas::server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.log = kephas::logger{};
    options.drain.deadline = options.drain.grace = std::chrono::minutes{1};
    bool listening = false;
    options.log = kephas::logger{kephas::log_level::info, [&listening](kephas::log_level, std::string_view line) {
                                     if (!listening) return;  // the port comes first
                                     std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
                                     std::fflush(stdout);
                                 }};
    kephas::server server{std::move(routes), options};
    server.listen();
    listening = true;
    std::printf("port %u\n", static_cast<unsigned>(server.port()));
    std::fflush(stdout);
    server.run();
}
