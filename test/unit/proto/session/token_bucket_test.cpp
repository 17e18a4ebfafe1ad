#include <kephas/proto/session/token_bucket.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace kephas;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1000s};

struct limited {
    token_rate rate;
    token_bucket bucket;

    limited(double per_second, double burst) : rate{per_second, burst}, bucket{rate, start} {}
    bool take(time_point now, double count = 1) { return bucket.take(rate, now, count); }
};

}  // namespace

TEST_CASE("a token bucket starts full and is empty after a burst") {
    limited bucket{100, 200};
    for (int i = 0; i < 200; ++i) CHECK(bucket.take(start));
    CHECK_FALSE(bucket.take(start));
}

TEST_CASE("tokens flow in at the rate, and no more are held than a burst") {
    limited bucket{100, 200};
    CHECK(bucket.take(start, 200));
    CHECK_FALSE(bucket.take(start + 5ms));
    CHECK(bucket.take(start + 10ms));
    CHECK_FALSE(bucket.take(start + 10ms));
    CHECK(bucket.take(start + 1h, 200));
    CHECK_FALSE(bucket.take(start + 1h));
}

TEST_CASE("a token bucket that was idle holds one burst, however full it was before") {
    limited bucket{10, 20};
    CHECK(bucket.take(start, 10));  // ten are left, and more flow in than there is room for
    int taken = 0;
    while (taken < 100 && bucket.take(start + 1min)) ++taken;
    CHECK(taken == 20);
}

TEST_CASE("several tokens are taken together or not at all") {
    limited bucket{10, 20};
    CHECK_FALSE(bucket.take(start, 21));
    CHECK(bucket.take(start, 15));
    CHECK_FALSE(bucket.take(start, 6));
    CHECK(bucket.take(start, 5));
}

TEST_CASE("a rate of zero is no limit") {
    limited bucket{0, 0};
    for (int i = 0; i < 1000; ++i) CHECK(bucket.take(start, 1e9));
}

TEST_CASE("time that goes backwards adds no tokens, twice or at all") {
    limited bucket{1, 1};
    CHECK(bucket.take(start + 10s));
    CHECK_FALSE(bucket.take(start));
    CHECK_FALSE(bucket.take(start + 10s));
    CHECK(bucket.take(start + 11s));
}

TEST_CASE("in no window is more taken than a burst and what flows in meanwhile") {
    limited bucket{100, 50};
    std::vector<time_point> taken;
    std::uint32_t random = 1;
    auto now = start;
    for (int i = 0; i < 2000; ++i) {
        random = random * 1664525U + 1013904223U;
        now += std::chrono::milliseconds{(random >> 24U) % 32 == 0 ? 700 : (random >> 16U) % 12};
        if (bucket.take(now)) taken.push_back(now);
    }
    CHECK(taken.size() > 500);
    for (std::size_t first = 0; first < taken.size(); first += 7) {
        for (std::size_t last = first; last < taken.size(); last += 5) {
            const std::chrono::duration<double> window = taken[last] - taken[first];
            if (static_cast<double>(last - first + 1) > 50 + 100 * window.count() + 1e-6) FAIL("too many in a window");
        }
    }
}
