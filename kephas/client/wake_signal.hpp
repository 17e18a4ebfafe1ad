#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/net/steady_timer.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <system_error>
#include <utility>

namespace kephas {

/// What one coroutine waits for: that somebody signals, or a deadline. It is a timer, so that whoever waits belongs to the
/// context meanwhile, and ends with that. Single-threaded.
class wake_signal {
public:
    explicit wake_signal(const asio::any_io_executor& executor) : timer_{executor} {}

    /// Completes at once if there was a signal since the last wait.
    /// Cancellation: all types, `operation_aborted`.
    [[nodiscard]] asio::awaitable<void> wait(time_point deadline = time_point::max()) {
        if (!signalled_) {
            timer_.expires_at(deadline);
            std::error_code ec;
            co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
            if (ec == asio::error::operation_aborted && !signalled_) throw std::system_error{ec};  // it was the coroutine
        }
        signalled_ = false;
    }
    void signal() {
        if (!std::exchange(signalled_, true)) timer_.cancel();
    }

private:
    steady_timer timer_;
    bool signalled_ = false;
};

}  // namespace kephas
