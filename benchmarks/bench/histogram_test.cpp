#include "histogram.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using bench::histogram;

TEST_CASE("percentiles are exact for small values and within a hundredth for large ones") {
    histogram h;
    CHECK(h.percentile(0.5) == 0);
    CHECK(h.mean() == 0);
    CHECK(h.min() == 0);
    for (std::uint64_t i = 1; i <= 100; ++i) h.add(i);
    CHECK(h.percentile(0) == 1);
    CHECK(h.percentile(0.07) == 7);
    CHECK(h.percentile(0.5) == 50);
    CHECK(h.percentile(0.501) == 51);
    CHECK(h.percentile(0.99) == 99);
    CHECK(h.percentile(0.999) == 100);
    CHECK(h.percentile(1) == 100);
    CHECK(h.mean() == 50.5);
    for (const std::uint64_t value : {std::uint64_t{129}, std::uint64_t{1'000'003}, ~std::uint64_t{0} - 5}) {
        h = {};
        h.add(value);
        h.add(value);
        h.add(~std::uint64_t{0});
        CHECK(h.percentile(0.5) >= value);
        CHECK(h.percentile(0.5) - value <= value / 100);
        CHECK(h.max() == ~std::uint64_t{0});
        CHECK(h.min() == value);
    }
}

TEST_CASE("every value from a nanosecond to an hour is kept to less than a hundredth") {
    for (std::uint64_t value = 1; value < 3'600'000'000'000; value += value / 7 + 1) {
        CAPTURE(value);
        histogram h;
        h.add(value);
        h.add(2 * value);
        const std::uint64_t p = h.percentile(0.5);
        CHECK(p >= value);
        CHECK(p - value <= value / 127);
        h.for_each([&, first = true](std::uint64_t low, std::uint64_t high, std::uint64_t count) mutable {
            CHECK(count == 1);
            CHECK(low <= (first ? value : 2 * value));
            CHECK(high >= (first ? value : 2 * value));
            first = false;
        });
    }
}

TEST_CASE("a rare slow answer shows in the percentile that it belongs to") {
    histogram h;
    for (int i = 0; i < 9989; ++i) h.add(20'000);
    for (int i = 0; i < 11; ++i) h.add(2'000'000'000);
    CHECK(h.percentile(0.99) < 21'000);
    CHECK(h.percentile(0.999) >= 2'000'000'000);
}

TEST_CASE("the histograms of several threads add up to that of all") {
    histogram all;
    histogram even;
    histogram odd;
    for (std::uint64_t i = 0; i < 100'000; i += 37) {
        all.add(i * i);
        (i % 2 == 0 ? even : odd).add(i * i);
    }
    histogram sum;
    sum.add(even);
    sum.add(histogram{});
    sum.add(odd);
    CHECK(sum.count() == all.count());
    CHECK(sum.min() == all.min());
    CHECK(sum.max() == all.max());
    CHECK(sum.mean() == doctest::Approx(all.mean()));
    for (const double fraction : {0.1, 0.5, 0.9, 0.999}) CHECK(sum.percentile(fraction) == all.percentile(fraction));
}
