#include <kephas/proto/session/timer_wheel.hpp>

#include <doctest/doctest.h>

#include <array>
#include <map>
#include <memory>
#include <random>
#include <vector>

using namespace kephas;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1000s};
constexpr duration tick = 10ms;

std::vector<timer_entry*> pop_all(timer_wheel& wheel, time_point now) {
    std::vector<timer_entry*> popped;
    while (auto* entry = wheel.pop_expired(now)) popped.push_back(entry);
    return popped;
}

using entries = std::vector<timer_entry*>;

}  // namespace

TEST_CASE("an empty wheel has nothing to wake up for") {
    timer_wheel wheel{tick, 64, start};
    CHECK(wheel.size() == 0);
    CHECK_FALSE(wheel.next_wakeup());
    CHECK(wheel.pop_expired(start + 1h) == nullptr);
}

TEST_CASE("an entry fires at its deadline, not before, and at most one tick later") {
    for (const auto after : {1ns, 1'000'000ns, 9'999'999ns, 10'000'000ns, 10'000'001ns, 639'999'999ns, 640'000'000ns,
                             640'000'001ns, 3'600'000'000'000ns}) {
        timer_entry entry;
        timer_wheel wheel{tick, 64, start};
        wheel.schedule(entry, start + after);
        CHECK(entry.scheduled());
        CHECK(entry.deadline() == start + after);
        CHECK(wheel.size() == 1);
        CHECK(wheel.pop_expired(start + after - 1ns) == nullptr);
        CHECK(wheel.pop_expired(start + after - 1ns + tick) == &entry);
        CHECK_FALSE(entry.scheduled());
        CHECK(wheel.size() == 0);
        CHECK_FALSE(wheel.next_wakeup());
    }
}

TEST_CASE("within a round the wheel wakes up once for an entry, between its deadline and a tick later") {
    timer_entry entry;
    timer_wheel wheel{tick, 64, start};
    for (auto after = 1ms; after < 640ms; after += 7ms) {
        wheel.schedule(entry, start + after);
        const auto wakeup = wheel.next_wakeup();
        REQUIRE(wakeup);
        CHECK(*wakeup >= start + after);
        CHECK(*wakeup < start + after + tick);
    }
}

TEST_CASE("a deadline that has passed fires at the next pop") {
    std::array<timer_entry, 3> entry;
    timer_wheel wheel{tick, 64, start};
    wheel.schedule(entry[0], start);
    wheel.schedule(entry[1], start - 1h);
    wheel.schedule(entry[2], time_point::min());
    CHECK(*wheel.next_wakeup() <= start);
    CHECK(pop_all(wheel, start) == entries{&entry[0], &entry[1], &entry[2]});
}

TEST_CASE("a deadline at the end of time is never reached and breaks nothing") {
    std::array<timer_entry, 2> entry;
    timer_wheel wheel{tick, 64, start};
    wheel.schedule(entry[0], time_point::max());
    REQUIRE(wheel.next_wakeup());
    CHECK(wheel.pop_expired(start + 10000h) == nullptr);
    wheel.schedule(entry[1], start + 10000h + 1s);
    CHECK(wheel.pop_expired(start + 10000h + 2s) == &entry[1]);
    wheel.cancel(entry[0]);
    CHECK(wheel.size() == 0);

    timer_wheel late{tick, 64, time_point::max() - 5ms};
    late.schedule(entry[0], time_point::max());
    CHECK(late.next_wakeup() == time_point::max());
    late.cancel(entry[0]);
}

TEST_CASE("equal deadlines all fire, in the order in which they were scheduled") {
    std::array<timer_entry, 5> entry;
    timer_wheel wheel{tick, 64, start};
    for (auto& e : entry) wheel.schedule(e, start + 50ms);
    CHECK(pop_all(wheel, start + 50ms) == entries{&entry[0], &entry[1], &entry[2], &entry[3], &entry[4]});
}

TEST_CASE("a cancelled entry does not fire, and cancelling twice is harmless") {
    std::array<timer_entry, 3> entry;
    timer_wheel wheel{tick, 64, start};
    for (auto& e : entry) wheel.schedule(e, start + 50ms);
    wheel.cancel(entry[1]);
    wheel.cancel(entry[1]);
    CHECK_FALSE(entry[1].scheduled());
    CHECK(wheel.size() == 2);
    CHECK(pop_all(wheel, start + 1s) == entries{&entry[0], &entry[2]});
    wheel.schedule(entry[0], start + 2s);
    wheel.cancel(entry[0]);
    CHECK_FALSE(wheel.next_wakeup());
}

TEST_CASE("an entry that is due can be cancelled or moved before it is popped") {
    std::array<timer_entry, 3> entry;
    timer_wheel wheel{tick, 64, start};
    for (auto& e : entry) wheel.schedule(e, start + 50ms);
    CHECK(wheel.pop_expired(start + 100ms) == &entry[0]);
    wheel.cancel(entry[1]);
    wheel.schedule(entry[2], start + 200ms);
    CHECK(wheel.pop_expired(start + 100ms) == nullptr);
    CHECK(wheel.pop_expired(start + 200ms) == &entry[2]);
}

TEST_CASE("scheduling again moves the entry") {
    timer_entry entry;
    timer_wheel wheel{tick, 64, start};
    wheel.schedule(entry, start + 50ms);
    wheel.schedule(entry, start + 300ms);
    CHECK(wheel.size() == 1);
    CHECK(wheel.pop_expired(start + 200ms) == nullptr);
    wheel.schedule(entry, start + 210ms);
    CHECK(wheel.pop_expired(start + 210ms) == &entry);
}

TEST_CASE("entries may be scheduled again while the expired ones are taken off") {
    std::array<timer_entry, 10> entry;
    timer_wheel wheel{tick, 64, start};
    for (auto& e : entry) wheel.schedule(e, start + 10ms);
    auto now = start;
    int fired = 0;
    for (int round = 0; round < 100; ++round) {
        now += 10ms;
        while (auto* e = wheel.pop_expired(now)) {
            CHECK(e->deadline() <= now);
            ++fired;
            wheel.schedule(*e, now + 10ms);
        }
    }
    CHECK(fired == 1000);
    CHECK(wheel.size() == 10);
    for (auto& e : entry) wheel.cancel(e);
}

TEST_CASE("when time jumps far ahead, all that is due fires, and what is not stays") {
    std::array<timer_entry, 100> entry;
    timer_entry far;
    timer_wheel wheel{tick, 16, start};
    for (std::size_t i = 0; i < entry.size(); ++i) wheel.schedule(entry[i], start + 10ms * (i + 1));
    wheel.schedule(far, start + 1000h);
    CHECK(pop_all(wheel, start + 500h).size() == 100);
    CHECK(wheel.size() == 1);
    CHECK(wheel.pop_expired(start + 1000h + tick) == &far);
}

TEST_CASE("time that goes backwards is ignored") {
    timer_entry entry;
    timer_wheel wheel{tick, 16, start};
    CHECK(wheel.pop_expired(start + 1s) == nullptr);
    wheel.schedule(entry, start + 2s);
    CHECK(wheel.pop_expired(start) == nullptr);
    CHECK(wheel.pop_expired(start + 2s) == &entry);
}

TEST_CASE("a wheel that goes leaves its entries unscheduled") {
    std::array<timer_entry, 2> entry;
    {
        timer_wheel wheel{tick, 16, start};
        wheel.schedule(entry[0], start);
        wheel.schedule(entry[1], start + 1s);
    }
    CHECK_FALSE(entry[0].scheduled());
    CHECK_FALSE(entry[1].scheduled());
}

TEST_CASE("a wheel agrees with a sorted map over many random operations, whatever its size") {
    for (const std::size_t slots : {1U, 2U, 16U, 64U, 128U, 1024U}) {
        std::mt19937 random{static_cast<std::uint32_t>(slots)};
        const auto below = [&random](std::uint32_t limit) { return random() % limit; };
        std::vector<timer_entry> pool(300);
        timer_wheel wheel{tick, slots, start};
        std::multimap<time_point, timer_entry*> model;
        const auto forget = [&model](timer_entry& entry) {
            const auto [first, last] = model.equal_range(entry.deadline());
            for (auto i = first; i != last; ++i) {
                if (i->second == &entry) return void(model.erase(i));
            }
            FAIL("not in the model");
        };
        auto now = start;
        std::size_t fired = 0;
        for (int step = 0; step < 20'000; ++step) {
            auto& entry = pool[below(300)];
            const auto action = below(10);
            if (action < 5) {
                if (entry.scheduled()) forget(entry);
                // mostly near, sometimes far, sometimes in the past
                const auto reach = std::array{50'000U, 1'000'000U, 30'000'000U}[below(3)];
                const auto deadline = now + std::chrono::microseconds{below(reach)} - 2ms;
                wheel.schedule(entry, deadline);
                model.emplace(deadline, &entry);
            } else if (action < 7) {
                if (entry.scheduled()) forget(entry);
                wheel.cancel(entry);
            } else {
                const auto wakeup = wheel.next_wakeup();
                REQUIRE(wakeup.has_value() == !model.empty());
                // not too late; "one tick after" a deadline in the past may be now
                if (wakeup) REQUIRE(*wakeup < std::max(model.begin()->first + tick, now + 1ns));
                if (wakeup && below(2) == 0)
                    now = std::max(now, *wakeup);
                else
                    now += std::chrono::microseconds{below(step % 1000 == 0 ? 100'000'000 : 20'000)};
                while (auto* expired = wheel.pop_expired(now)) {
                    REQUIRE_FALSE(expired->scheduled());
                    REQUIRE(expired->deadline() <= now);
                    forget(*expired);
                    ++fired;
                    if (below(4) == 0) {
                        const auto deadline = now + std::chrono::microseconds{below(40'000)};
                        wheel.schedule(*expired, deadline);
                        model.emplace(deadline, expired);
                    }
                }
                if (!model.empty()) REQUIRE(model.begin()->first > now - tick);
            }
            REQUIRE(wheel.size() == model.size());
        }
        CHECK(fired > 1000);
    }
}
