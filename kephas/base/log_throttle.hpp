#pragma once

#include <kephas/base/clock.hpp>

#include <cstdint>
#include <optional>

namespace kephas {

/// Lets one line a second through for something that may happen a million times a second.
/// Pure; single-threaded.
class log_throttle {
public:
    explicit log_throttle(duration pause = std::chrono::seconds{1}) noexcept : pause_{pause} {}

    /// It happened. How often it has happened since the last line without being told, this time included, if a line
    /// should be written now.
    [[nodiscard]] std::optional<std::uint64_t> note(time_point now) noexcept {
        ++untold_;
        if (now < next_) return std::nullopt;
        next_ = now + pause_;
        const std::uint64_t count = untold_;
        untold_ = 0;
        return count;
    }
    /// What has happened since the last line and was not told.
    [[nodiscard]] std::uint64_t untold() const noexcept { return untold_; }

private:
    duration pause_;
    time_point next_ = time_point::min();
    std::uint64_t untold_ = 0;
};

}  // namespace kephas
