#include <kephas/base/log_throttle.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace std::chrono_literals;

TEST_CASE("one line a second tells how often it has happened since the last one") {
    const time_point start{1000s};
    log_throttle throttle;
    CHECK(throttle.note(start) == 1U);
    for (int i = 0; i < 1000; ++i) CHECK_FALSE(throttle.note(start + 999ms));
    CHECK(throttle.untold() == 1000);
    CHECK(throttle.note(start + 1s) == 1001U);
    CHECK_FALSE(throttle.note(start + 1s));
    CHECK(throttle.note(start + 1h) == 2U);
    CHECK(throttle.note(start + 2h) == 1U);
    CHECK(throttle.untold() == 0);
}
