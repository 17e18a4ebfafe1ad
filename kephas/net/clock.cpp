#include <kephas/net/steady_timer.hpp>
#include <kephas/net/virtual_clock.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <atomic>
#include <limits>
#include <stdexcept>

#include <time.h>

namespace kephas {

namespace {

constexpr duration::rep not_virtual = std::numeric_limits<duration::rep>::min();
constexpr duration::rep never = std::numeric_limits<duration::rep>::max();

std::atomic<duration::rep> frozen_at{not_virtual};    // since the epoch
std::atomic<duration::rep> earliest_deadline{never};  // of those that Asio has asked about since it was reset

duration::rep ticks(time_point when) noexcept { return when.time_since_epoch().count(); }

}  // namespace

time_point clock::now() noexcept {
    const duration::rep frozen = frozen_at.load(std::memory_order_relaxed);
    return frozen == not_virtual ? std::chrono::steady_clock::now() : time_point{duration{frozen}};
}

time_point clock::coarse_now() noexcept {
    const duration::rep frozen = frozen_at.load(std::memory_order_relaxed);
    if (frozen != not_virtual) return time_point{duration{frozen}};
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);  // on Linux the steady clock is CLOCK_MONOTONIC
    return time_point{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
}

duration timer_wait::to_wait_duration(duration left) noexcept {
    const duration::rep frozen = frozen_at.load(std::memory_order_relaxed);
    if (frozen == not_virtual || left <= duration::zero()) return left;
    const duration::rep deadline = left.count() > never - frozen ? never : frozen + left.count();
    duration::rep known = earliest_deadline.load(std::memory_order_relaxed);
    while (deadline < known && !earliest_deadline.compare_exchange_weak(known, deadline, std::memory_order_relaxed)) {
    }
    return left;
}

virtual_clock::virtual_clock() : virtual_clock{std::chrono::steady_clock::now()} {}

virtual_clock::virtual_clock(time_point start) {
    duration::rep expected = not_virtual;
    if (!frozen_at.compare_exchange_strong(expected, ticks(start))) {
        throw std::logic_error{"there is a virtual_clock already"};
    }
    earliest_deadline.store(never);
}

virtual_clock::~virtual_clock() { frozen_at.store(not_virtual); }

void virtual_clock::advance_to(time_point when) noexcept { frozen_at.store(std::max(frozen_at.load(), ticks(when))); }

std::optional<time_point> virtual_clock::settle(asio::io_context& context) {
    context.restart();
    std::optional<steady_timer> nudge;
    if (ticks(clock::now()) >= earliest_deadline.load() || &context != looked_in_) {
        // Asio looks at its timers when the kernel tells it that time has passed. One that has expired makes the kernel
        // do so at once; after it Asio asks how long to wait for the earliest of the others. The kernel takes longer for
        // that than most handlers do, so it is asked only when a timer is due.
        earliest_deadline.store(never);
        nudge.emplace(context, time_point::min());
        nudge->async_wait([](std::error_code) {});
        looked_in_ = &context;
    }
    context.poll();
    const duration::rep next = earliest_deadline.load();
    return next == never ? std::nullopt : std::optional{time_point{duration{next}}};
}

void virtual_clock::run_until(asio::io_context& context, time_point when) {
    for (auto next = settle(context); next && *next <= when; next = settle(context)) advance_to(*next);
    advance_to(when);
    (void)settle(context);
}

}  // namespace kephas
