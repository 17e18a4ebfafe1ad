// How often the bytes of a large message are copied on their way from the socket and back to it.
#include "counting_copies.hpp"
#include "round_trips.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

double copies_per_byte(dispatch policy, std::size_t size, std::size_t in_flight) {
    constexpr std::size_t total = 64 * 1024 * 1024;
    const std::size_t messages = total / size;
    router routes;
    routes.on(command_id{echo_command}, policy, echo);
    server_options options = unlimited_options();
    options.in_flight.bytes = 4 * 1024 * 1024;
    running_server server{std::move(routes), options};
    round_trips client{server.port(), in_flight, size};
    client.make(messages / 4);
    if (std::getenv("TRACE_COPIES") != nullptr) counts::trace_copies(40);
    const std::size_t before = counts::copied_bytes();
    client.make(messages);
    const double each = static_cast<double>(counts::copied_bytes() - before) / static_cast<double>(messages * size);
    static constexpr std::array<std::string_view, 3> names{"pool", "serial", "on_strand"};
    fmt::print("{:>9}, {:7} bytes, {:2} in flight: {:.3f} bytes copied for each that is echoed\n",
               names[static_cast<std::size_t>(policy)], size, in_flight, each);
    return each;
}

}  // namespace

TEST_CASE("copies are counted, of this program and of the library of C++") {
    const std::vector<char> source(100'000, 'x');
    std::vector<char> target(source.size());
    const std::size_t before = counts::copied_bytes();
    std::memcpy(target.data(), source.data(), source.size());
    CHECK(counts::copied_bytes() - before == source.size());
    std::memmove(target.data() + 1, target.data(), target.size() - 1);
    CHECK(counts::copied_bytes() - before == 2 * source.size() - 1);
    std::string text;
    text.append(source.data(), source.size());
    CHECK(counts::copied_bytes() - before == 3 * source.size() - 1);
    (void)slice::copy(as_bytes(text));
    CHECK(counts::copied_bytes() - before == 4 * source.size() - 1);
}

TEST_CASE("the bytes of a message of 16 KiB are not copied") {
    for (const dispatch policy : {dispatch::on_strand, dispatch::serial, dispatch::pool}) {
        CHECK(copies_per_byte(policy, 16 * 1024, 1) <= 0.05);
        CHECK(copies_per_byte(policy, 16 * 1024, 3) <= 0.05);  // as many as arrive in one piece
    }
}

// Where a read ends inside a message, what has arrived of that one is moved to a buffer of its own: less than one message for
// each read, and a slab holds eight. Twice that for a sender that is slower than we are.
TEST_CASE("of a burst that is larger than a slab only the message is copied that a read has cut") {
    CHECK(copies_per_byte(dispatch::on_strand, 16 * 1024, 32) <= 0.25);
}

// A message that is larger than a slab grows with what has arrived, never with what its header announces: its buffer is twice
// as large as what is there, and what is there moves with each step. The steps begin with what the first read has brought
// (128 KiB at most), so that they add up to one to two times the message, depending on where the last one ends.
TEST_CASE("the bytes of a message of 1 MiB are copied twice at most, and only where its buffer grows") {
    CHECK(copies_per_byte(dispatch::on_strand, 1024 * 1024, 1) <= 2.05);
    CHECK(copies_per_byte(dispatch::on_strand, 1024 * 1024, 2) <= 2.05);
    CHECK(copies_per_byte(dispatch::pool, 1024 * 1024, 2) <= 2.05);
}
