#pragma once

#include <kephas/base/logger.hpp>

#include <kephas/proto/jsonrpc/error_object.hpp>

#include <kephas/net/parked.hpp>

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

/// What handlers did, for the whole server.
struct handler_counters {
    std::atomic<std::uint64_t> started{0};
    std::atomic<std::uint64_t> failed{0};     ///< Ended with an exception other than those below.
    std::atomic<std::uint64_t> cancelled{0};  ///< Ended with operation_aborted after their client had left.
    std::atomic<std::uint64_t> timed_out{0};
};

/// Where `pool` and `serial` handlers run: an executor that one or many threads run, and the runners on it.
/// Concurrency: any thread.
class handler_pool : public std::enable_shared_from_this<handler_pool> {
public:
    using strand_factory = std::function<asio::any_io_executor()>;

    /// `strands` makes executors on `executor` that run one function at a time; `threads` is how many threads run it.
    handler_pool(asio::any_io_executor executor, strand_factory strands, unsigned threads, handler_counters& counters,
                 logger log);
    ~handler_pool();

    /// Posts a worker for this work.
    void submit(assignment work);
    /// Works on it at once, on the calling thread, which runs the executor.
    void work_on(assignment work);
    /// Works on it at once with a runner that is used only once, on an executor of the caller's, which must be inside it.
    void work_once(const asio::any_io_executor& strand, assignment work);
    /// Whether a worker could start at once, as far as can be told.
    [[nodiscard]] bool has_idle_worker() const noexcept;

    [[nodiscard]] handler_counters& counters() noexcept { return counters_; }
    /// Counts and logs the failure of a handler, and says what the peer is told about it.
    [[nodiscard]] jsonrpc::error_object account(const std::exception_ptr& failure, bool timed_out, client_state& from);
    [[nodiscard]] const logger& log() const noexcept { return log_; }

    /// Ends all runners; none may be inside a handler. Completes when they have ended.
    [[nodiscard]] asio::awaitable<void> stop();

private:
    friend class runner;

    [[nodiscard]] runner& take();
    runner& add(asio::any_io_executor strand, bool once);
    /// Its work is done. False if it has to end, because the pool stops.
    [[nodiscard]] bool give_back(runner& who);
    void ended(runner& who);

    asio::any_io_executor executor_;
    strand_factory strands_;
    unsigned threads_;
    logger log_;
    handler_counters& counters_;
    std::atomic<unsigned> workers_{0};  // posted or at work

    std::mutex mutex_;
    std::vector<std::unique_ptr<runner>> runners_;
    std::vector<runner*> idle_;
    parked_ptr stopper_;
    bool stopping_ = false;
};

}  // namespace kephas
