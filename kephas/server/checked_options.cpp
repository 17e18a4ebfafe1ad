#include <kephas/proto/command/frame.hpp>

#include <kephas/net/tls_context.hpp>

#include <kephas/server/checked_options.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace kephas {

namespace {

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument{what};
}

}  // namespace

std::shared_ptr<const server_options> checked_options(server_options options) {
    require(options.outbox.max_messages > 0 && options.outbox.max_bytes > 0, "outbox: its limits must not be zero");
    require(options.in_flight.messages > 0 && options.in_flight.bytes > 0, "in_flight: its limits must not be zero");
    require(options.datagrams.in_flight > 0, "datagrams.in_flight must not be zero");
    require(options.datagrams.bytes > 0, "datagrams.bytes must not be zero");
    require(options.max_batch > 0, "max_batch must not be zero");
    require(options.connections.per_address_rate <= 0 || options.connections.per_address_burst >= 1,
            "connections: a burst below one connection lets nobody in");
    require(options.metrics_path.empty() || options.metrics_path.starts_with('/'), "metrics_path must begin with a slash");
    require(options.drain.batch > 0, "drain.batch must not be zero");
    require(options.drain.jitter >= 0 && options.drain.jitter <= 1, "drain.jitter is a share, from 0 to 1");
    require(options.rate_limit.messages_per_second <= 0 || options.rate_limit.burst >= 1,
            "rate_limit: a burst below one message lets nothing through");
    require(options.control_rate_limit.messages_per_second <= 0 || options.control_rate_limit.burst >= 1,
            "control_rate_limit: a burst below one frame lets nothing through");
    const auto over_tls = [](const std::string& text) {
        return text.starts_with("wss:") || text.starts_with("https:") || text.starts_with("tls");
    };
    if (!options.tls.certificates.empty() || std::ranges::any_of(options.listen, over_tls)) check_tls_options(options.tls);
    const deflate_options& deflate = options.deflate;
    const auto within = [](int value, int least, int most) { return value >= least && value <= most; };
    require(within(deflate.server_max_window_bits, 8, 15) && within(deflate.client_max_window_bits, 8, 15),
            "deflate: a window has 8 to 15 bits");
    require(within(deflate.level, 1, 9) && within(deflate.memory_level, 1, 9),
            "deflate: level and memory_level are 1 to 9");
    return std::make_shared<const server_options>(std::move(options));
}

session_options session_options_of(const server_options& options) {
    session_options session;
    session.max_binary_message = options.max_binary_payload + command_id_size;
    session.max_text_message = options.max_text_message;
    session.max_fragments = options.max_fragments;
    session.max_empty_fragments = options.max_empty_fragments;
    session.messages_per_second = options.rate_limit.messages_per_second;
    session.message_burst = options.rate_limit.burst;
    session.controls_per_second = options.control_rate_limit.messages_per_second;
    session.control_burst = options.control_rate_limit.burst;
    session.read_timeout = options.read_timeout;
    session.ping_interval = options.ping_interval;
    session.write_timeout = options.write_timeout;
    session.message_timeout = options.message_timeout;
    session.close_timeout = options.close_timeout;
    return session;
}

}  // namespace kephas
