#include <kephas/base/error.hpp>

#include <kephas/net/resolve.hpp>
#include <kephas/net/server_life.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/signal_set.hpp>
#include <asio/this_coro.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace kephas {

void server_life::log_thrown(const char* what, const std::exception_ptr& failure) const noexcept {
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& known) {
        log_.error("{} has thrown: {}", what, known.what());
    } catch (...) {
        log_.error("{} has thrown", what);
    }
}

void server_life::say(const std::string& what) {
    log_.info("{}", what);
    if (on_message_) guarded("on_message", [&] { on_message_(what); });
}

void server_life::begin() {
    if (begun_.exchange(true)) throw error{errc::already_running};
    try {
        listen();
    } catch (...) {
        begun_ = false;  // nothing has begun: once the address is free it may
        throw;
    }
}

bool server_life::run(std::span<asio::io_context* const> contexts) {
    begin();
    bool clean = false;
    std::exception_ptr failure;
    asio::io_context& first = *contexts.front();
    asio::signal_set signals{first, SIGINT, SIGTERM};
    bool again = false;
    std::function<void(std::error_code, int)> on_signal = [&](std::error_code ec, int /*number*/) {
        if (ec) return;
        shutdown(std::exchange(again, true) ? time_point::min() : later(clock::now(), drain_timeout_));
        signals.async_wait(on_signal);
    };
    signals.async_wait(on_signal);
    std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards;
    for (asio::io_context* const each : contexts) guards.push_back(asio::make_work_guard(*each));
    asio::co_spawn(first, serve_once(), [&](std::exception_ptr thrown, bool outcome) {
        failure = std::move(thrown);
        clean = outcome;
        signals.cancel();
        guards.clear();
    });
    std::vector<std::thread> threads;
    const auto join_all = [&threads] {
        for (std::thread& each : threads) each.join();
    };
    try {
        for (asio::io_context* const each : contexts.subspan(1)) threads.emplace_back([each] { each->run(); });
    } catch (...) {  // the system has no more threads: nothing has begun to serve
        for (asio::io_context* const each : contexts) each->stop();
        join_all();
        throw;
    }
    first.run();
    join_all();
    if (failure) std::rethrow_exception(failure);
    return clean;
}

asio::awaitable<bool> server_life::serve() {
    begin();
    co_return co_await serve_once();
}

asio::awaitable<bool> server_life::serve_once() {
    const auto self = shared_from_this();
    // A cancellation is a wish, not an error: it never throws here, whenever it comes.
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    const auto before = (co_await asio::this_coro::cancellation_state).cancelled();
    if (before != asio::cancellation_type::none) shutdown(later(clock::now(), drain_timeout_));
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    running_.store(true, std::memory_order_release);
    start();
    co_await wait_for_shutdown();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    running_.store(false, std::memory_order_release);
    stop();
    bool clean = co_await wait_for_end(false);
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    if (!clean) {
        cut();
        (void)co_await wait_for_end(true);
    }
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (!finish()) clean = false;
    gone_.store(true, std::memory_order_release);
    say(fmt::format("not listening on {} any more", local_address()));
    co_return clean;
}

bool server_life::begin_task() {
    const std::lock_guard lock{mutex_};
    if (deadline_) return false;
    ++tasks_;
    return true;
}

void server_life::end_task() {
    const std::lock_guard lock{mutex_};
    if (--tasks_ == 0) resume_waiter_locked();
}

bool server_life::ending() const {
    const std::lock_guard lock{mutex_};
    return deadline_.has_value();
}

void server_life::resume_waiter_locked() {
    if (waiter_) std::exchange(waiter_, nullptr)->resume();
}

void server_life::shutdown(time_point deadline) {
    const std::lock_guard lock{mutex_};
    deadline_ = std::min(deadline_.value_or(time_point::max()), deadline);
    resume_waiter_locked();
}

/// Or until nothing is left that could serve.
asio::awaitable<void> server_life::wait_for_shutdown() {
    std::error_code ec;
    co_await park(
        [this](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            if (deadline_ || tasks_ == 0) return false;
            waiter_ = std::move(who);
            return true;
        },
        ec);
    const std::lock_guard lock{mutex_};
    waiter_ = nullptr;
    if (!deadline_) deadline_ = later(clock::now(), drain_timeout_);  // it was cancelled, or has ended
}

/// False if the deadline passes before.
asio::awaitable<bool> server_life::wait_for_end(bool whatever_it_takes) {
    steady_timer timer{co_await asio::this_coro::executor};
    for (;;) {
        std::error_code ec;
        co_await park(
            [&](parked_ptr who) {
                const std::lock_guard lock{mutex_};
                if (tasks_ == 0) return false;
                if (!whatever_it_takes) {
                    if (*deadline_ <= clock::now()) return false;
                    resume_at(timer, *deadline_, who);
                }
                waiter_ = std::move(who);
                return true;
            },
            ec);
        timer.cancel();
        const std::lock_guard lock{mutex_};
        waiter_ = nullptr;
        if (ec == asio::error::operation_aborted) deadline_ = time_point::min();  // cancelled once more
        if (tasks_ == 0) co_return true;
        if (!whatever_it_takes && *deadline_ <= clock::now()) co_return false;
    }
}

}  // namespace kephas
