#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/proto/session/outbound_queue.hpp>

#include <kephas/net/resumer.hpp>
#include <kephas/net/steady_timer.hpp>

#include <kephas/server/job.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_signal.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace kephas {

class client_state;
class handler_pool;
class handler_work;
struct request_state;

/// What a runner works on: the jobs of one client, and whom it tells about them.
struct assignment {
    std::shared_ptr<client_state> from;
    std::shared_ptr<job_source> source;
};

/// One coroutine that runs handlers, one after the other, and is used again and again. It has an executor of its own
/// on which nothing else runs, so that it can be cancelled: an `asio::cancellation_signal` is not thread-safe.
class runner {
public:
    /// `once`: it ends by itself when its first work is done.
    runner(asio::any_io_executor strand, handler_pool& home, bool once) noexcept
        : strand_{std::move(strand)}, home_{home}, once_{once} {}
    runner(const runner&) = delete;
    runner& operator=(const runner&) = delete;

    /// Starts the coroutine, which waits for work. `ended` is called when it has been retired.
    void start(std::function<void()> ended);
    /// Gives it work, inline when the caller's thread may run its executor: then this returns once there is no more
    /// work, or a handler has suspended.
    void serve(assignment work);
    /// The same on its executor.
    void serve_here(assignment&& work) {
        work_ = std::move(work);
        idle_.resume();
    }
    /// Lets the coroutine end. Only while it has no work.
    void retire();

    /// Cancels the handler that is running, on the runner's executor, if it still is one for that client.
    void cancel_later(const handler_work& work);

    [[nodiscard]] const asio::any_io_executor& strand() const noexcept { return strand_; }

    // How many handlers it has started, and how many ended without an exception: any thread.
    [[nodiscard]] std::uint64_t started() const noexcept { return started_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t completed() const noexcept { return completed_.load(std::memory_order_relaxed); }

private:
    asio::awaitable<void> run();
    void before_handler(const request_state& state);
    /// What is sent in answer, if anything is.
    [[nodiscard]] std::optional<outbound_frame> answer(request_state& state, const std::exception_ptr& failure);
    [[nodiscard]] std::optional<outbound_frame> answer_command(request_state& state, const std::exception_ptr& failure);
    [[nodiscard]] std::optional<outbound_frame> answer_rpc(request_state& state, const std::exception_ptr& failure);
    /// Of a JSON-RPC method that has not failed. True if its answer leaves at once, or there is none; otherwise it is asked for
    /// next, and its text waits in `result_` if it is no part of a batch.
    [[nodiscard]] bool take_result(const request_state& state, job_source& source);
    void start_deadline(duration timeout);
    void end_deadline();
    void cancel_now();

    asio::any_io_executor strand_;
    handler_pool& home_;
    asio::cancellation_signal cancel_;
    resumer idle_;
    std::optional<assignment> work_;
    std::optional<steady_timer> deadline_;  // of the handler that runs, if there is one
    std::shared_ptr<bool> deadline_pending_;
    std::string result_;  // of a JSON-RPC method, as text; keeps its memory as long as results are short
    std::atomic<std::uint64_t> started_{0};  // written by this runner only, so that no cache line moves for it
    std::atomic<std::uint64_t> completed_{0};
    bool once_;
    bool cancellable_ = false;  // a handler runs, and may be cancelled
    bool was_cancelled_ = false;
    bool timed_out_ = false;
};

}  // namespace kephas
