#include "counting_malloc.hpp"

#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <vector>

#include <sys/socket.h>

using namespace kephas;
using namespace kephas::test;

namespace {

constexpr std::uint32_t echo_command = 0x0100;

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

/// Sends the same bytes again and again and reads as many as must come back, without allocating anything.
class round_trips {
public:
    round_trips(std::uint16_t port, std::size_t in_flight)
        : client_{test_client::open(port)}, in_flight_{in_flight} {
        for (std::size_t i = 0; i < in_flight; ++i) {
            const std::string body(32, static_cast<char>('a' + i % 26));
            out_ += test_client::frame(2, test_client::command(echo_command, body));
            answer_size_ += 2 + 4 + body.size();
        }
    }
    void make(std::size_t messages) {
        for (std::size_t done = 0; done < messages; done += in_flight_) {
            client_.send_raw(out_);
            for (std::size_t left = answer_size_; left > 0;) {
                std::array<char, 8192> buffer;
                const ssize_t got = ::recv(client_.native_handle(), buffer.data(), std::min(left, buffer.size()), 0);
                REQUIRE(got > 0);
                left -= static_cast<std::size_t>(got);
            }
        }
    }

private:
    test_client client_;
    std::size_t in_flight_;
    std::string out_;
    std::size_t answer_size_ = 0;
};

double allocations_per_message(dispatch policy, std::size_t in_flight) {
    constexpr std::size_t messages = 32'000;
    router routes;
    routes.on(command_id{echo_command}, policy, echo);
    server_options options = quiet_options();
    options.rate_limit = no_rate_limit();
    running_server server{std::move(routes), options};
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
