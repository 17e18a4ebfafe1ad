#pragma once

#include <kephas/base/clock.hpp>

#include <cstddef>
#include <optional>
#include <vector>

namespace kephas {

/// One deadline on a `timer_wheel`, embedded in what it is for. Must be cancelled before it is destroyed, and stay
/// where it is while it is scheduled.
class timer_entry {
public:
    timer_entry() = default;
    timer_entry(const timer_entry&) = delete;
    timer_entry& operator=(const timer_entry&) = delete;

    [[nodiscard]] bool scheduled() const noexcept { return next_ != nullptr; }
    [[nodiscard]] time_point deadline() const noexcept { return deadline_; }

private:
    friend class timer_wheel;
    timer_entry* next_ = nullptr;
    timer_entry* previous_ = nullptr;
    time_point deadline_{};
};

/// Many deadlines, one timer: a hashed wheel of intrusive lists, O(1) to schedule and to cancel. Never fires early,
/// and late by at most one tick. Pure: driven by `now`. Single-threaded.
class timer_wheel {
public:
    /// `slots` is a power of two; deadlines beyond `tick * slots` go round more than once.
    timer_wheel(duration tick, std::size_t slots, time_point now);
    ~timer_wheel();

    /// Schedules `entry`, moving it if it was scheduled.
    void schedule(timer_entry& entry, time_point deadline) noexcept;
    void cancel(timer_entry& entry) noexcept;

    /// Takes one entry off the wheel whose deadline has passed, null when there is none left.
    [[nodiscard]] timer_entry* pop_expired(time_point now) noexcept;

    /// When `pop_expired` should be called next: not later than one tick after the earliest deadline; `nullopt` when
    /// nothing is scheduled.
    [[nodiscard]] std::optional<time_point> next_wakeup() const noexcept;
    [[nodiscard]] std::size_t size() const noexcept;
};

}  // namespace kephas
