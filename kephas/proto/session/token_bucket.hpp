#pragma once

#include <kephas/base/clock.hpp>

#include <algorithm>

namespace kephas {

/// A token bucket: `rate` tokens a second flow in, at most `burst` are held, and it starts full.
/// A rate of zero or less means no limit. Pure; single-threaded.
class token_bucket {
public:
    token_bucket(double rate, double burst, time_point now) noexcept
        : rate_{rate}, burst_{burst}, tokens_{burst}, refilled_{now} {}

    /// Takes `count` tokens if they are there. Time that goes backwards counts as standing still.
    [[nodiscard]] bool take(time_point now, double count = 1) noexcept {
        if (rate_ <= 0) return true;
        refill(now);  // every time: what flows over a full bucket must not be kept for later
        if (tokens_ < count) return false;
        tokens_ -= count;
        return true;
    }

private:
    void refill(time_point now) noexcept {
        if (now <= refilled_) return;
        tokens_ = std::min(burst_, tokens_ + rate_ * std::chrono::duration<double>(now - refilled_).count());
        refilled_ = now;
    }

    double rate_;
    double burst_;
    double tokens_;
    time_point refilled_;
};

}  // namespace kephas
