#include <kephas/base/growth.hpp>

#include <doctest/doctest.h>

#include <algorithm>

using namespace kephas;

TEST_CASE("a buffer grows to at most twice what it has to hold, and never beyond its end") {
    for (const bool certain : {false, true}) {
        for (const std::size_t largest : {1U, 255U, 300U, 8191U, 8192U, 8193U, 100'000U, 10'485'764U}) {
            for (std::size_t needed = 1; needed <= largest; needed = needed * 3 / 2 + 1) {
                const std::size_t capacity = grown_capacity(needed, largest, certain);
                CHECK(capacity >= needed);
                CHECK(capacity <= std::max<std::size_t>(256, 2 * needed));
                CHECK(capacity <= largest);
            }
        }
    }
}

TEST_CASE("the last step of a buffer whose end is certain ends there") {
    std::size_t capacity = grown_capacity(8 * 1024, 10'485'764, true);
    unsigned steps = 1;
    for (; capacity < 10'485'764; ++steps) capacity = grown_capacity(capacity, 10'485'764, true);
    CHECK(capacity == 10'485'764);
    CHECK(steps <= 13);
}
