#include <kephas/base/error.hpp>

#include <kephas/net/certificate_keeper.hpp>

#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace kephas {

namespace {

constexpr duration retry_interval = std::chrono::milliseconds{50};

const tls_options& checked(const tls_options& options) {
    check_tls_options(options);
    return options;
}

}  // namespace

certificate_keeper::certificate_keeper(tls_options options, certificate_counters& counters, logger log)
    : options_{checked(options)},
      counters_{counters},
      log_{std::move(log)},
      material_{tls_material::read(options_)},
      current_{std::make_shared<const tls_context>(options_, material_)} {}

std::shared_ptr<const tls_context> certificate_keeper::current() const {
    const std::lock_guard lock{mutex_};
    return current_;
}

certificate_reload certificate_keeper::reload() {
    // The caller's thread sleeps, and so it is real time that passes, whoever has the clock.
    using real_clock = std::chrono::steady_clock;
    const auto deadline = real_clock::now() + options_.reload_patience;
    for (;;) {
        certificate_reload result;
        {
            const std::lock_guard lock{reload_mutex_};
            result = try_once();
        }
        if (result.ok() || real_clock::now() >= deadline) {
            if (!result.ok()) report(result.problem);
            return result;
        }
        std::this_thread::sleep_for(std::min(retry_interval, deadline - real_clock::now()));
    }
}

/// With `reload_mutex_` held.
certificate_reload certificate_keeper::try_once() {
    try {
        return take(tls_material::read(options_));
    } catch (const std::system_error& failure) {
        return {certificate_reload::outcome::failed, failure.what()};
    }
}

certificate_reload certificate_keeper::take(tls_material material) {
    if (material == material_) return {};
    try {
        auto fresh = std::make_shared<const tls_context>(options_, material);
        material_ = std::move(material);
        {
            const std::lock_guard lock{mutex_};
            current_.swap(fresh);
        }
    } catch (const std::system_error& failure) {
        return {certificate_reload::outcome::failed, failure.what()};
    }
    counters_.reloads.fetch_add(1, std::memory_order_relaxed);
    log_.info("TLS certificates reloaded");
    return {certificate_reload::outcome::reloaded, {}};
}

void certificate_keeper::report(const std::string& problem) {
    counters_.failures.fetch_add(1, std::memory_order_relaxed);
    log_.error("TLS certificates not reloaded, the ones before stay in use: {}", escaped(problem, 1000));
}

asio::awaitable<void> certificate_keeper::watch() {
    const auto self = shared_from_this();
    if (options_.watch_interval == duration::zero()) co_return;
    timer_.emplace(co_await asio::this_coro::executor);
    duration pause = options_.watch_interval;
    while (!stopped_) {
        std::error_code ec;
        timer_->expires_after(pause);
        co_await timer_->async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (ec || stopped_) break;
        pause = look();
    }
    timer_.reset();  // it must not outlive its executor
}

void certificate_keeper::stop_watching(const asio::any_io_executor& executor) {
    asio::post(executor, [self = shared_from_this()] {
        self->stopped_ = true;
        if (self->timer_) self->timer_->cancel();
    });
}

/// One look at the files; how long until the next.
duration certificate_keeper::look() {
    const duration soon = std::min(options_.watch_interval, retry_interval);
    const std::unique_lock lock{reload_mutex_, std::try_to_lock};
    if (!lock.owns_lock()) return soon;  // somebody reloads them right now
    certificate_reload result;
    try {
        tls_material material = tls_material::read(options_);
        if (material != material_ && material != candidate_) {
            // Taken up when it looks the same a second time: a chain that is being written may be cut between two
            // certificates, which nothing else would show.
            candidate_ = std::move(material);
            return soon;
        }
        candidate_.reset();
        result = take(std::move(material));
    } catch (const std::system_error& failure) {
        result = {certificate_reload::outcome::failed, failure.what()};
    }
    if (result.ok()) {
        failing_since_.reset();
        reported_.clear();
        return options_.watch_interval;
    }
    const time_point now = clock::now();
    if (!failing_since_) failing_since_ = now;
    if (now - *failing_since_ < options_.reload_patience) return soon;
    if (reported_ != result.problem) report(reported_ = result.problem);  // once, not every second
    return options_.watch_interval;
}

}  // namespace kephas
