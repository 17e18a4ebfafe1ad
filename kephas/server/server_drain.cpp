// How a server ends.
#include <kephas/net/steady_timer.hpp>

#include <kephas/server/server_implementation.hpp>

#include <asio/this_coro.hpp>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

namespace kephas {

asio::awaitable<void> server::implementation::wait_for_stop() {
    std::error_code ec;  // operation_aborted when serve() is cancelled
    co_await park(
        [this](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            if (stops_ > 0) return false;
            stop_waiter_ = std::move(who);
            return true;
        },
        ec);
    const std::lock_guard lock{mutex_};
    stop_waiter_ = nullptr;
    if (ec) ++stops_;
}

void server::implementation::hurry() {
    const std::lock_guard lock{mutex_};
    stops_ = std::max(stops_, 2U);
}

asio::awaitable<bool> server::implementation::wait_for_sessions(time_point deadline) {
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) hurry();
    std::error_code ec;
    steady_timer timer{co_await asio::this_coro::executor};
    co_await park(
        [&](parked_ptr who) {
            if (deadline != time_point::max()) {
                timer.expires_at(deadline);
                timer.async_wait([who](std::error_code failed) {
                    if (!failed) who->resume();
                });
            }
            const std::lock_guard lock{mutex_};
            if (tasks_ == 0 || (stops_ > 1 && deadline != time_point::max())) return false;
            end_waiter_ = std::move(who);
            return true;
        },
        ec);
    timer.cancel();
    if (ec) hurry();
    const std::lock_guard lock{mutex_};
    end_waiter_ = nullptr;
    co_return tasks_ == 0;
}

asio::awaitable<drain_report> server::implementation::drain() {
    const drain_options& options = context_.options->drain;
    drain_report report;
    context_.draining.store(true, std::memory_order_release);
    for (const auto& each : listeners_) each->stop();
    for (const auto& each : datagrams_) each->stop();
    lingerers_->stop();
    if (certificates_) certificates_->stop_watching(watcher_);

    auto present = sessions();
    std::minstd_rand random{std::random_device{}()};
    std::shuffle(present.begin(), present.end(), random);
    std::uniform_real_distribution<double> share{1 - options.jitter, 1 + options.jitter};
    const time_point deadline = clock::now() + options.deadline;
    std::size_t told = 0;
    for (const auto& each : present) {
        each->request_leave(options.code);
        if (++told % options.batch == 0 && told < present.size()) {
            const auto interval = std::chrono::duration_cast<duration>(options.batch_interval * share(random));
            const bool done = co_await wait_for_sessions(std::min(deadline, clock::now() + interval));
            if (done) break;
        }
    }
    bool done = co_await wait_for_sessions(deadline);
    const auto late = sessions();
    report.left_in_time = present.size() - std::min(present.size(), late.size());
    if (done) co_return report;

    report.cancelled = late.size();
    for (const auto& each : late) each->request_cancel(options.code);
    for (const auto& each : datagrams_) each->cancel();
    done = co_await wait_for_sessions(clock::now() + options.grace);
    if (done) co_return report;
    const auto last = sessions();
    report.cut = last.size();
    for (const auto& each : last) each->request_cut();
    for (const auto& each : datagrams_) each->close();
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    while (!co_await wait_for_sessions(time_point::max())) {  // every further stop() ends the wait, not what is waited for
    }
    co_return report;
}

void server::implementation::stop() {
    const std::lock_guard lock{mutex_};
    ++stops_;
    if (stop_waiter_) std::exchange(stop_waiter_, nullptr)->resume();
    else if (stops_ > 1 && end_waiter_) std::exchange(end_waiter_, nullptr)->resume();
}

}  // namespace kephas
