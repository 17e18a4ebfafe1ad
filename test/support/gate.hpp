#pragma once

#include <kephas/net/parked.hpp>

#include <asio/awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kephas::test {

/// Holds the coroutines that wait for it until it is opened. Thread-safe; must outlive the server whose handlers use it.
class gate {
public:
    /// Throws `operation_aborted` when it is cancelled, as any asynchronous operation does.
    asio::awaitable<void> wait() {
        std::error_code ec;
        bool suspended = false;
        co_await park(
            [&](parked_ptr who) {
                const std::lock_guard lock{mutex_};
                ++arrived_;
                changed_.notify_all();
                if (open_) return false;
                suspended = true;
                ++waiting_;
                waiters_.push_back(std::move(who));
                return true;
            },
            ec);
        if (suspended) {
            const std::lock_guard lock{mutex_};
            --waiting_;
            changed_.notify_all();
        }
        if (ec) throw std::system_error{ec};
    }

    /// Lets everybody go on, also those who come later.
    void open() {
        const std::lock_guard lock{mutex_};
        open_ = true;
        release(waiters_.size());
    }
    /// Lets those go on who came first.
    void let_go(std::size_t count) {
        const std::lock_guard lock{mutex_};
        release(count);
    }

    /// How many wait now.
    [[nodiscard]] std::size_t waiting() const {
        const std::lock_guard lock{mutex_};
        return waiting_;
    }
    /// How many have come so far.
    [[nodiscard]] std::size_t arrived() const {
        const std::lock_guard lock{mutex_};
        return arrived_;
    }
    /// Whether `count` have come within ten seconds.
    [[nodiscard]] bool wait_for_arrivals(std::size_t count) {
        return wait_until([&] { return arrived_ >= count; });
    }
    /// Whether exactly `count` are waiting within ten seconds.
    [[nodiscard]] bool wait_for_waiting(std::size_t count) {
        return wait_until([&] { return waiting_ == count; });
    }

private:
    template <class Condition>
    bool wait_until(Condition condition) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, std::chrono::seconds{10}, condition);
    }
    void release(std::size_t count) {
        for (std::size_t i = 0; i < count && i < waiters_.size(); ++i) waiters_[i]->resume();
        waiters_.erase(waiters_.begin(), waiters_.begin() + static_cast<std::ptrdiff_t>(std::min(count, waiters_.size())));
    }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<parked_ptr> waiters_;
    std::size_t waiting_ = 0;
    std::size_t arrived_ = 0;
    bool open_ = false;
};

/// What happened, in order. Thread-safe.
class journal {
public:
    void add(std::string_view what) {
        const std::lock_guard lock{mutex_};
        entries_.emplace_back(what);
        changed_.notify_all();
    }
    [[nodiscard]] std::vector<std::string> all() const {
        const std::lock_guard lock{mutex_};
        return entries_;
    }
    /// Whether there are that many entries within ten seconds.
    [[nodiscard]] bool wait_for(std::size_t count) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return entries_.size() >= count; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> entries_;
};

}  // namespace kephas::test
