#include "counting_malloc.hpp"
#include "round_trips.hpp"

#include <kephas/net/slab_cache.hpp>
#include <kephas/net/steady_timer.hpp>

#include <support/gate.hpp>

#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

using namespace kephas;
using namespace kephas::test;

namespace {

constexpr std::uint32_t gate_command = 0x0200;
constexpr std::array<std::string_view, 3> names{"pool", "serial", "on_strand"};

double allocations_in(round_trips& client, std::string_view what, std::size_t in_flight) {
    constexpr std::size_t messages = 32'000;
    client.make(messages / 8);
    if (std::getenv("TRACE_ALLOCATIONS") != nullptr) counts::trace_next(12);
    const std::size_t before = counts::allocations();
    client.make(messages);
    const std::size_t counted = counts::allocations() - before;
    const double each = static_cast<double>(counted) / static_cast<double>(messages);
    fmt::print("{:>9}, {:2} in flight: {:6} allocations for {} messages: {:.4f} each\n", what, in_flight, counted, messages, each);
    return each;
}

double allocations_per_message(dispatch policy, std::size_t in_flight) {
    router routes;
    routes.on(command_id{echo_command}, policy, echo);
    running_server server{std::move(routes), unlimited_options()};
    round_trips client{server.port(), in_flight};
    return allocations_in(client, names[static_cast<std::size_t>(policy)], in_flight);
}

/// Of a JSON-RPC method with typed parameters, or with the raw ones, that adds two numbers.
double allocations_per_call(dispatch policy, std::string_view params, bool typed) {
    router routes;
    if (typed) {
        routes.rpc("add", {"a", "b"}, policy, [](double a, double b) -> asio::awaitable<double> { co_return a + b; });
    } else {
        routes.rpc("add", policy, [](rpc_request req) -> asio::awaitable<json> {
            co_return *req.params().at(0).as_int64() + *req.params().at(1).as_int64();
        });
    }
    running_server server{std::move(routes), unlimited_options()};
    const std::string call = fmt::format(R"({{"jsonrpc":"2.0","method":"add","params":{},"id":10000001}})", params);
    constexpr std::string_view answer = R"({"jsonrpc":"2.0","result":42,"id":10000001})";
    constexpr std::size_t in_flight = 32;
    round_trips client{server.port(), in_flight, call, answer.size()};
    return allocations_in(client, fmt::format("{} calls", names[static_cast<std::size_t>(policy)]), in_flight);
}

/// Goes to the end of its executor's queue, and comes back.
asio::awaitable<void> step_aside() {
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}
asio::awaitable<void> wait_shortly() {
    steady_timer timer{co_await asio::this_coro::executor, std::chrono::microseconds{1}};
    co_await timer.async_wait(asio::use_awaitable);
}

/// Echoes under `policy` in a handler that suspends first, in bursts of 32: by how much what the process holds has grown
/// between 8,000 messages and four times as many more.
std::ptrdiff_t growth_with(std::string_view what, dispatch policy, asio::awaitable<void> (*suspend)()) {
    constexpr std::size_t messages = 8'000;
    constexpr std::size_t in_flight = 32;
    gate all_at_once;
    router routes;
    routes.on(command_id{gate_command}, policy, [&](request) -> asio::awaitable<std::optional<payload>> {
        co_await all_at_once.wait();
        co_return std::nullopt;
    });
    routes.on(command_id{echo_command}, policy, [suspend](request req) -> asio::awaitable<std::optional<payload>> {
        co_await suspend();
        co_return payload{req.share()};
    });
    running_server server{std::move(routes), unlimited_options()};
    round_trips client{server.port(), in_flight};
    // As many handlers as may wait at the same time do so once: never again will there be more of them.
    const std::size_t most = policy == dispatch::pool ? server_options{}.in_flight.messages : 1;
    auto waiting = test_client::open(server.port());
    for (std::size_t i = 0; i < most; ++i) waiting.send_command(gate_command, "");
    REQUIRE(all_at_once.wait_for_waiting(most));
    all_at_once.open();
    const auto at_rest = [&] {
        REQUIRE(eventually([&] {
            const server_stats now = server->stats();
            return now.handlers_running == 0 && now.handlers_queued == 0;
        }));
        // read buffers that nobody uses are lent again: at most 16, whether there were one or two of them at a time is chance
        return counts::live_bytes() - server->stats().slabs_idle * slab_cache::slab_size;
    };
    client.make(messages);
    const std::size_t after_one = at_rest();
    const std::size_t before = counts::allocations();
    client.make(4 * messages);
    const std::size_t counted = counts::allocations() - before;
    const std::size_t after_five = at_rest();
    const auto growth = static_cast<std::ptrdiff_t>(after_five) - static_cast<std::ptrdiff_t>(after_one);
    fmt::print("{:>9}, {} in flight, {}: {:.3f} allocations each, {} bytes held after {} messages, {:+} after {}\n",
               names[static_cast<std::size_t>(policy)], in_flight, what,
               static_cast<double>(counted) / static_cast<double>(4 * messages), after_one, messages, growth, 5 * messages);
    return growth;
}

}  // namespace

TEST_CASE("an on_strand echo allocates nothing per message") {
    CHECK(allocations_per_message(dispatch::on_strand, 1) == 0);
    CHECK(allocations_per_message(dispatch::on_strand, 32) == 0);
}

TEST_CASE("an on_strand echo over a stream allocates nothing per message") {
    router routes;
    routes.on(command_id{echo_command}, dispatch::on_strand, echo);
    server_options options = unlimited_options();
    options.listen = {"tcp://127.0.0.1:0"};
    running_server server{std::move(routes), options};
    for (const std::size_t in_flight : {1U, 32U}) {
        round_trips client = round_trips::over_stream(server.port(), in_flight);
        CHECK(allocations_in(client, "stream", in_flight) == 0);
    }
}

// What is left of these is per burst, not per message: a block for its payloads while the replies to the last one, which are
// parts of that one's, have not left.
TEST_CASE("a serial echo allocates per burst, not per message") {
    CHECK(allocations_per_message(dispatch::serial, 1) <= 1.1);
    CHECK(allocations_per_message(dispatch::serial, 32) <= 0.1);
}

TEST_CASE("a pool echo allocates per burst, not per message") {
    CHECK(allocations_per_message(dispatch::pool, 1) <= 1.1);
    CHECK(allocations_per_message(dispatch::pool, 32) <= 0.1);
}

TEST_CASE("a pool echo allocates less than once for two messages in short bursts too") {
    CHECK(allocations_per_message(dispatch::pool, 8) <= 0.5);
}

// The parameters, the request where it waits, and the document in which it came.
TEST_CASE("a call allocates three times, and its result not at all") {
    CHECK(allocations_per_call(dispatch::on_strand, "[2,40]", true) <= 3);
    CHECK(allocations_per_call(dispatch::on_strand, "[2,40]", false) <= 3);
    CHECK(allocations_per_call(dispatch::on_strand, R"({"a":2,"b":40})", true) <= 3);
    CHECK(allocations_per_call(dispatch::serial, "[2,40]", true) <= 3.2);
    CHECK(allocations_per_call(dispatch::pool, "[2,40]", true) <= 3.2);
}

// 32,000 messages: a single byte for each of them would show.
TEST_CASE("handlers that suspend hold no more memory after many messages than after some") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        CHECK(growth_with("stepping aside", policy, step_aside) <= 16 * 1024);
        CHECK(growth_with("with a timer", policy, wait_shortly) <= 16 * 1024);
    }
}
