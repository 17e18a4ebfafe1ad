//[quickstart
#include <kephas/kephas.hpp>

int main() {
    kephas::router routes;

    // A handler is an awaitable that returns an optional payload: a value is the reply, nullopt is none.
    routes.on(kephas::command_id{0x0100}, [](kephas::request req) -> asio::awaitable<std::optional<kephas::payload>> {
        if (req.text().empty()) throw kephas::request_error{"a name, please"};
        co_return kephas::payload{"Login successful"};
    });

    // JSON-RPC with typed parameters, by name or by position; a mismatch is -32602 and names the parameter.
    routes.rpc("math.add", {"a", "b"}, [](double a, double b) -> asio::awaitable<double> { co_return a + b; });

    routes.on_connect([](kephas::client client) -> asio::awaitable<void> {
        co_await client.send(kephas::command_id{0x0001}, "Welcome to the server!");
    });
    routes.on_disconnect([](kephas::client client, kephas::close_info why) -> asio::awaitable<void> {
        co_await client.clients().broadcast(kephas::command_id{0x0002}, client.id().to_string() + " left: " + why.reason);
    });

    kephas::server server{std::move(routes), {
        .listen = {"ws://0.0.0.0:8080/ws"},
        .origins = kephas::allow_origins({"https://yourdomain.com"}),
        .rate_limit = {.messages_per_second = 50, .burst = 100},
    }};
    server.run();  // its own threads; returns after SIGINT or SIGTERM and a drain
}
//]
