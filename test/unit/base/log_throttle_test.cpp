#include <kephas/base/log_throttle.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace std::chrono_literals;

namespace {
constexpr time_point start{1000s};
}

TEST_CASE("one line a second tells how often it has happened since the last one") {
    log_throttle throttle{1s, 1};
    CHECK(throttle.note(start) == 1U);
    for (int i = 0; i < 1000; ++i) CHECK_FALSE(throttle.note(start + 999ms));
    CHECK(throttle.untold() == 1000);
    CHECK(throttle.note(start + 1s) == 1001U);
    CHECK_FALSE(throttle.note(start + 1s));
    CHECK(throttle.note(start + 1h) == 2U);
    CHECK(throttle.note(start + 2h) == 1U);
    CHECK(throttle.untold() == 0);
}

TEST_CASE("the first few lines come at once") {
    log_throttle throttle{1s, 10};
    for (int i = 0; i < 10; ++i) CHECK(throttle.note(start) == 1U);
    for (int i = 0; i < 500; ++i) CHECK_FALSE(throttle.note(start + 500ms));
    CHECK(throttle.note(start + 1s) == 501U);
    CHECK_FALSE(throttle.note(start + 1s));
    CHECK(throttle.note(start + 1h) == 2U);
    for (int i = 0; i < 9; ++i) CHECK(throttle.note(start + 1h) == 1U);
    CHECK_FALSE(throttle.note(start + 1h));
}
