#include "counting_malloc.hpp"
#include "round_trips.hpp"

#include <support/running_server.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <string_view>

using namespace kephas;
using namespace kephas::test;

namespace {

double allocations_per_message(dispatch policy, std::size_t in_flight) {
    constexpr std::size_t messages = 32'000;
    router routes;
    routes.on(command_id{echo_command}, policy, echo);
    running_server server{std::move(routes), unlimited_options()};
    round_trips client{server.port(), in_flight};
    client.make(messages / 8);
    if (std::getenv("TRACE_ALLOCATIONS") != nullptr) counts::trace_next(12);
    const std::size_t before = counts::allocations();
    client.make(messages);
    const std::size_t counted = counts::allocations() - before;
    const double each = static_cast<double>(counted) / static_cast<double>(messages);
    static constexpr std::array<std::string_view, 3> names{"pool", "serial", "on_strand"};
    fmt::print("{:>9}, {:2} in flight: {:6} allocations for {} messages: {:.4f} each\n",
               names[static_cast<std::size_t>(policy)], in_flight, counted, messages, each);
    return each;
}

}  // namespace

TEST_CASE("an on_strand echo allocates nothing per message") {
    CHECK(allocations_per_message(dispatch::on_strand, 1) == 0);
    CHECK(allocations_per_message(dispatch::on_strand, 32) == 0);
}

// What is left of these is per burst, not per message: handing one to another thread takes one post, which allocates
// because its memory is given back on the other thread, and one block for the payloads or for the owners of the burst.
TEST_CASE("a serial echo allocates per burst, not per message") {
    CHECK(allocations_per_message(dispatch::serial, 1) <= 3);
    CHECK(allocations_per_message(dispatch::serial, 32) <= 0.1);
}

TEST_CASE("a pool echo allocates per burst, not per message") {
    CHECK(allocations_per_message(dispatch::pool, 1) <= 3);
    CHECK(allocations_per_message(dispatch::pool, 32) <= 0.1);
}
