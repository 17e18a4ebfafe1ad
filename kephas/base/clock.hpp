#pragma once

#include <chrono>

namespace kephas {

using time_point = std::chrono::steady_clock::time_point;
using duration = std::chrono::steady_clock::duration;

/// `now + by`, for any duration: the longest means never.
[[nodiscard]] constexpr time_point later(time_point now, duration by) noexcept {
    return by > time_point::max() - now ? time_point::max() : now + by;
}

/// The clock of every deadline: the steady clock, unless a `virtual_clock` has put it under the control of a test.
/// `base` and `proto` never read it, they are handed `now`: it is declared here so that all layers agree on the type,
/// and defined in `net`, which those two do not link.
class clock {
public:
    using duration = kephas::duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = kephas::time_point;
    static constexpr bool is_steady = true;

    /// Concurrency: any thread.
    [[nodiscard]] static time_point now() noexcept;
    /// The same as of the last tick of the kernel, normally `tick` ago at most: for what is only compared with seconds, and noted
    /// for each message. It costs a fifth.
    [[nodiscard]] static time_point coarse_now() noexcept;
    static constexpr duration tick = std::chrono::milliseconds{10};  ///< At 100 Hz, the slowest that servers have.
};

}  // namespace kephas
