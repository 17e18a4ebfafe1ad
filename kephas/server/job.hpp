#pragma once

#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/message.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
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
    bool cancellable = true;  ///< `on_disconnect` is not: its client has left already.
    std::optional<command_id> command{};  ///< The command that was received, if it was one.
    slice payload{};
    std::size_t counted_bytes = 0;  ///< What it holds of the client's limit; released when it ends.
    std::unique_ptr<rpc_call> rpc{};
    std::unique_ptr<std::function<asio::awaitable<void>()>> callback{};

    /// It is done: lets go of what it held, and is as new.
    void clear() noexcept {
        target = nullptr;
        opcode = websocket::opcode::binary;
        command.reset();
        payload = {};
        counted_bytes = 0;
        rpc.reset();
        callback.reset();
        cancellable = true;
    }
};

static_assert(sizeof(job) <= 72 || sizeof(void*) != 8, "a client that has sent something keeps places for a few");

/// Jobs in order, each of which is done where it waits. Keeps its memory while it is in use; single-threaded.
class job_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] std::size_t size() const noexcept {
        return lists_ ? lists_->taken.used - lists_->next + lists_->added.used : 0;
    }
    /// An empty job at the end, to be filled before anything else happens.
    [[nodiscard]] job& add() {
        if (!lists_) lists_ = std::make_unique<lists>();
        list& last = lists_->added;
        if (last.used == last.places.size()) last.places.emplace_back();
        return last.places[last.used++];
    }
    /// The first job, which stays where it is until the next call, whatever is added; by then it is to be cleared. Null if
    /// there is none.
    [[nodiscard]] job* take() noexcept {
        if (!lists_) return nullptr;
        if (lists_->next == lists_->taken.used) take_added();
        return lists_->next == lists_->taken.used ? nullptr : &lists_->taken.places[lists_->next++];
    }
    /// Gives its memory back if it is empty and the last job is done: the last `take` has said that there is none.
    void trim() noexcept {
        if (lists_ && lists_->taken.used == 0 && lists_->added.used == 0) lists_.reset();
    }
    /// Both parts of what waits: the one that comes first, and the other.
    [[nodiscard]] std::span<job> waiting() noexcept {
        return lists_ ? lists_->taken.jobs().subspan(lists_->next) : std::span<job>{};
    }
    [[nodiscard]] std::span<job> waiting_behind() noexcept { return lists_ ? lists_->added.jobs() : std::span<job>{}; }

private:
    struct list {
        std::vector<job> places;  // those behind the jobs are empty
        std::size_t used = 0;
        [[nodiscard]] std::span<job> jobs() noexcept { return std::span{places}.first(used); }
    };
    struct lists {
        list taken;            // all at once, so that nothing moves them
        std::size_t next = 0;  // of them
        list added;
    };

    void take_added() noexcept {
        static constexpr std::size_t worth_keeping = 64;
        list& done = lists_->taken;
        if (done.places.capacity() > worth_keeping) std::vector<job>{}.swap(done.places);
        done.used = lists_->next = 0;
        std::swap(done, lists_->added);
    }

    std::unique_ptr<lists> lists_;  // none while nothing happens
};

/// Where a runner finds its next job. `next` is called on the runner's strand.
class job_source {
public:
    job_source() = default;
    job_source(const job_source&) = delete;
    job_source& operator=(const job_source&) = delete;
    virtual ~job_source() = default;

    /// The next job, which stays where it is until the same runner asks again. Null if there is none.
    [[nodiscard]] virtual job* next() = 0;
    /// Whether another runner could find a job here.
    [[nodiscard]] virtual bool may_share() const noexcept = 0;
    /// Whether these are the handlers that run on the strand of their client.
    [[nodiscard]] virtual bool on_strand() const noexcept { return false; }
    /// On the strand: takes a short reply that leaves at once, together with others. False if it has to be queued.
    [[nodiscard]] virtual bool take_reply(websocket::opcode /*op*/, std::optional<command_id> /*id*/,
                                          bytes_view /*body*/) noexcept {
        return false;
    }
    /// Takes an answer that did not leave at once, where its client's outbox is not the place for it. False: it is.
    [[nodiscard]] virtual bool take_answer(outbound_frame&& /*frame*/, bool /*is_error*/) { return false; }
};

}  // namespace kephas
