#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/payload.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace kephas {

enum class [[nodiscard]] send_status : std::uint8_t { queued, full, closed };

/// What happens to a message for which the outbox has no room.
enum class overflow_policy : std::uint8_t {
    wait,         ///< `full` is answered; the caller waits for room and tries again.
    drop_newest,  ///< This message is dropped and counted.
    drop_oldest,  ///< Queued messages are dropped from the front until this one fits.
    latest,       ///< Takes the place of a queued message with the same key; without one: as `drop_oldest`.
    close,        ///< The client is too slow: `full` is answered and the caller closes it with 3008.
};

/// One encoded frame on its way out: a short head of its own and a body that may be shared.
struct outbound_frame {
    std::array<std::byte, 14> head;  ///< WebSocket frame header (up to 10 bytes unmasked) and a command id.
    std::uint8_t head_size = 0;
    payload body;

    [[nodiscard]] std::size_t size() const noexcept { return head_size + body.size(); }
};

struct outbound_limits {
    std::size_t max_messages = 256;
    std::size_t max_bytes = 1024 * 1024;       ///< One message always fits an empty queue, whatever its size.
    std::size_t max_control_bytes = 4 * 1024;  ///< Reserved for pongs, pings and close frames.
};

/// Every byte that was ever queued is in exactly one of the other counters, or still queued.
struct outbound_counters {
    std::uint64_t queued_messages = 0, queued_bytes = 0;
    std::uint64_t written_messages = 0, written_bytes = 0;
    std::uint64_t dropped_messages = 0, dropped_bytes = 0;      ///< By `drop_oldest`; `drop_newest` is never queued.
    std::uint64_t refused_messages = 0, refused_bytes = 0;      ///< By `drop_newest`: counted, never queued.
    std::uint64_t replaced_messages = 0, replaced_bytes = 0;    ///< By `latest`.
    std::uint64_t discarded_messages = 0, discarded_bytes = 0;  ///< Still queued when the connection ended.
    bool operator==(const outbound_counters&) const = default;
};

/// The frames that wait for one client, in order. Data frames are bounded in number and bytes; control frames have a
/// reserve of their own and leave at the next frame boundary, before queued data. A frame of which a part was
/// written is never dropped. Pure: no thread, no lock; `server/outbox` puts those around it.
/// Owns no heap memory while it is empty and trimmed.
class outbound_queue {
public:
    /// `limits` must outlive the queue.
    explicit outbound_queue(const outbound_limits& limits);

    /// Queues a data frame. After a close frame has been queued: `closed`.
    send_status push(outbound_frame&& frame, overflow_policy policy, std::uint64_t key = 0);
    /// Queues a control frame; false when the reserve has no room, which is when the caller should stop reading.
    [[nodiscard]] bool push_control(bytes_view frame);
    /// Queues our close frame behind the data that is queued now; nothing is accepted after it.
    /// False if a close frame was queued before: then this one is dropped.
    bool push_close(bytes_view frame);
    /// Discards every data and control frame not yet begun (counted) and queues `close_frame`, if it is not empty.
    void fail(bytes_view close_frame);
    /// Discards everything, counted: the connection is gone.
    void discard();

    /// Fills `out` with the bytes to write next, in order: frames up to `copy_threshold` bytes are copied to `scratch`,
    /// one after the other, so that many small frames are one buffer; bodies above it are referenced, and stay valid
    /// until `written()`, whatever is pushed in between. Returns how many elements of `out` are used.
    [[nodiscard]] std::size_t gather(std::span<bytes_view> out, mutable_bytes scratch);
    /// The kernel has accepted `size` bytes of what the last `gather` gave. Frames of that gather that were not begun
    /// may be dropped again afterwards.
    void written(std::size_t size);

    [[nodiscard]] bool empty() const noexcept;            ///< Nothing at all waits.
    [[nodiscard]] std::size_t messages() const noexcept;  ///< Data frames that wait.
    [[nodiscard]] std::size_t bytes() const noexcept;     ///< All bytes that wait, control frames included.
    [[nodiscard]] bool has_room(std::size_t size) const noexcept;  ///< Whether a data frame of `size` would be queued.
    [[nodiscard]] bool closed() const noexcept;                    ///< A close frame was queued, or all was discarded.
    [[nodiscard]] bool close_written() const noexcept;             ///< Our close frame has left completely.
    [[nodiscard]] const outbound_counters& counters() const noexcept;

    void trim() noexcept;  ///< Gives memory back if the queue is empty.

    static constexpr std::size_t copy_threshold = 2048;
};

}  // namespace kephas
