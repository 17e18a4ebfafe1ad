#pragma once

#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/message.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace kephas {

struct route;
class rpc_batch;

/// A JSON-RPC request on its way to its handler.
struct rpc_call {
    jsonrpc::request request;
    std::shared_ptr<rpc_batch> batch;  ///< Null for a single request.
    std::size_t slot = 0;              ///< Its place in the batch.
};

/// One thing that a runner does for a client: a handler with what it was called for, or a callback.
struct job {
    const route* target = nullptr;  ///< Null for a callback.
    websocket::opcode opcode = websocket::opcode::binary;
    std::optional<command_id> command{};  ///< The command that was received, if it was one.
    slice payload{};
    std::size_t counted_bytes = 0;  ///< What it holds of the client's limit; released when it ends.
    std::unique_ptr<rpc_call> rpc{};
    std::unique_ptr<std::function<asio::awaitable<void>()>> callback{};
    bool cancellable = true;  ///< `on_disconnect` is not: its client has left already.
};

/// Jobs in order. Keeps its memory while it is in use; single-threaded.
class job_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return next_ == jobs_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return jobs_.size() - next_; }
    /// An empty job at the end, to be filled before anything else happens.
    [[nodiscard]] job& add() {
        if (jobs_.size() == jobs_.capacity() && next_ >= jobs_.size() / 2) drop_consumed();  // rather than grow
        return jobs_.emplace_back();
    }
    /// False if it is empty.
    [[nodiscard]] bool pop(job& first) {
        if (empty()) return false;
        first = std::move(jobs_[next_++]);
        if (empty()) clear();
        return true;
    }
    /// Gives its memory back if it is empty.
    void trim() noexcept {
        if (!empty()) return;
        jobs_ = std::vector<job>{};
        next_ = 0;
    }
    [[nodiscard]] std::span<job> waiting() noexcept { return std::span{jobs_}.subspan(next_); }

private:
    /// A queue that never runs empty would otherwise keep the places of all the jobs that it ever had.
    void drop_consumed() {
        jobs_.erase(jobs_.begin(), jobs_.begin() + static_cast<std::ptrdiff_t>(next_));
        next_ = 0;
    }
    void clear() {
        static constexpr std::size_t worth_keeping = 64;
        if (jobs_.capacity() > worth_keeping) jobs_ = std::vector<job>{};
        jobs_.clear();
        next_ = 0;
    }

    std::vector<job> jobs_;
    std::size_t next_ = 0;
};

/// Where a runner finds its next job. `next` is called on the runner's strand.
class job_source {
public:
    job_source() = default;
    job_source(const job_source&) = delete;
    job_source& operator=(const job_source&) = delete;
    virtual ~job_source() = default;

    /// Puts the next job into `out`. False, and `out` as it was, if there is none.
    [[nodiscard]] virtual bool next(job& out) = 0;
    /// Whether another runner could find a job here.
    [[nodiscard]] virtual bool may_share() const noexcept = 0;
    /// Whether these are the handlers that run on the strand of their client.
    [[nodiscard]] virtual bool on_strand() const noexcept { return false; }
    /// On the strand: takes a short reply that leaves at once, together with others. False if it has to be queued.
    [[nodiscard]] virtual bool take_reply(websocket::opcode /*op*/, std::optional<command_id> /*id*/,
                                          bytes_view /*body*/) noexcept {
        return false;
    }
};

}  // namespace kephas
