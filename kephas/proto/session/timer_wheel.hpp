#pragma once

#include <kephas/base/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

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
    /// `tick` is positive and `slots` a power of two; deadlines beyond `tick * slots` go round more than once.
    timer_wheel(duration tick, std::size_t slots, time_point now);
    timer_wheel(const timer_wheel&) = delete;
    timer_wheel& operator=(const timer_wheel&) = delete;
    /// Cancels what is still scheduled.
    ~timer_wheel();

    /// Schedules `entry`, moving it if it was scheduled. A deadline that has passed is due at the next `pop_expired`.
    void schedule(timer_entry& entry, time_point deadline) noexcept;
    /// Does nothing if it is not scheduled.
    void cancel(timer_entry& entry) noexcept;

    /// Takes one entry off the wheel whose deadline has passed, null when there is none left. Entries that are due at
    /// different ticks come in the order of their ticks, unless `now` has jumped over a whole round.
    [[nodiscard]] timer_entry* pop_expired(time_point now) noexcept;

    /// When `pop_expired` should be called next: not later than one tick after the earliest deadline; `nullopt` when
    /// nothing is scheduled. Earlier than that for deadlines more than a round away. Looks at one bit per slot at most.
    [[nodiscard]] std::optional<time_point> next_wakeup() const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    static bool list_empty(const timer_entry& list) noexcept { return list.next_ == &list; }
    static void make_empty(timer_entry& list) noexcept { list.next_ = list.previous_ = &list; }
    static void append(timer_entry& list, timer_entry& entry) noexcept;
    static void unlink(timer_entry& entry) noexcept;

    [[nodiscard]] std::uint64_t ticks_until(time_point deadline) const noexcept;
    [[nodiscard]] std::size_t distance_to_occupied(std::size_t slot) const noexcept;
    void remove(timer_entry& entry) noexcept;
    void advance(time_point now) noexcept;
    void expire(std::size_t slot) noexcept;

    duration tick_;
    std::size_t mask_;                           // the number of slots, less one
    std::unique_ptr<timer_entry[]> slots_;       // heads of circular lists
    std::unique_ptr<std::uint64_t[]> occupied_;  // one bit per slot
    timer_entry due_;                            // head of the list of those whose tick has passed
    time_point now_;                             // the last tick that has passed
    std::size_t position_ = 0;                   // its slot
    std::size_t size_ = 0;
};

}  // namespace kephas
