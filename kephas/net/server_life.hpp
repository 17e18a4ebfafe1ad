#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/net/parked.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kephas {

/// What servers of streams and of datagrams have in common from their beginning to their end: each serves once, until it is told
/// to end or nothing is left of it, waits for its tasks until the deadline, and has the rest cut.
/// Concurrency: any thread, except where it says otherwise. What derives from it is held by a `std::shared_ptr`.
class server_life : public std::enable_shared_from_this<server_life> {
public:
    server_life(const server_life&) = delete;
    server_life& operator=(const server_life&) = delete;
    virtual ~server_life() = default;

    /// Binds, if that was not done.
    virtual void listen() = 0;
    /// `socket_server::run`: the first context on this thread, each other on a thread of its own.
    [[nodiscard]] bool run(std::span<asio::io_context* const> contexts);
    /// `socket_server::serve`.
    [[nodiscard]] asio::awaitable<bool> serve();
    void shutdown(time_point deadline);

    [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }
    [[nodiscard]] bool gone() const noexcept { return gone_.load(std::memory_order_acquire); }
    /// Where it is bound, or was.
    [[nodiscard]] virtual std::string local_address() const = 0;

protected:
    server_life(duration drain_timeout, logger log, std::function<void(std::string_view)> on_message)
        : drain_timeout_{drain_timeout}, log_{std::move(log)}, on_message_{std::move(on_message)} {}

    // In this order, each once.
    virtual void start() = 0;  ///< Begins the tasks.
    virtual void stop() = 0;   ///< Takes nothing new.
    virtual void cut() = 0;    ///< Ends what is left, because the deadline has passed.
    /// Lets go of everything. False if something has failed, whatever became of the deadline.
    [[nodiscard]] virtual bool finish() { return true; }

    /// One more task. False, and there is none, once the end has begun.
    [[nodiscard]] bool begin_task();
    void end_task();
    [[nodiscard]] bool ending() const;

    void say(const std::string& what);
    /// Calls a callback of the program's; what it throws is logged.
    template <class Callback>
    void guarded(const char* what, Callback callback) noexcept {
        try {
            callback();
        } catch (...) {
            log_thrown(what, std::current_exception());
        }
    }
    [[nodiscard]] const logger& log() const noexcept { return log_; }

private:
    void begin();
    [[nodiscard]] asio::awaitable<bool> serve_once();
    [[nodiscard]] asio::awaitable<void> wait_for_shutdown();
    [[nodiscard]] asio::awaitable<bool> wait_for_end(bool whatever_it_takes);
    void resume_waiter_locked();
    void log_thrown(const char* what, const std::exception_ptr& failure) const noexcept;

    const duration drain_timeout_;
    const logger log_;
    const std::function<void(std::string_view)> on_message_;

    std::atomic<bool> begun_{false};
    std::atomic<bool> running_{false};
    std::atomic<bool> gone_{false};

    mutable std::mutex mutex_;
    std::size_t tasks_ = 0;               // that have not ended
    std::optional<time_point> deadline_;  // of the shutdown
    parked_ptr waiter_;                   // of serve_once
};

}  // namespace kephas
