#pragma once

#include <atomic>
#include <cstdint>

namespace kephas {

/// What became of the datagrams of all listeners. Concurrency: any thread.
struct datagram_totals {
    std::atomic<std::uint64_t> received{0};
    // of these, those that nobody handled
    std::atomic<std::uint64_t> malformed{0};     ///< Without room for an id, or cut off.
    std::atomic<std::uint64_t> rate_limited{0};
    std::atomic<std::uint64_t> overloaded{0};    ///< As many were under way as there may be.
    std::atomic<std::uint64_t> answered{0};      ///< Replies that were handed to the socket.
    std::atomic<std::uint64_t> unanswered{0};    ///< Replies that could not be sent: too large, to nobody, or nobody there.
};

}  // namespace kephas
