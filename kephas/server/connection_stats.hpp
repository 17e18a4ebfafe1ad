#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/uuid.hpp>

#include <kephas/server/traffic.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace kephas {

/// The connections of one listener.
struct listener_stats {
    std::string url;  ///< "ws://127.0.0.1:8080/ws", or "attached" for those that the program has handed over.
    std::uint64_t accepted = 0;  ///< The refused ones included.
    std::size_t clients = 0;     ///< Now.
    kephas::traffic traffic{};   ///< Of its clients, of those too that have left.

    bool operator==(const listener_stats&) const = default;
};

/// One client's connection.
struct connection_stats {
    uuid id{};                     ///< As in the lines of the log.
    std::string remote_address{};
    std::string identity{};
    std::string listener{};        ///< As `listener_stats::url`; empty when the client was asked and not the server.
    duration age{};                ///< Since it was opened, until it has left.
    kephas::traffic traffic{};

    /// Since it was opened, on average.
    [[nodiscard]] traffic_rates rates() const noexcept { return rates_between({}, traffic, age); }
};

}  // namespace kephas
