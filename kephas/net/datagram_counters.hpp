#pragma once

#include <cstdint>
#include <system_error>

namespace kephas {

/// What a datagram socket has done so far. What was to be sent is either in `sent`, or in exactly one of those after it, once it
/// is not queued any more; but for what a `try_send` that returns false leaves to its caller.
struct datagram_counters {
    std::uint64_t received = 0;
    std::uint64_t bytes_received = 0;  ///< Without what was cut off.
    std::uint64_t truncated = 0;       ///< Of `received`: those larger than `max_size`.
    std::uint64_t receive_calls = 0;   ///< System calls that brought something.

    std::uint64_t sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t queue_full = 0;  ///< The queue of the peer, or of the system, was full for too long.
    std::uint64_t too_big = 0;     ///< Nothing as large can be sent.
    std::uint64_t peer_gone = 0;   ///< Nobody is there any more, as far as that is known.
    std::uint64_t failed = 0;      ///< Any other reason: no route, no permission, closed, cancelled.
    std::uint64_t send_calls = 0;  ///< System calls that sent something.

    /// Counts one that was not sent.
    void note_unsent(const std::error_code& why) noexcept {
        if (why == std::errc::no_buffer_space || why == std::errc::not_enough_memory) ++queue_full;
        else if (why == std::errc::message_size) ++too_big;
        else if (why == std::errc::connection_refused || why == std::errc::no_such_file_or_directory) ++peer_gone;
        else ++failed;
    }

    bool operator==(const datagram_counters&) const = default;
};

}  // namespace kephas
