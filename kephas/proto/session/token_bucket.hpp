#pragma once

#include <kephas/base/clock.hpp>

#include <algorithm>

namespace kephas {

/// How fast tokens flow into a `token_bucket`, in a second, and how many it holds.
struct token_rate {
    double per_second = 0;  ///< Zero or less: no limit.
    double burst = 0;
};

/// A token bucket, which starts full. Pure; single-threaded. There are two for every idle connection: so what is the
/// same for all of them, `rate`, is not kept in each but given with every call, and must not change.
class token_bucket {
public:
    token_bucket(token_rate rate, time_point now) noexcept : tokens_{rate.burst}, refilled_{now} {}

    /// Takes `count` tokens if they are there. Time that goes backwards counts as standing still.
    [[nodiscard]] bool take(token_rate rate, time_point now, double count = 1) noexcept {
        if (rate.per_second <= 0) return true;
        refill(rate, now);  // every time: what flows over a full bucket must not be kept for later
        if (tokens_ < count) return false;
        tokens_ -= count;
        return true;
    }

    /// Whether one could be taken.
    [[nodiscard]] bool has(token_rate rate, time_point now) noexcept {
        if (rate.per_second <= 0) return true;
        refill(rate, now);
        return tokens_ >= 1;
    }

private:
    void refill(token_rate rate, time_point now) noexcept {
        if (now <= refilled_) return;
        const std::chrono::duration<double> since = now - refilled_;
        tokens_ = std::min(rate.burst, tokens_ + rate.per_second * since.count());
        refilled_ = now;
    }

    double tokens_;
    time_point refilled_;
};

}  // namespace kephas
