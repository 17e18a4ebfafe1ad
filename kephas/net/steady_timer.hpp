#pragma once

#include <kephas/base/clock.hpp>

#include <asio/basic_waitable_timer.hpp>

namespace kephas {

/// How long Asio may sleep for the sake of a timer; a `virtual_clock` learns here when the next one expires.
struct timer_wait {
    [[nodiscard]] static duration to_wait_duration(duration left) noexcept;
    [[nodiscard]] static duration to_wait_duration(time_point deadline) noexcept {
        return to_wait_duration(deadline - clock::now());
    }
};

/// A timer on `kephas::clock`: as `asio::steady_timer`, but tests may run it in virtual time.
using steady_timer = asio::basic_waitable_timer<clock, timer_wait>;

}  // namespace kephas
