#pragma once

#include <cstdint>

namespace kephas {

/// What a datagram socket has done so far. What was to be sent is either in `sent`, or in exactly one of those after it.
struct datagram_counters {
    std::uint64_t received = 0;
    std::uint64_t bytes_received = 0;  ///< Without what was cut off.
    std::uint64_t truncated = 0;       ///< Of `received`: those larger than `max_size`.
    std::uint64_t receive_calls = 0;   ///< System calls that brought something.

    std::uint64_t sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t queue_full = 0;  ///< The queue of the peer, or of the system, was full for too long.
    std::uint64_t too_big = 0;     ///< The system sends nothing as large.
    std::uint64_t peer_gone = 0;   ///< Nobody is there any more: a Unix socket that was closed.
    std::uint64_t failed = 0;      ///< Any other reason: no route, no permission.
    std::uint64_t send_calls = 0;  ///< System calls that sent something.

    bool operator==(const datagram_counters&) const = default;
};

}  // namespace kephas
