#pragma once

#include <cmath>
#include <cstdint>

namespace bench {

/// The times at which the messages of an open loop leave, fixed before the first of them: a server that answers late
/// cannot slow them down, and latency is measured from here.
class schedule {
public:
    /// `rate` messages per second from `start` (nanoseconds) on, all of them later by `phase` of the pause between two.
    schedule(double rate, std::int64_t start, double phase = 0) noexcept : rate_{rate}, start_{start}, phase_{phase} {}

    /// When message `number` is to leave. Rounded for itself: errors do not add up.
    [[nodiscard]] std::int64_t due_at(std::uint64_t number) const noexcept {
        return start_ + std::llround((static_cast<long double>(number) + phase_) * 1e9L / rate_);
    }

    /// How many messages are to have left by `now`.
    [[nodiscard]] std::uint64_t due_by(std::int64_t now) const noexcept {
        if (now < due_at(0)) return 0;
        auto count = static_cast<std::uint64_t>(static_cast<long double>(now - start_) * rate_ / 1e9L - phase_) + 1;
        while (count > 0 && due_at(count - 1) > now) --count;
        while (due_at(count) <= now) ++count;
        return count;
    }

private:
    double rate_;
    std::int64_t start_;
    double phase_;
};

}  // namespace bench
