// A program of somebody who installed kephas: it includes, links and runs.

#include <kephas/kephas.hpp>

#include <cstdio>
#include <optional>
#include <utility>

int main() {
    kephas::router routes;
    routes.on(kephas::command_id{0x0100}, [](kephas::request) -> asio::awaitable<std::optional<kephas::payload>> {
        co_return kephas::payload{"hello"};
    });
    kephas::server server{std::move(routes), {.listen = {"ws://127.0.0.1:0/ws"}}};
    server.listen();
    std::printf("listening on port %d\n", server.port());
    return server.port() != 0 ? 0 : 1;
}
