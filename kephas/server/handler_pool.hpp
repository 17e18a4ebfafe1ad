#pragma once

#include <kephas/base/log_throttle.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/proto/jsonrpc/error_object.hpp>

#include <kephas/net/parked.hpp>

#include <kephas/server/burst.hpp>
#include <kephas/server/runner.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace kephas {

class client_state;
class routes;

/// What becomes of the handlers of the whole server that do not end as they should.
struct handler_counters {
    std::atomic<std::uint64_t> refused{0};    ///< Ended with a `request_error`: an answer.
    std::atomic<std::uint64_t> failed{0};     ///< Ended with an exception other than that and those below.
    std::atomic<std::uint64_t> cancelled{0};  ///< Ended with operation_aborted after their client had left.
    std::atomic<std::uint64_t> timed_out{0};
    std::atomic<std::uint64_t> callbacks_failed{0};
};

/// What all runners of a pool did; those of the callbacks are not among them.
struct handler_totals {
    std::uint64_t started = 0;
    std::uint64_t completed = 0;  ///< Without an exception.
};

/// Where `pool` and `serial` handlers run: an executor that one or many threads run, and the runners on it.
/// Concurrency: any thread.
class handler_pool : public std::enable_shared_from_this<handler_pool> {
public:
    using strand_factory = std::function<asio::any_io_executor()>;

    /// `strands` makes executors on `executor` that run one function at a time; `threads` is how many threads run it.
    handler_pool(std::shared_ptr<const kephas::routes> routes, asio::any_io_executor executor, strand_factory strands,
                 unsigned threads, handler_counters& counters, logger log);
    ~handler_pool();

    /// Posts a worker for this work.
    void submit(assignment work);
    /// Works on it at once, on the calling thread, which runs the executor.
    void work_on(assignment work);
    /// The same if the runners have no other executor, and the caller is inside it. For one runner, which does not share.
    void work_here(assignment&& work);
    /// Works on it at once with a runner that is used only once, on an executor of the caller's, which must be inside it.
    void work_once(const asio::any_io_executor& strand, assignment work);
    /// An empty burst with the memory of an earlier one; it comes back when nobody holds it any more.
    [[nodiscard]] std::shared_ptr<burst> take_burst();
    /// Whether a worker could start at once, as far as can be told.
    [[nodiscard]] bool has_idle_worker() const noexcept;

    [[nodiscard]] const kephas::routes& all_routes() const noexcept { return *routes_; }
    [[nodiscard]] handler_counters& counters() noexcept { return counters_; }
    /// Counts and logs the failure of a handler, and says what the peer is told about it.
    [[nodiscard]] jsonrpc::error_object account(const std::exception_ptr& failure, bool timed_out, client_state& from);
    /// The same for a callback.
    void account_callback(const std::exception_ptr& failure, client_state& from);
    [[nodiscard]] handler_totals totals() const;
    [[nodiscard]] const logger& log() const noexcept { return log_; }

    /// Ends all runners, when no work is left for them. Completes when they have ended.
    [[nodiscard]] asio::awaitable<void> stop();

private:
    friend class runner;

    /// An idle runner or a new one; null once the pool is stopping, when there is nothing left to do.
    [[nodiscard]] runner* take();
    runner* add(asio::any_io_executor strand, bool once);
    /// False if the pool is stopping: then the runner ends.
    [[nodiscard]] bool give_back(runner& who);
    void give_back(std::unique_ptr<burst> used) noexcept;
    void ended(runner& who);

    std::shared_ptr<const kephas::routes> routes_;
    asio::any_io_executor executor_;
    strand_factory strands_;
    unsigned threads_;
    logger log_;
    handler_counters& counters_;
    std::atomic<unsigned> workers_{0};  // posted or at work

    enum class outcome : std::uint8_t { refused, failed, cancelled };
    [[nodiscard]] jsonrpc::error_object judge(const std::exception_ptr& failure, client_state& from, outcome& how);
    void log_failure(log_level level, std::string_view what, const client_state& from);

    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<runner>> runners_;
    handler_totals ended_;  // of the runners that are no more
    std::vector<runner*> idle_;
    std::vector<std::unique_ptr<burst>> idle_bursts_;
    log_throttle datagram_failures_;  // anybody could send one as often as he likes
    bool stopping_ = false;
    parked_ptr stopper_;
};

}  // namespace kephas
