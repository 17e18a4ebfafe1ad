#include <kephas/server/client_state.hpp>
#include <kephas/server/clients.hpp>
#include <kephas/server/collect_stats.hpp>
#include <kephas/server/handler_pool.hpp>
#include <kephas/server/server_context.hpp>
#include <kephas/server/shard.hpp>

#include <array>
#include <utility>
#include <vector>

namespace kephas {

namespace {

std::string name_of_class(std::size_t index) {
    static constexpr std::array others{"3008", "3xxx", "4xxx", "other"};
    return index < 16 ? std::to_string(1000 + index) : others[index - 16];
}

/// Of two counters of which the first one goes ahead: read one after the other, they may look as if it did not.
std::size_t difference(std::uint64_t ahead, std::uint64_t behind) noexcept {
    return ahead > behind ? static_cast<std::size_t>(ahead - behind) : 0;
}

void collect_connections(server_stats& stats, const server_context& context) {
    const connection_counters& from = context.counters;
    stats.closed = from.closed;
    for (std::size_t by = 0; by < from.closes.size(); ++by) {
        for (std::size_t index = 0; index < connection_counters::close_classes; ++index) {
            const std::uint64_t count = from.closes[by][index];
            if (count > 0) stats.closes.push_back({static_cast<close_initiator>(by), name_of_class(index), count});
        }
    }
    stats.opened = from.opened;
    stats.refused = from.refused;
    stats.handshake_timeouts = from.handshake_timeouts;
    stats.accepted = from.accepted;
    stats.rate_limited = from.rate_limited;
    stats.slow_consumers = from.slow_consumers;
    stats.internal_errors = from.internal_errors;
    stats.tls_failures = from.tls_failures;
    stats.certificate_reloads = from.certificates.reloads;
    stats.certificate_reload_failures = from.certificates.failures;
    for (std::size_t i = 0; i < stats.http_responses.size(); ++i) stats.http_responses[i] = from.http_responses[i];
    const connection_gate& gate = *context.gate;
    stats.connections = gate.connections();
    stats.handshakes = gate.handshakes();
    stats.handshake_bytes = gate.handshake_bytes();
    stats.response_bytes = gate.response_bytes();
    stats.refusals = gate.refusals();
}

/// The number of jobs that were handed over to handlers.
std::uint64_t collect_shards(server_stats& stats, const client_registry& registry, std::vector<listener_traffic>& by_listener) {
    std::uint64_t jobs = 0;
    std::uint64_t calls_ended = 0;
    for (const auto& each : registry.shards) {
        stats.clients += each->size();
        stats.outbound += each->outbound(by_listener);
        const traffic_counters& traffic = each->traffic();
        stats.messages_received += traffic.messages_received;
        stats.messages_discarded += traffic.messages_discarded;
        stats.bytes_received += traffic.bytes_received;
        stats.bytes_sent += traffic.bytes_sent;
        jobs += traffic.jobs;
        calls_ended += each->calls_ended();
        stats.calls_started += each->calls_started();
        stats.slabs_idle += each->slabs().idle();
        stats.slabs_allocated += each->slabs().allocated();
    }
    stats.calls_pending = difference(stats.calls_started, calls_ended);
    if (!registry.shards.empty()) stats.outbox_memory = registry.shards.front()->outbox_budget().used();
    stats.broadcast_dropped = registry.dropped;
    return jobs;
}

}  // namespace

std::vector<std::shared_ptr<client_state>> collect_clients(const client_registry& registry) {
    std::vector<std::shared_ptr<client_state>> all;
    for (const auto& each : registry.shards) {
        each->for_each([&](client_state& client) { all.push_back(client.shared_from_this()); });
    }
    return all;
}

server_stats collect_stats(const server_context& context, const client_registry& registry,
                           std::vector<listener_traffic>& traffic) {
    server_stats stats;
    stats.draining = context.draining.load(std::memory_order_acquire);
    if (const auto since = context.serving_since.load(std::memory_order_acquire); since != time_point{}) {
        stats.uptime = clock::now() - since;
    }
    collect_connections(stats, context);

    // What happens last is read first.
    const handler_counters& outcomes = context.handlers->counters();
    stats.handlers_failed = outcomes.failed;
    stats.handlers_cancelled = outcomes.cancelled;
    stats.handlers_timed_out = outcomes.timed_out;
    stats.callbacks_failed = outcomes.callbacks_failed;
    handler_totals handlers = context.handlers->totals();
    for (const auto& each : registry.shards) {
        if (handler_pool* own = each->strand_handlers()) {
            const handler_totals more = own->totals();
            handlers.started += more.started;
            handlers.completed += more.completed;
        }
    }
    stats.handlers_started = handlers.started;
    stats.handlers_completed = handlers.completed + outcomes.refused;
    stats.handlers_running = difference(stats.handlers_started, stats.handlers_completed + stats.handlers_failed +
                                                                    stats.handlers_cancelled + stats.handlers_timed_out);
    for (const deflate_totals* compressed : std::array<const deflate_totals*, 2>{&context.deflated, &registry.deflated}) {
        stats.deflated_messages += compressed->messages;
        stats.deflated_bytes += compressed->bytes;
        stats.deflated_to_bytes += compressed->to_bytes;
    }
    stats.datagrams_answered = context.datagrams.answered;
    stats.datagrams_unanswered = context.datagrams.unanswered;
    stats.datagrams_malformed = context.datagrams.malformed;
    stats.datagrams_rate_limited = context.datagrams.rate_limited;
    stats.datagrams_overloaded = context.datagrams.overloaded;
    stats.datagrams_received = context.datagrams.received;
    const std::uint64_t jobs = collect_shards(stats, registry, traffic);
    stats.handlers_queued = difference(jobs, stats.handlers_started);
    return stats;
}

}  // namespace kephas
