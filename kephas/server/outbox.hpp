#pragma once

#include <kephas/net/parked.hpp>

#include <kephas/proto/session/outbound_queue.hpp>

#include <asio/awaitable.hpp>

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace kephas {

/// What one outbox, or several, did with what was sent, and what still waits. Each byte is in exactly one place:
/// queued = written + dropped + replaced + discarded + still queued, and what was saved by compressing it there:
/// `deflated.bytes - deflated.to_bytes`.
struct outbound_totals {
    outbound_counters counters;
    deflated_counters deflated;
    std::uint64_t still_queued_messages = 0, still_queued_bytes = 0;

    outbound_totals& operator+=(const outbound_totals& other) noexcept;
    bool operator==(const outbound_totals&) const = default;
};

/// What has to be told when an outbox goes from nothing to do to something to do.
class outbox_owner {
public:
    /// Called with the outbox locked, from any thread: it posts, and calls nothing back.
    virtual void wake() noexcept = 0;

protected:
    ~outbox_owner() = default;
};

/// The queue of frames for one client, shared between the threads that send and the strand that writes.
/// Concurrency: `push*`, `close` and the getters from any thread; `gather`, `written` and the rest on the strand.
class outbox {
public:
    /// What they refer to must outlive the outbox.
    outbox(const outbound_limits& limits, memory_budget& budget, outbox_owner& owner)
        : owner_{owner}, queue_{limits, &budget} {}

    [[nodiscard]] send_status push(outbound_frame&& frame, overflow_policy policy, std::uint64_t key = 0);
    /// Waits until there is room. `send_status::closed` if the client leaves first.
    /// Cancellation: all types; then the message is not queued.
    [[nodiscard]] asio::awaitable<send_status> push_when_room(outbound_frame frame);
    /// Waits until nothing is queued. False if the client leaves first.
    /// Cancellation: all types.
    [[nodiscard]] asio::awaitable<bool> drained();
    /// False if a frame of `size` that keeps `allocated` bytes could be pushed, or none ever will; otherwise `who` is
    /// resumed when that is so.
    [[nodiscard]] bool wait_for_room(std::size_t size, std::size_t allocated, parked_ptr who);
    [[nodiscard]] bool push_control(bytes_view frame);
    bool close(bytes_view close_frame);
    void fail(bytes_view close_frame);
    /// The connection is gone: everything queued is discarded, everybody who waits for room is told.
    void discard();

    /// As in `outbound_queue`. `compress_from` before anybody else sees the outbox, the others on the strand, which
    /// compresses while others push.
    void compress_from(std::size_t threshold);
    [[nodiscard]] std::optional<outbound_frame> take_uncompressed();
    void put_compressed(outbound_frame&& frame);

    /// While wakes are held, `push` does not call `wake`: the strand flushes by itself before it lets them go.
    /// `flushing` tells whether that flush will write something, or the kernel takes nothing just now.
    void hold_wakes(bool flushing);
    /// Lets them go. True if there is nothing to do: what comes later wakes.
    [[nodiscard]] bool let_wakes_go() noexcept;
    /// Whether a frame may leave past the queue: nothing waits there, nor does anybody wait for it, and it is not closed.
    [[nodiscard]] bool idle() const noexcept { return idle_.load(std::memory_order_acquire); }
    /// In the place of `written`, if frames that were to leave past the queue have not: what is left of them, as in
    /// `outbound_queue`.
    void put_back(bytes_view frames, std::size_t written, wire_format format);
    [[nodiscard]] std::size_t gather(std::span<bytes_view> out, mutable_bytes scratch);
    struct progress {
        std::size_t still_queued = 0;
        bool close_written = false;
    };
    progress written(std::size_t size);

    [[nodiscard]] bool empty() const;
    [[nodiscard]] bool closed() const;
    [[nodiscard]] std::size_t bytes() const;
    [[nodiscard]] outbound_totals totals() const;
    void trim();

private:
    void wake_locked() noexcept;
    void note_idle_locked() noexcept;
    enum class wake_reason : std::uint8_t { progress, closing, gone };
    void resume_waiters_locked(wake_reason reason);

    struct waiter {
        parked_ptr who;
        std::size_t size;       // zero: waits until the queue is empty
        std::size_t allocated;
    };
    [[nodiscard]] bool served_locked(const waiter& waiting) const noexcept {
        return waiting.size == 0 ? queue_.empty() && !flushing_.load(std::memory_order_relaxed)
                                 : queue_.has_room(waiting.size, waiting.allocated);
    }
    [[nodiscard]] bool wait_locked(waiter waiting);

    outbox_owner& owner_;
    // Looked at without the lock by the strand, which also changes the first two. Of a push and a flush at the same time one
    // sees the other: the push makes it busy and then looks for a pending wake, the flush lets wakes go and then looks
    // whether it is idle, all in one order (sequentially consistent).
    std::atomic<bool> wake_pending_{false};
    std::atomic<bool> flushing_{false};
    std::atomic<bool> idle_{true};
    mutable std::mutex mutex_;
    outbound_queue queue_;
    std::vector<waiter> waiters_;
};

}  // namespace kephas
