#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/proto/session/connection_end.hpp>

#include <cstdint>
#include <string_view>

namespace kephas {

/// What a client is doing about its connection.
enum class link_state : std::uint8_t {
    idle,          ///< `connect` was never called.
    connecting,    ///< There was no connection yet.
    connected,     ///< Messages go both ways.
    reconnecting,  ///< It was lost; the next one is awaited, attempted, or prepared by `on_connected`.
    closed,        ///< For good, unless `connect` is called again.
};

[[nodiscard]] constexpr std::string_view to_string(link_state state) noexcept {
    constexpr std::string_view names[] = {"idle", "connecting", "connected", "reconnecting", "closed"};
    return names[static_cast<std::size_t>(state)];
}

/// What `on_state` is told. `reconnecting` comes once for each attempt.
struct link_change {
    link_state before = link_state::idle;
    link_state now = link_state::idle;
    std::uint32_t attempt = 0;  ///< Of the attempts in a row, which one begins after `delay`.
    duration delay{};
    connection_end why{};  ///< Of `reconnecting` and `closed`.

    bool operator==(const link_change&) const = default;
};

/// What a client has done since it was made. Each message that was taken is sent, dropped, or still queued.
struct client_stats {
    std::uint64_t connections = 0;        ///< That were opened, the first one among them.
    std::uint64_t failed_attempts = 0;    ///< Attempts that led to none.
    std::uint64_t messages_taken = 0;     ///< By `send`, `call`, ..., and replies of handlers.
    std::uint64_t messages_sent = 0;      ///< The kernel has taken them whole.
    std::uint64_t messages_dropped = 0;   ///< Taken, but not sent when a connection, or the client, has ended.
    std::uint64_t messages_queued = 0;    ///< Now.
    std::uint64_t bytes_queued = 0;
    std::uint64_t messages_received = 0;
    std::uint64_t messages_unhandled = 0;  ///< Dropped, because of `drop_unhandled` or because the client was closing.
    std::uint64_t bytes_sent = 0;          ///< On the wire, as far as the client sees it: below TLS there are more.
    std::uint64_t bytes_received = 0;
    std::uint64_t handlers_failed = 0;  ///< Handlers, hooks and callbacks that have thrown.

    bool operator==(const client_stats&) const = default;
};

}  // namespace kephas
