#include <kephas/proto/session/address_table.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>

using namespace kephas;
using namespace std::chrono_literals;

namespace doctest {
template <>
struct StringMaker<address_verdict> {
    static String convert(address_verdict verdict) {
        static constexpr const char* names[] = {"admitted", "untracked", "too_many", "too_fast"};
        return names[static_cast<unsigned>(verdict)];
    }
};
}  // namespace doctest

namespace {

constexpr time_point start{1000s};
constexpr auto admitted = address_verdict::admitted;
constexpr auto untracked = address_verdict::untracked;
constexpr auto too_many = address_verdict::too_many;
constexpr auto too_fast = address_verdict::too_fast;

}  // namespace

TEST_CASE("without limits everybody is let in") {
    address_table table{{}, 8, 1};
    for (int i = 0; i < 1000; ++i) CHECK(table.enter(7, start) == admitted);
    CHECK(table.open(7) == 1000);
}

TEST_CASE("an address may have so many connections, and one more when one has ended") {
    address_table table{{.connections = 3}, 64, 1};
    for (int i = 0; i < 3; ++i) CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start + 1h) == too_many);
    CHECK(table.enter(8, start) == admitted);
    table.leave(7);
    CHECK(table.open(7) == 2);
    CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start) == too_many);
}

TEST_CASE("an address may open connections at a rate after a burst") {
    address_table table{{.per_second = 10, .burst = 5}, 64, 1};
    for (int i = 0; i < 5; ++i) CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start) == too_fast);
    CHECK(table.enter(7, start + 99ms) == too_fast);
    CHECK(table.enter(8, start + 99ms) == admitted);
    CHECK(table.enter(7, start + 100ms) == admitted);  // what was refused costs nothing
    CHECK(table.enter(7, start + 100ms) == too_fast);
    CHECK(table.enter(7, start) == too_fast);  // time does not go backwards
    int let_in = 0;
    for (auto now = start + 10s; now < start + 20s; now += 1ms) let_in += table.enter(7, now) == admitted ? 1 : 0;
    CHECK(let_in == 5 + 99);
}

TEST_CASE("a rate below one in a burst is one at a time") {
    address_table table{{.per_second = 0.5, .burst = 0}, 64, 1};
    CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start + 1999ms) == too_fast);
    CHECK(table.enter(7, start + 2s) == admitted);
    address_table never{{.per_second = 1e-300, .burst = 1}, 64, 1};
    CHECK(never.enter(7, start) == admitted);
    CHECK(never.enter(7, start + 24h * 365 * 50) == too_fast);
}

TEST_CASE("a connection that was refused for the number does not count against the rate") {
    address_table table{{.connections = 1, .per_second = 1, .burst = 2}, 64, 1};
    CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start) == too_many);
    table.leave(7);
    CHECK(table.enter(7, start) == admitted);
    table.leave(7);
    CHECK(table.enter(7, start) == too_fast);
}

TEST_CASE("leaving what never came changes nothing") {
    address_table table{{.connections = 1}, 64, 1};
    table.leave(7);
    CHECK(table.open(7) == 0);
    CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start) == too_many);
}

TEST_CASE("a million addresses take no more memory than the first") {
    address_table table{{.connections = 2, .per_second = 100, .burst = 2}, 1024, 99};
    const std::size_t memory = table.memory();
    CHECK(memory <= 1024 * 32);
    std::deque<std::uint64_t> present;
    std::size_t uncounted = 0;
    for (std::uint64_t address = 1; address <= 1'000'000; ++address) {
        const auto now = start + std::chrono::microseconds{address};
        const address_verdict verdict = table.enter(address, now);
        if (verdict == untracked) ++uncounted;
        else if (verdict != admitted) FAIL("refused");
        if (verdict == admitted) present.push_back(address);
        if (present.size() <= 256) continue;  // a quarter of the places is in use
        table.leave(present.front());
        present.pop_front();
    }
    CHECK(table.memory() == memory);
    CHECK(uncounted < 5'000);  // sets of eight that are full by chance
}

TEST_CASE("an address with open connections is not forgotten, whoever else comes") {
    address_table table{{.connections = 2, .per_second = 1, .burst = 10}, 8, 5};
    CHECK(table.enter(7, start) == admitted);
    CHECK(table.enter(7, start) == admitted);
    for (std::uint64_t address = 100; address < 10'000; ++address) {
        if (table.enter(address, start) == admitted) table.leave(address);
    }
    CHECK(table.enter(7, start) == too_many);
}

TEST_CASE("when all places have connections open, newcomers are let in uncounted") {
    address_table table{{.connections = 1}, 8, 5};
    for (std::uint64_t address = 1; address <= 8; ++address) CHECK(table.enter(address, start) == admitted);
    CHECK(table.enter(9, start) == untracked);
    CHECK(table.enter(9, start) == untracked);
    CHECK(table.enter(3, start) == too_many);
    table.leave(3);
    CHECK(table.enter(9, start) == admitted);
    CHECK(table.enter(9, start) == too_many);
}

TEST_CASE("who has nothing open and has been gone for the longest time gives up its place") {
    address_table table{{.per_second = 1, .burst = 1}, 8, 5};
    for (std::uint64_t address = 1; address <= 8; ++address) {
        CHECK(table.enter(address, start + address * 10ms) == admitted);
        table.leave(address);
    }
    CHECK(table.enter(9, start + 100ms) == admitted);
    CHECK(table.enter(2, start + 100ms) == too_fast);
    CHECK(table.enter(8, start + 100ms) == too_fast);
    CHECK(table.enter(1, start + 100ms) == admitted);  // it was forgotten
}
