#include "schedule.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

using bench::schedule;

TEST_CASE("messages are due at even distances from the start") {
    const schedule s{1000, 5'000'000'000};
    CHECK(s.due_at(0) == 5'000'000'000);
    CHECK(s.due_at(1) == 5'001'000'000);
    CHECK(s.due_at(3000) == 8'000'000'000);
    CHECK(s.due_by(4'999'999'999) == 0);
    CHECK(s.due_by(5'000'000'000) == 1);
    CHECK(s.due_by(5'000'999'999) == 1);
    CHECK(s.due_by(5'001'000'000) == 2);
    CHECK(s.due_by(6'000'000'000) == 1001);
}

TEST_CASE("a rate that does not divide a second does not drift") {
    const schedule s{3, 0};
    CHECK(s.due_at(1) == 333'333'333);
    CHECK(s.due_at(2) == 666'666'667);
    CHECK(s.due_at(3) == 1'000'000'000);
    CHECK(s.due_at(3ULL * 86'400 * 365) == 86'400LL * 365 * 1'000'000'000);
}

TEST_CASE("as many messages are due as have a time that has come") {
    for (const double rate : {0.25, 3.0, 7.77, 20'000.0, 1e6, 3e8}) {
        for (const double phase : {0.0, 0.3, 0.75}) {
            const schedule s{rate, 123'456'789'012'345, phase};
            for (std::uint64_t number = 0; number < 5000; number += 1 + number / 5) {
                CAPTURE(rate);
                CAPTURE(number);
                const std::int64_t at = s.due_at(number);
                CHECK(s.due_by(at) >= number + 1);
                CHECK(s.due_by(at - 1) <= number);
                CHECK(s.due_at(s.due_by(at)) > at);
            }
        }
    }
}

TEST_CASE("threads that share a rate take turns, and send as much as one would") {
    constexpr std::int64_t second = 1'000'000'000;
    const schedule alone{900, 0};
    std::vector<std::int64_t> together;
    for (const double thread : {0.0, 1.0, 2.0}) {
        const schedule part{300, 0, thread / 3};
        for (std::uint64_t i = 0; part.due_at(i) < second; ++i) together.push_back(part.due_at(i));
    }
    std::sort(together.begin(), together.end());
    REQUIRE(together.size() == 900);
    for (std::uint64_t i = 0; i < together.size(); ++i) CHECK(std::abs(together[i] - alone.due_at(i)) <= 1);
}
