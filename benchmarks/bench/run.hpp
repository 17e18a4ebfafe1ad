#pragma once

#include "histogram.hpp"
#include "options.hpp"
#include "server_process.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>

namespace bench {

struct measurement {
    histogram latencies;  ///< Nanoseconds; its count is the number of messages.
    histogram lags;       ///< Open loop: nanoseconds by which messages left later than intended.
    std::uint64_t replies =
        0;               ///< In the window. In an open loop whose server falls behind they are fewer than the messages.
    double seconds = 0;  ///< Length of the window.
    std::int64_t server_cpu_nanoseconds = 0;
    std::int64_t client_cpu_nanoseconds = 0;
    std::int64_t server_resident_bytes = 0;  ///< At the end of the window, connections still open.
    std::size_t clean_closes = 0;            ///< Connections that ended with a pong and a close frame.
};

struct progress {
    double seconds;  ///< Since the load began.
    double of;       ///< How long it is going to be; 0: until all messages are sent.
    std::uint64_t messages;
};

/// Opens the connections, puts the load on the server, and closes them. `server` may be null; `watch`, if there is one,
/// is told now and then how far it has come. Throws server_fault and std::system_error.
[[nodiscard]] measurement run(const options&, const server_process* server,
                              const std::function<void(const progress&)>& watch);

struct idle_memory {
    std::int64_t resident_bytes;  ///< Of the server, with all connections.
    double each;                  ///< By how much a connection made it larger.
};

/// Only opens the connections. What the server allocates once, for the first client, is not counted.
[[nodiscard]] idle_memory measure_idle(const options&, const server_process&);

}  // namespace bench
