#pragma once

#include <kephas/base/clock.hpp>

#include <chrono>
#include <cstddef>

namespace kephas {

/// How many connections there may be at a time and how fast they may come. Whoever comes beyond a limit is answered at
/// once, with a `Retry-After`. Zero: no limit. The limits per address are off unless they are set: many users may be
/// behind one address, and behind a proxy all of them are (see `server_options::trusted_proxies`).
struct connection_limits {
    std::size_t total = 0;                             ///< 503. Zero: what the descriptors of the process allow, less a reserve.
    std::size_t handshakes = 16'384;                   ///< Of these, not yet WebSocket connections, or HTTP requests: 503.
    std::size_t handshake_bytes = 64 * 1024 * 1024;    ///< What they have sent so far, all together: 503.
    std::size_t response_bytes = 64 * 1024 * 1024;     ///< Of files that are being sent: 503. One always fits.
    std::size_t per_address = 0;                       ///< Open at a time: 429. An address is an IPv4 one, or 64 bits of IPv6.
    double per_address_rate = 0;                       ///< New ones a second: 429.
    double per_address_burst = 100;                    ///< How many may come at once before that.
    std::size_t addresses = 65'536;                    ///< How many addresses are told apart, with 24 bytes each. If more
                                                       ///< are connected at a time, some are let in uncounted.
    std::size_t lingering = 256;                       ///< Refused ones that are kept for `linger_timeout`, so that no
                                                       ///< reset takes the answer from them; then the oldest one goes.
    duration retry_after = std::chrono::seconds{5};    ///< What the `Retry-After` of a 429 or 503 says.
};

}  // namespace kephas
