#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {
reply echo(request req) { co_return payload{req.share()}; }
router echo_routes() {
    router routes;
    routes.on(command_id{1}, echo);
    return routes;
}
}  // namespace

TEST_CASE("a client pings, pongs, and is asked whether it is alive every 54 s") {
    virtual_world world{echo_routes()};
    memory_client client = world.open();
    client.send_command(1, "hello");
    world.settle();
    CHECK(client.take() == events{"binary " + test_client::command(1, "hello")});
    world.run_for(54s);
    CHECK(client.take() == events{"ping"});
    client.send_close(1000);
    world.settle();
    CHECK(client.take() == events{"close 1000", "end"});
    client.end();
    CHECK(world.stop() == drain_report{});
}
