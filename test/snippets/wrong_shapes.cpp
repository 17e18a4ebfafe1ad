// Does not compile, on purpose: wrong_shapes_test.py looks for the sentences that say what is wrong.
#include <kephas/kephas.hpp>

using kephas::command_id;
using kephas::payload;

void wrong_shapes() {
    kephas::router routes;
    routes.on(command_id{1}, [](kephas::request) {});
    routes.on(command_id{2}, [](kephas::request) -> asio::awaitable<payload> { co_return payload{}; });
    routes.on(command_id{3}, []() -> asio::awaitable<std::optional<payload>> { co_return std::nullopt; });
    routes.rpc("method", [](int) -> asio::awaitable<int> { co_return 1; });
    routes.rpc("typed", {"a"}, [](int a) { return a; });
    routes.on_connect([] {});
    routes.on_disconnect([](kephas::client) -> asio::awaitable<void> { co_return; });
    routes.authorize([](int) { return true; });
    routes.use([](kephas::request) -> asio::awaitable<void> { co_return; });
}

asio::awaitable<std::optional<payload>> returns_a_view(kephas::request request) { co_return request.payload(); }

void registers_after_the_freeze(kephas::router routes) {
    auto frozen = std::move(routes).freeze();
    frozen->on(command_id{1}, returns_a_view);
}
