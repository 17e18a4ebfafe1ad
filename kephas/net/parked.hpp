#pragma once

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/error.hpp>
#include <asio/execution/outstanding_work.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace kephas {

/// A coroutine that waits until somebody, on any thread, lets it go on.
class parked {
public:
    parked() = default;
    parked(const parked&) = delete;
    parked& operator=(const parked&) = delete;
    virtual ~parked() = default;

    /// Lets the coroutine go on, on its own executor, with `ec` as the outcome of its wait. Only the first call counts.
    /// Concurrency: any thread.
    void resume(std::error_code ec = {}) {
        if (!resumed_.exchange(true, std::memory_order_acq_rel)) do_resume(ec);
    }
    /// Whether `resume` was called, by a cancellation perhaps: then nobody waits here any more.
    [[nodiscard]] bool resumed() const noexcept { return resumed_.load(std::memory_order_acquire); }

private:
    virtual void do_resume(std::error_code ec) = 0;
    std::atomic<bool> resumed_{false};
};

using parked_ptr = std::shared_ptr<parked>;

namespace detail {

template <class Handler>
class parked_handler final : public parked {
public:
    using executor_type = asio::associated_executor_t<Handler>;

    explicit parked_handler(Handler handler)
        : work_{asio::prefer(asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked)},
          handler_{std::move(handler)} {}

    [[nodiscard]] auto slot() const noexcept { return asio::get_associated_cancellation_slot(handler_); }

private:
    void do_resume(std::error_code ec) override {
        // Always posted: whoever resumes may hold a lock, or be deep inside another coroutine.
        // Whoever holds this longer than the wait lasts must not keep the executor at work.
        const auto executor = std::move(*work_);
        work_.reset();
        asio::post(executor, [handler = std::move(handler_), ec]() mutable {
            auto slot = asio::get_associated_cancellation_slot(handler);
            if (slot.is_connected()) slot.clear();
            std::move(handler)(ec);
        });
    }

    using tracked_executor =
        std::decay_t<decltype(asio::prefer(std::declval<executor_type>(), asio::execution::outstanding_work.tracked))>;
    std::optional<tracked_executor> work_;
    Handler handler_;
};

struct initiate_park {
    template <class Handler, class Enqueue>
    void operator()(Handler&& handler, Enqueue enqueue) const {
        using waiter = parked_handler<std::decay_t<Handler>>;
        auto self = std::make_shared<waiter>(std::forward<Handler>(handler));
        if (auto slot = self->slot(); slot.is_connected()) {
            slot.assign([weak = std::weak_ptr<parked>{self}](asio::cancellation_type /*type*/) {
                if (const auto locked = weak.lock()) locked->resume(asio::error::operation_aborted);
            });
        }
        if (!enqueue(parked_ptr{self})) self->resume();
    }
};

}  // namespace detail

/// Suspends the calling coroutine. `enqueue(parked_ptr)` runs once it is suspended: it stores the pointer where
/// whoever will resume it finds it, under the lock that guards that place, or returns false if there is nothing left
/// to wait for. `ec` receives the outcome: what `resume` was given, or `operation_aborted`.
/// Cancellation: all types. Lifetime: a `parked` that is dropped without `resume` destroys the coroutine.
template <class Enqueue>
[[nodiscard]] asio::awaitable<void> park(Enqueue enqueue, std::error_code& ec) {
    auto token = asio::redirect_error(asio::use_awaitable, ec);
    return asio::async_initiate<decltype(token), void(std::error_code)>(detail::initiate_park{}, token,
                                                                        std::move(enqueue));
}

}  // namespace kephas
