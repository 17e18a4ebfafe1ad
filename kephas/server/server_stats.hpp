#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/server/close_info.hpp>
#include <kephas/server/connection_stats.hpp>
#include <kephas/server/outbox.hpp>
#include <kephas/server/refusal_reason.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kephas {

/// How many WebSocket connections ended in one way.
struct close_count {
    close_initiator initiator = close_initiator::transport;
    std::string code;  ///< "1000" to "1015", "3008", "3xxx" and "4xxx" for the others from 3000 on, "other".
    std::uint64_t count = 0;

    bool operator==(const close_count&) const = default;
};

/// One look at everything that a server counts. Counters begin with the server and never decrease; each is exact, but they
/// are read one after the other while the server goes on.
struct server_stats {
    duration uptime{};  ///< Since it began to serve; zero before.
    bool draining = false;

    // now
    std::size_t connections = 0;      ///< Of any kind.
    std::size_t handshakes = 0;       ///< Of these, not yet WebSocket connections, or HTTP requests.
    std::size_t handshake_bytes = 0;  ///< What those have sent so far.
    std::size_t response_bytes = 0;   ///< Of files that are being sent.
    std::size_t clients = 0;          ///< WebSocket connections.

    // connections
    std::uint64_t accepted = 0;            ///< By the listeners and `attach`, the refused ones included.
    std::uint64_t refused = 0;             ///< Answered with an HTTP status from 400 on.
    std::uint64_t handshake_timeouts = 0;  ///< Not answered at all.
    std::uint64_t tls_failures = 0;        ///< TLS handshakes that failed, other than by a peer that went away.
    std::uint64_t opened = 0, closed = 0;  ///< WebSocket connections.
    std::array<std::uint64_t, refusal_reason_count> refusals{};  ///< By `refusal_reason`; see `refused_for`.
    std::vector<close_count> closes{};                           ///< All that `closed` counts, by how they ended.
    std::array<std::uint64_t, 6> http_responses{};               ///< By the first digit of their status.
    std::uint64_t rate_limited = 0;      ///< Clients closed with 1008 because they sent too many messages or pings.
    std::uint64_t slow_consumers = 0;    ///< Clients closed with 3008.
    std::uint64_t certificate_reloads = 0;          ///< Times that new certificates were taken up.
    std::uint64_t certificate_reload_failures = 0;  ///< Times that new ones were reported as unusable.
    std::uint64_t internal_errors = 0;   ///< Connections that ended with an exception: defects, each with a log line.

    // traffic
    std::uint64_t messages_received = 0;   ///< Data messages that were handed on.
    std::uint64_t messages_discarded = 0;  ///< Those that arrived while the connection was closing.
    std::uint64_t bytes_received = 0, bytes_sent = 0;  ///< As the kernel gave and took them; over TLS what was in it.
    std::uint64_t broadcast_dropped = 0;   ///< What broadcasts could not deliver: to a full or closed outbox.
    std::vector<listener_stats> listeners{};  ///< As in `server_options::listen`, and then those that were attached, if there were any.
    outbound_totals outbound{};     ///< What was sent to clients, of those too that have left.
    std::size_t outbox_memory = 0;  ///< Bytes that all outboxes keep now; `server_options::outbox_budget` limits it.

    std::uint64_t deflated_messages = 0;   ///< Compressed; a broadcast once for all clients that share the parameters.
    std::uint64_t deflated_bytes = 0, deflated_to_bytes = 0;  ///< Their bytes before and after.

    // datagrams, of all listeners
    std::uint64_t datagrams_received = 0;
    std::uint64_t datagrams_malformed = 0;     ///< Of these, dropped: without room for an id, or cut off.
    std::uint64_t datagrams_rate_limited = 0;  ///< Dropped: their sender has sent too many.
    std::uint64_t datagrams_overloaded = 0;    ///< Dropped: as many were under way as `datagrams.in_flight` allows.
    std::uint64_t datagrams_answered = 0;
    std::uint64_t datagrams_unanswered = 0;  ///< Replies that could not be sent: too large, or nobody there to take them.

    // handlers, each element of a JSON-RPC batch for itself:
    // started = running + completed + failed + cancelled + timed_out
    std::size_t handlers_queued = 0;
    std::size_t handlers_running = 0;      ///< Or suspended.
    std::uint64_t handlers_started = 0;
    std::uint64_t handlers_completed = 0;  ///< Those that threw a `request_error` are among them: it is an answer.
    std::uint64_t handlers_failed = 0;     ///< With another exception.
    std::uint64_t handlers_cancelled = 0;  ///< With operation_aborted after their client had left.
    std::uint64_t handlers_timed_out = 0;
    std::uint64_t callbacks_failed = 0;    ///< `authorize`, `on_connect` and `on_disconnect` that threw.

    // calls of clients
    std::size_t calls_pending = 0;
    std::uint64_t calls_started = 0;

    // read buffers
    std::size_t slabs_idle = 0;
    std::uint64_t slabs_allocated = 0;

    [[nodiscard]] std::uint64_t refused_for(refusal_reason reason) const noexcept {
        return refusals[static_cast<std::size_t>(reason)];
    }
    /// Of all its listeners.
    [[nodiscard]] kephas::traffic traffic() const noexcept {
        kephas::traffic all;
        for (const listener_stats& each : listeners) all += each.traffic;
        return all;
    }
};

/// What went through the server per second between two looks at it.
[[nodiscard]] inline traffic_rates rates_between(const server_stats& before, const server_stats& after) noexcept {
    return rates_between(before.traffic(), after.traffic(), after.uptime - before.uptime);
}

/// The same as text in the exposition format of Prometheus (0.0.4): what `GET /metrics` answers.
[[nodiscard]] std::string to_prometheus(const server_stats& stats);
/// The same of single connections; they have to have different ids.
[[nodiscard]] std::string to_prometheus(const std::vector<connection_stats>& connections);

}  // namespace kephas
