#pragma once

#include <kephas/base/clock.hpp>

#include <optional>

namespace asio {
class io_context;
}

namespace kephas {

/// While it lives, `kephas::clock` stands still, and goes on when a test says so: hours of timeouts pass in
/// microseconds, and at exactly the same instants each time.
///
/// Make it before anything that has a `kephas::steady_timer`, and settle the context instead of running it: `run()`
/// would wait for real time to pass. A handler that shall be tested like this waits with a `kephas::steady_timer`; an
/// `asio::steady_timer` keeps real time.
/// One per process. Concurrency: any thread may read the clock; one at a time uses this object.
class virtual_clock {
public:
    /// Stands at `start`, or at the present time. Errors: `std::logic_error` if there is another one.
    virtual_clock();
    explicit virtual_clock(time_point start);
    virtual_clock(const virtual_clock&) = delete;
    virtual_clock& operator=(const virtual_clock&) = delete;
    ~virtual_clock();

    /// Never goes back. Timers notice when their context is settled.
    void advance_to(time_point when) noexcept;
    void advance(duration by) noexcept { advance_to(clock::now() + by); }

    /// Runs what is ready on `context` until nothing is, without waiting. Returns the earliest deadline of its timers, or
    /// of one that was cancelled meanwhile.
    std::optional<time_point> settle(asio::io_context& context);
    /// Lets time pass up to `when`, stopping at each deadline on the way to run what is ready then.
    void run_until(asio::io_context& context, time_point when);
    void run_for(asio::io_context& context, duration by) { run_until(context, clock::now() + by); }

private:
    const asio::io_context* looked_in_ = nullptr;  // the context whose timers Asio has looked at
};

}  // namespace kephas
