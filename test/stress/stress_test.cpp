#include "crowd.hpp"
#include "server_program.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>

using stress::crowd;
using stress::exchange_result;
using stress::server_program;

namespace {

constexpr std::uint32_t on_pool = 0x0100;
constexpr std::uint32_t serially = 0x0101;
constexpr std::uint32_t on_strand = 0x0102;
constexpr std::uint32_t count_clients = 0x0202;

void report_joining(std::size_t clients, double seconds) {
    fmt::print("{} clients connected (100 %) in {:.2f} s: {:.0f} per second\n", clients, seconds,
               static_cast<double>(clients) / seconds);
}

void report(std::string_view policy, const exchange_result& result, std::size_t sent) {
    fmt::print("{:>9}: {} of {} messages answered in {:.2f} s: {:.0f} per second, {:.1f} ms average latency\n", policy,
               result.answered, sent, result.seconds, static_cast<double>(result.answered) / result.seconds,
               result.average_latency_ms);
}

/// Asks the server how many clients it has until that many are left.
bool becomes(crowd& clients, const std::string& wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (clients.ask(count_clients, "") != wanted) {
        if (std::chrono::steady_clock::now() > deadline) return false;
    }
    return true;
}

}  // namespace

TEST_SUITE("5000") {
    TEST_CASE("5,000 clients at once get every answer, and 1001 when the server is told to end") {
        server_program server;
        crowd clients{server.port()};
        report_joining(5'000, clients.join(5'000));
        CHECK(clients.ask(count_clients, "") == "5000");
        const exchange_result result = clients.exchange(on_pool, 5, 1, true);
        report("pool", result, 25'000);
        CHECK(result.answered == 25'000);
        server.terminate();
        clients.expect_close(1001);
        CHECK(server.wait() == 0);
    }
}

TEST_SUITE("10000") {
    TEST_CASE("10,000 clients at once get every answer and a broadcast once, and leave all at the same time") {
        server_program server;
        crowd clients{server.port()};
        report_joining(10'000, clients.join(10'000));
        const exchange_result result = clients.exchange(on_pool, 3, 1, true);
        report("pool", result, 30'000);
        CHECK(result.answered == 30'000);

        CHECK(clients.broadcast("to all of you " + std::string(300, '!')) == "10000");

        clients.leave(1);
        CHECK(becomes(clients, "1"));
        clients.join(5'000);  // what the others left behind can be used again
        CHECK(clients.exchange(serially, 1, 1, true).answered == 5'001);
        clients.vanish(1);
        CHECK(becomes(clients, "1"));
        clients.leave(0);
        server.terminate();
        CHECK(server.wait() == 0);
    }
}

TEST_SUITE("messaging") {
    TEST_CASE("100 clients send 1,000 messages each, under every dispatch policy") {
        server_program server;
        crowd clients{server.port()};
        clients.join(100);
        for (const std::size_t in_flight : {std::size_t{1}, std::size_t{32}}) {
            fmt::print("{} in flight\n", in_flight);
            const auto run = [&](std::string_view policy, std::uint32_t command, bool ordered) {
                const exchange_result result = clients.exchange(command, 1'000, in_flight, ordered);
                report(policy, result, 100'000);
                CHECK(result.answered == 100'000);
            };
            run("on_strand", on_strand, true);
            run("serial", serially, true);
            run("pool", on_pool, in_flight == 1);
        }
        clients.leave(0);
        server.terminate();
        CHECK(server.wait() == 0);
    }
}
