#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/memory_budget.hpp>
#include <kephas/base/payload.hpp>

#include <kephas/proto/command/wire_format.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace kephas {

enum class [[nodiscard]] send_status : std::uint8_t{queued, full, closed};

/// What happens to a message for which the outbox has no room.
enum class overflow_policy : std::uint8_t {
    wait,         ///< `full` is answered; the caller waits for room and tries again.
    drop_newest,  ///< This message is dropped and counted.
    drop_oldest,  ///< Queued messages are dropped from the front until this one fits.
    latest,       ///< Takes the place of a queued message that was pushed with `latest` and the same key, if it fits
                  ///< there; without one, or if it does not: as `drop_oldest`.
    close,        ///< The client is too slow: `full` is answered and the caller closes it with 3008.
};

/// One encoded frame on its way out: a short head of its own and a body that may be shared.
struct outbound_frame {
    std::array<std::byte, 14> head;  ///< WebSocket frame header (up to 10 bytes unmasked), or the length on a stream; a command id.
    std::uint8_t head_size = 0;
    bool as_is = false;  ///< Not to be compressed: it is already, or that would be in vain.
    payload body;

    [[nodiscard]] std::size_t size() const noexcept { return head_size + body.size(); }
};

struct outbound_limits {
    std::size_t max_messages = 256;
    std::size_t max_bytes = 1024 * 1024;       ///< One message always fits an empty queue, whatever its size.
    std::size_t max_control_bytes = 4 * 1024;  ///< Reserved for pongs, pings and close frames; our close always fits.
};

/// Every byte that was ever queued is in exactly one of the other counters, or still queued, or was saved by compressing
/// it there (`deflated_counters`). Bytes are those of all
/// frames, messages are data frames only (as `bytes()` and `messages()`). Of a message that is cut off by
/// `discard()`, the part already written counts among the written bytes.
struct outbound_counters {
    std::uint64_t queued_messages = 0, queued_bytes = 0;
    std::uint64_t written_messages = 0, written_bytes = 0;
    std::uint64_t dropped_messages = 0, dropped_bytes = 0;      ///< By `drop_oldest`; `drop_newest` is never queued.
    std::uint64_t refused_messages = 0, refused_bytes = 0;      ///< By `drop_newest`, or no room could be made.
    std::uint64_t replaced_messages = 0, replaced_bytes = 0;    ///< By `latest`.
    std::uint64_t discarded_messages = 0, discarded_bytes = 0;  ///< Still queued when the connection ended.
    bool operator==(const outbound_counters&) const = default;
};

/// What was compressed while it was queued: the difference between the last two is what it saved.
struct deflated_counters {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;     ///< Before.
    std::uint64_t to_bytes = 0;  ///< And after.
    bool operator==(const deflated_counters&) const = default;
};

/// The frames that wait for one client, in order. Data frames are bounded in number and bytes; control frames have a
/// reserve of their own and leave at the next frame boundary, before queued data. A frame of which a part was
/// written is never dropped. Pure: no thread, no lock; `server/outbox` puts those around it.
/// Owns no heap memory while it is empty and trimmed.
///
/// What waits may be charged to a budget that many queues share. Without room in that, a frame is treated as if this
/// queue were full, except that one always fits an empty queue, and 64 KiB one that the last write has emptied. The last
/// quarter of the budget is kept from the others: a client that takes what it gets does not notice that those have used
/// up the rest.
class outbound_queue {
public:
    /// `limits` and `budget`, if there is one, must outlive the queue.
    explicit outbound_queue(const outbound_limits& limits, memory_budget* budget = nullptr) noexcept
        : limits_{&limits}, budget_{budget} {}
    outbound_queue(const outbound_queue&) = delete;
    outbound_queue& operator=(const outbound_queue&) = delete;
    ~outbound_queue();

    /// Queues a data frame. After a close frame has been queued: `closed`. `full` means that it was not queued; with
    /// `drop_oldest` and `latest` that is so only while frames that are being written leave no room for it.
    /// `frame` is moved from only if it was queued.
    send_status push(outbound_frame&& frame, overflow_policy policy, std::uint64_t key = 0);
    /// Queues a control frame of at most 255 bytes (RFC 6455 5.5 allows 131); false when the reserve has no room, which
    /// is when the caller should stop reading. Once our close frame has begun, or the queue has failed, nothing may
    /// follow: the frame is ignored and the answer is true.
    [[nodiscard]] bool push_control(bytes_view frame);
    /// Queues our close frame behind the data that is queued now; no data is accepted after it, and control frames only
    /// until it begins. An empty one closes without a frame.
    /// False if the queue was closed before: then this one is dropped.
    bool push_close(bytes_view frame);
    /// Discards every data and control frame not yet begun (counted) and queues `close_frame`, if it is not empty and
    /// no close frame has begun. Only the first call does anything.
    void fail(bytes_view close_frame);
    /// Discards everything, counted: the connection is gone. What `gather` gave is no longer valid, and a `written()`
    /// for it is ignored.
    void discard() noexcept;

    /// From now on data frames of at least `threshold` bytes are given to the caller to be compressed before they leave.
    /// To be called before anything has left.
    void compress_from(std::size_t threshold);
    /// The next frame to compress, if there is one: its place is kept until `put_compressed`. Frames that are smaller,
    /// or `as_is`, are passed over. From here on none of these is dropped, because what is compressed with context
    /// takeover has to arrive: hence only as much is given as fits into one large write (64 KiB), and more once that
    /// has left.
    [[nodiscard]] std::optional<outbound_frame> take_uncompressed() noexcept;
    /// Puts what was taken back into its place, `as_is` if it is compressed now.
    void put_compressed(outbound_frame&& frame) noexcept;

    /// Fills `out` with the bytes to write next, in order: what is left of a frame is copied to `scratch` if that is at
    /// most `copy_threshold` bytes, one after the other, so that many small frames are one buffer; bodies above it are
    /// referenced, and stay valid until `written()`, whatever is pushed in between. Returns how many elements of `out`
    /// are used: none only if nothing waits, or `out` or `scratch` is empty. The last frame may be given in part.
    [[nodiscard]] std::size_t gather(std::span<bytes_view> out, mutable_bytes scratch) noexcept;
    /// The kernel has accepted `size` bytes of what the last `gather` gave. Frames of that gather that were not begun
    /// may be dropped again afterwards.
    void written(std::size_t size) noexcept;

    /// Queues data frames that were given to the kernel past the queue, and of which this is left: whole ones of a server's, one
    /// behind the other, and `written` bytes of the first have left already. They come before everything else, of which
    /// nothing may have begun to leave; no limit keeps them out. Not for a queue that compresses.
    void put_back(bytes_view frames, std::size_t written, wire_format format = wire_format::websocket);

    [[nodiscard]] bool empty() const noexcept { return count_ == 0 && control_bytes_ == 0; }  ///< Nothing at all waits.
    [[nodiscard]] std::size_t messages() const noexcept { return count_; }  ///< Data frames that wait.
    /// All bytes that wait, control frames included.
    [[nodiscard]] std::size_t bytes() const noexcept { return data_bytes_ + control_bytes_; }
    /// Whether a data frame of `size` that keeps `allocated` bytes would be queued without anything being dropped for it.
    [[nodiscard]] bool has_room(std::size_t size, std::size_t allocated = 0) const noexcept {
        return !closed_ && fits(count_, data_bytes_, size) && affordable(count_, allocated);
    }
    /// A close frame was queued, or all was discarded.
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    /// `fail` or `discard` was called.
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    /// Our close frame has left completely.
    [[nodiscard]] bool close_written() const noexcept { return close_written_; }
    [[nodiscard]] const outbound_counters& counters() const noexcept { return counters_; }
    [[nodiscard]] deflated_counters deflated() const noexcept {
        return compression_ ? compression_->counters : deflated_counters{};
    }

    void trim() noexcept;  ///< Gives memory back if the queue is empty.

    /// Until the next `written()`, what is pushed is not charged: most frames leave with the burst in which they came,
    /// and what is left then is charged. Only for a queue whose frames are about to be written.
    void defer_charges() noexcept { charges_deferred_ = true; }

    static constexpr std::size_t copy_threshold = 2048;
    static constexpr std::size_t most_compressed = 64 * 1024;

private:
    struct entry {
        outbound_frame frame;
        std::uint64_t key;
        bool replaceable;  // pushed with `latest`
        enum class charge : std::uint8_t { none, own, shared } charged = charge::none;
    };
    class gather_list;

    [[nodiscard]] entry& at(std::size_t index) const noexcept { return entries_[(head_ + index) & (capacity_ - 1)]; }
    [[nodiscard]] bool fits(std::size_t messages, std::size_t bytes, std::size_t size) const noexcept {
        return messages == 0 ||
               (messages < limits_->max_messages && bytes <= limits_->max_bytes && size <= limits_->max_bytes - bytes);
    }
    [[nodiscard]] bool affordable(std::size_t messages, std::size_t cost) const noexcept;
    [[nodiscard]] bool affordable(std::size_t messages, const payload& body) const noexcept;
    void charge(entry& fresh) noexcept;
    void charge_new() noexcept;
    void release_idle_ring(bool own_burst) noexcept;
    void release(entry& old) noexcept;
    // Frames before this one are with the kernel, or begun.
    [[nodiscard]] std::size_t first_unbegun() const noexcept {
        return data_in_flight_ == 0 && front_written_ > 0 ? 1 : data_in_flight_;
    }
    // Frames from here on may be dropped: those before are that, or have been compressed.
    [[nodiscard]] std::size_t first_droppable() const noexcept {
        if (!compression_) return first_unbegun();
        return std::max<std::size_t>(first_unbegun(), compression_->ready + (compression_->taken ? 1 : 0));
    }
    [[nodiscard]] bool can_make_room(std::size_t size) const noexcept;
    [[nodiscard]] bool replace(outbound_frame& frame, std::uint64_t key, std::size_t size);
    void drop_oldest(std::size_t size, const payload& body) noexcept;
    void append(outbound_frame&& frame, std::uint64_t key, bool replaceable, std::size_t size);
    void erase(std::size_t index, std::size_t how_many) noexcept;
    void grow();
    void release_entries() noexcept;

    [[nodiscard]] bool close_queued() const noexcept { return close_at_ < control_.size(); }
    [[nodiscard]] bool close_begun() const noexcept {
        return close_in_flight_ || close_part_written_ > 0 || close_written_;
    }
    void append_close(bytes_view frame);
    void discard_close() noexcept;
    void discard_unbegun() noexcept;
    std::size_t forget_ready(std::size_t index, std::size_t size) noexcept;

    [[nodiscard]] bool gather_data(gather_list& list, std::size_t index) noexcept;
    [[nodiscard]] bool gather_controls(gather_list& list) noexcept;
    void take_front(std::size_t& size) noexcept;
    void take_controls(std::size_t& size) noexcept;
    void take_close(std::size_t& size) noexcept;

    const outbound_limits* limits_;
    memory_budget* budget_;

    // Data: a ring of `capacity_` (a power of two) entries, allocated when there is something to hold.
    entry* entries_ = nullptr;
    std::uint32_t capacity_ = 0;
    std::uint32_t head_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t data_in_flight_ = 0;  // how many entries the last gather touched
    std::uint32_t charged_ = 0;         // how many entries, from the front, are charged to the budget ...
    std::uint32_t ring_charged_ = 0;    // ... and for how many the ring itself is
    std::size_t data_bytes_ = 0;        // that wait
    std::size_t front_written_ = 0;     // how much of the first entry has left

    // How many of the first entries may leave, and how many bytes of them wait. The next one may be taken: then its
    // frame is empty, and counts with the size that it had.
    struct compression {
        std::size_t threshold = 0;
        std::size_t ready_bytes = 0;
        std::size_t taken_size = 0;
        std::uint32_t ready = 0;
        bool taken = false;
        deflated_counters counters;
    };
    std::unique_ptr<compression> compression_;  // most queues have none

    // Control frames, each behind a byte with its size; then, from `close_at_` to the end, our close frame.
    std::vector<std::byte> control_;
    std::uint32_t close_at_ = 0;             // where the control frames end
    std::uint32_t control_in_flight_ = 0;    // where those end that the last gather touched
    std::uint32_t control_bytes_ = 0;        // that wait, the close frame included
    std::uint32_t gathered_ = 0;             // how many bytes the last gather gave, or more than this can count
    std::uint8_t close_part_written_ = 0;    // how much of the close frame has left
    std::uint8_t control_part_written_ = 0;  // how much of the first control frame has left

    bool close_in_flight_ = false;
    bool close_written_ = false;
    bool closed_ = false;
    bool failed_ = false;
    bool charges_deferred_ = false;
    bool stalled_ = false;  // the last write has left some of what the gather gave

    outbound_counters counters_;
};

}  // namespace kephas
