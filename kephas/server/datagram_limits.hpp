#pragma once

#include <kephas/base/clock.hpp>

#include <chrono>
#include <cstddef>

namespace kephas {

/// What `udp://` and `unixgram://` listeners bear, each for itself. How many messages a peer may send is `rate_limit`.
struct datagram_limits {
    std::size_t in_flight = 1'024;  ///< Datagrams whose handlers, or replies, are under way. More are dropped, and counted.
    /// Bytes of these datagrams and of the replies that wait to be sent. Beyond it datagrams are dropped, and counted; a handler
    /// that runs already may still reply.
    std::size_t bytes = 16 * 1024 * 1024;
    /// A handler that takes longer is cancelled: no peer that leaves does it, as on connections. Zero: none is, unless
    /// `server_options::handler_timeout` says so, which holds too if it is shorter.
    duration handler_timeout = std::chrono::seconds{10};
    std::size_t peers = 16'384;     ///< Whose rate is known at a time, with 24 bytes each.
    /// Whether errors are answered too. A sender's address may be forged, and then what is answered goes to somebody who has asked
    /// for nothing: leave it off where strangers can send. The same is true of every reply that is much larger than what asks for it:
    /// over `udp://` on the open Internet, serve no such command.
    bool error_replies = false;
};

}  // namespace kephas
