#pragma once

#include <kephas/base/clock.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace kephas {

/// Lets a few lines through for something that may happen a million times a second, and then one per `pause`.
/// Pure; single-threaded.
class log_throttle {
public:
    explicit log_throttle(duration pause = std::chrono::seconds{1}, int burst = 10) noexcept
        : pause_{pause}, tolerance_{pause * (burst - 1)} {}

    /// It happened. How often it has happened since the last line without being told, this time included, if a line
    /// should be written now.
    [[nodiscard]] std::optional<std::uint64_t> note(time_point now) noexcept {
        ++untold_;
        const time_point due = std::max(due_, now);
        if (due - now > tolerance_) return std::nullopt;
        due_ = due + pause_;
        const std::uint64_t count = untold_;
        untold_ = 0;
        return count;
    }
    /// What has happened since the last line and was not told.
    [[nodiscard]] std::uint64_t untold() const noexcept { return untold_; }

private:
    duration pause_;
    duration tolerance_;                     // how far ahead of the pace of one line per pause it may be
    time_point due_ = time_point::min();
    std::uint64_t untold_ = 0;
};

}  // namespace kephas
