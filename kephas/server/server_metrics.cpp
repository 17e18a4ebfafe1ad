#include <kephas/proto/http/metrics_text.hpp>

#include <kephas/server/server_stats.hpp>

#include <chrono>
#include <string_view>

namespace kephas {

namespace {

using http::metrics_text;

class writer {
public:
    void gauge(std::string_view name, std::string_view help, std::uint64_t value) {
        text.begin(name, metrics_text::kind::gauge, help);
        text.sample(value);
    }
    void counter(std::string_view name, std::string_view help, std::uint64_t value) {
        text.begin(name, metrics_text::kind::counter, help);
        text.sample(value);
    }
    metrics_text text;
};

std::string_view name_of(close_initiator initiator) noexcept {
    switch (initiator) {
        case close_initiator::peer: return "peer";
        case close_initiator::server: return "server";
        case close_initiator::transport: break;
    }
    return "transport";
}

void write_connections(writer& out, const server_stats& stats) {
    out.gauge("kephas_connections", "Open connections of any kind.", stats.connections);
    out.gauge("kephas_handshakes", "Open connections that are not yet WebSocket connections, or HTTP requests.", stats.handshakes);
    out.gauge("kephas_handshake_bytes", "What unfinished handshakes have sent so far.", stats.handshake_bytes);
    out.gauge("kephas_response_bytes", "Bytes of files that are being sent.", stats.response_bytes);
    out.gauge("kephas_clients", "Open WebSocket connections.", stats.clients);
    out.counter("kephas_connections_accepted_total", "Accepted connections, the refused ones included.", stats.accepted);
    out.counter("kephas_connections_opened_total", "Connections that became WebSocket connections.", stats.opened);
    out.text.begin("kephas_connections_refused_total", metrics_text::kind::counter, "Connections that were not let in, by reason.");
    for (std::size_t i = 0; i < refusal_reason_count; ++i) {
        const auto reason = static_cast<refusal_reason>(i);
        out.text.sample(stats.refused_for(reason), {{"reason", to_string(reason)}});
    }
    out.text.begin("kephas_connections_closed_total", metrics_text::kind::counter,
                   "WebSocket connections that ended, by who began it and the close code.");
    for (const close_count& each : stats.closes) {
        out.text.sample(each.count, {{"initiator", name_of(each.initiator)}, {"code", each.code}});
    }
    out.text.begin("kephas_http_responses_total", metrics_text::kind::counter, "HTTP responses, by the class of their status.");
    static constexpr std::string_view classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (std::size_t i = 2; i < 6; ++i) out.text.sample(stats.http_responses[i], {{"status", classes[i]}});
    out.counter("kephas_rate_limited_total", "Clients that were closed because they sent too much.", stats.rate_limited);
    out.counter("kephas_slow_consumers_total", "Clients that were closed because they read too slowly.", stats.slow_consumers);
    out.counter("kephas_tls_failures_total", "TLS handshakes that failed.", stats.tls_failures);
    out.counter("kephas_certificate_reloads_total", "Times that new certificates were taken up.", stats.certificate_reloads);
    out.counter("kephas_certificate_reload_failures_total", "Times that new certificates could not be used.",
                stats.certificate_reload_failures);
    out.counter("kephas_internal_errors_total", "Connections that ended with an exception.", stats.internal_errors);
}

void write_traffic(writer& out, const server_stats& stats) {
    out.counter("kephas_messages_received_total", "Data messages from clients.", stats.messages_received);
    out.counter("kephas_messages_discarded_total", "Data messages that came while their connection was closing.",
                stats.messages_discarded);
    out.counter("kephas_received_bytes_total", "Bytes that were read from connections.", stats.bytes_received);
    out.counter("kephas_sent_bytes_total", "Bytes that were written to connections.", stats.bytes_sent);
    out.counter("kephas_broadcast_dropped_total", "Messages of broadcasts that a client did not get.", stats.broadcast_dropped);
    out.counter("kephas_deflated_messages_total", "Messages that were compressed, a broadcast once.", stats.deflated_messages);
    out.counter("kephas_deflated_from_bytes_total", "Bytes of messages that were compressed.", stats.deflated_bytes);
    out.counter("kephas_deflated_to_bytes_total", "What those bytes became.", stats.deflated_to_bytes);
}

void write_listeners(writer& out, const server_stats& stats) {
    const auto each_of = [&](std::string_view name, metrics_text::kind what, std::string_view help, auto value) {
        out.text.begin(name, what, help);
        for (const listener_stats& each : stats.listeners) out.text.sample(value(each), {{"listener", each.url}});
    };
    using stats_type = const listener_stats&;
    const auto counter = metrics_text::kind::counter;
    each_of("kephas_listener_accepted_total", counter, "Connections that were accepted, by listener.",
            [](stats_type each) -> std::uint64_t { return each.accepted; });
    each_of("kephas_listener_clients", metrics_text::kind::gauge, "Open connections of clients, by listener.",
            [](stats_type each) -> std::uint64_t { return each.clients; });
    each_of("kephas_listener_received_bytes_total", counter, "Bytes that clients have sent, by listener.",
            [](stats_type each) { return each.traffic.bytes_received; });
    each_of("kephas_listener_sent_bytes_total", counter, "Bytes that were sent to clients, by listener.",
            [](stats_type each) { return each.traffic.bytes_sent; });
    each_of("kephas_listener_received_messages_total", counter, "Messages that clients have sent, by listener.",
            [](stats_type each) { return each.traffic.messages_received; });
    each_of("kephas_listener_sent_messages_total", counter, "Messages that were sent to clients, by listener.",
            [](stats_type each) { return each.traffic.messages_sent; });
}

void write_datagrams(writer& out, const server_stats& stats) {
    out.counter("kephas_datagrams_received_total", "Datagrams that have come.", stats.datagrams_received);
    out.text.begin("kephas_datagrams_dropped_total", metrics_text::kind::counter, "Datagrams that nobody handled, by why.");
    out.text.sample(stats.datagrams_malformed, {{"reason", "malformed"}});
    out.text.sample(stats.datagrams_rate_limited, {{"reason", "rate_limited"}});
    out.text.sample(stats.datagrams_overloaded, {{"reason", "overloaded"}});
    out.text.begin("kephas_datagram_replies_total", metrics_text::kind::counter, "Replies in datagrams, by what became of them.");
    out.text.sample(stats.datagrams_answered, {{"state", "sent"}});
    out.text.sample(stats.datagrams_unanswered, {{"state", "lost"}});
}

void write_outbox(writer& out, const server_stats& stats) {
    const outbound_counters& counts = stats.outbound.counters;
    out.text.begin("kephas_outbox_messages_total", metrics_text::kind::counter,
                   "Messages to clients: queued, and what became of them. refused were never queued.");
    out.text.sample(counts.queued_messages, {{"state", "queued"}});
    out.text.sample(counts.written_messages, {{"state", "written"}});
    out.text.sample(counts.dropped_messages, {{"state", "dropped"}});
    out.text.sample(counts.replaced_messages, {{"state", "replaced"}});
    out.text.sample(counts.discarded_messages, {{"state", "discarded"}});
    out.text.sample(counts.refused_messages, {{"state", "refused"}});
    out.text.begin("kephas_outbox_bytes_total", metrics_text::kind::counter, "The same in bytes, control frames included.");
    out.text.sample(counts.queued_bytes, {{"state", "queued"}});
    out.text.sample(counts.written_bytes, {{"state", "written"}});
    out.text.sample(counts.dropped_bytes, {{"state", "dropped"}});
    out.text.sample(counts.replaced_bytes, {{"state", "replaced"}});
    out.text.sample(counts.discarded_bytes, {{"state", "discarded"}});
    out.text.sample(counts.refused_bytes, {{"state", "refused"}});
    out.gauge("kephas_outbox_waiting_messages", "Messages that wait to be written.",
              stats.outbound.still_queued_messages);
    out.gauge("kephas_outbox_waiting_bytes", "Bytes that wait to be written, by reference.",
              stats.outbound.still_queued_bytes);
    out.gauge("kephas_outbox_memory_bytes", "Memory that all outboxes keep, what they share once.", stats.outbox_memory);
}

void write_handlers(writer& out, const server_stats& stats) {
    out.gauge("kephas_handlers_queued", "Messages that wait for their handler.", stats.handlers_queued);
    out.gauge("kephas_handlers_running", "Handlers that run or are suspended.", stats.handlers_running);
    out.counter("kephas_handlers_started_total", "Handlers that were started.", stats.handlers_started);
    out.text.begin("kephas_handlers_ended_total", metrics_text::kind::counter, "Handlers that ended, by how.");
    out.text.sample(stats.handlers_completed, {{"outcome", "completed"}});
    out.text.sample(stats.handlers_failed, {{"outcome", "failed"}});
    out.text.sample(stats.handlers_cancelled, {{"outcome", "cancelled"}});
    out.text.sample(stats.handlers_timed_out, {{"outcome", "timed_out"}});
    out.counter("kephas_callbacks_failed_total", "authorize, on_connect and on_disconnect that threw.", stats.callbacks_failed);
    out.gauge("kephas_calls_pending", "Calls of clients that wait for their answer.", stats.calls_pending);
    out.counter("kephas_calls_started_total", "Calls of clients.", stats.calls_started);
}

}  // namespace

std::string to_prometheus(const server_stats& stats) {
    writer out;
    out.text.begin("kephas_uptime_seconds", metrics_text::kind::gauge, "Time since the server began to serve.");
    out.text.sample(std::chrono::duration<double>{stats.uptime}.count());
    out.gauge("kephas_draining", "1 while the server shuts down.", stats.draining ? 1 : 0);
    write_connections(out, stats);
    write_traffic(out, stats);
    write_listeners(out, stats);
    write_datagrams(out, stats);
    write_outbox(out, stats);
    write_handlers(out, stats);
    out.gauge("kephas_slabs_idle", "Read buffers that nobody uses, of 128 KiB each.", stats.slabs_idle);
    out.counter("kephas_slabs_allocated_total", "Read buffers that were allocated.", stats.slabs_allocated);
    return std::move(out.text).text();
}

std::string to_prometheus(const std::vector<connection_stats>& connections) {
    metrics_text text;
    const auto each_of = [&](std::string_view name, metrics_text::kind what, std::string_view help, auto value) {
        text.begin(name, what, help);
        for (const connection_stats& each : connections) {
            const std::string id = each.id.to_string();
            text.sample(value(each), {{"client_id", id}, {"remote_addr", each.remote_address}, {"listener", each.listener}});
        }
    };
    using stats_type = const connection_stats&;
    const auto counter = metrics_text::kind::counter;
    each_of("kephas_connection_age_seconds", metrics_text::kind::gauge, "How long a client has been connected.",
            [](stats_type each) { return std::chrono::duration<double>{each.age}.count(); });
    each_of("kephas_connection_received_bytes_total", counter, "Bytes that one client has sent.",
            [](stats_type each) { return each.traffic.bytes_received; });
    each_of("kephas_connection_sent_bytes_total", counter, "Bytes that were sent to one client.",
            [](stats_type each) { return each.traffic.bytes_sent; });
    each_of("kephas_connection_received_messages_total", counter, "Messages that one client has sent.",
            [](stats_type each) { return each.traffic.messages_received; });
    each_of("kephas_connection_sent_messages_total", counter, "Messages that were sent to one client.",
            [](stats_type each) { return each.traffic.messages_sent; });
    return std::move(text).text();
}

}  // namespace kephas
