#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/proto/http/origin.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/deflate_options.hpp>

#include <kephas/net/tls_options.hpp>
#include <kephas/net/unix_socket_file.hpp>

#include <kephas/server/connection_limits.hpp>
#include <kephas/server/datagram_limits.hpp>
#include <kephas/server/stderr_sink.hpp>

#include <asio/any_io_executor.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kephas {

/// Where the handler of a route runs, and in which order.
enum class dispatch : std::uint8_t {
    pool,       ///< On the handler pool, concurrently, in no promised order: anything that may block or compute.
    serial,     ///< On the handler pool, one at a time per client, in the order of arrival.
    on_strand,  ///< On the client's strand, in the order of arrival: cheap handlers that never block.
};

/// Where the error of a command goes.
enum class error_replies : std::uint8_t {
    error_channel,  ///< As a JSON-RPC error object on the reserved id 0xFFFFFFFE.
    same_channel,   ///< As plain text on the command's own id, for peers written for the Go implementation.
};

/// A token bucket per client. A rate of zero means no limit.
struct rate_limit_options {
    double messages_per_second = 100;
    double burst = 200;
};
/// No limit on the rate of a client's messages.
[[nodiscard]] constexpr rate_limit_options no_rate_limit() noexcept { return {.messages_per_second = 0, .burst = 0}; }

/// How much of one client's work may be queued, running or suspended before its socket is no longer read.
struct in_flight_options {
    std::size_t messages = 64;
    std::size_t bytes = 1024 * 1024;  ///< One message always fits.
};

/// The phases of a graceful stop.
struct drain_options {
    duration deadline = std::chrono::seconds{10};          ///< For handlers to end and queued messages to leave.
    duration grace = std::chrono::seconds{1};              ///< After the deadline, for cancelled handlers; then cut.
    close_code code = close_code::going_away;              ///< 1001, or 1012 when the server comes back at once.
    std::size_t batch = 1'000;                             ///< Clients that are told to leave at a time ...
    duration batch_interval = std::chrono::milliseconds{50};  ///< ... and the time between two batches, on average.
    double jitter = 0.5;  ///< From 0 to 1: by which share of itself an interval is longer or shorter, at random. Who leaves
                          ///< when is always random: clients that come back elsewhere should not do it all at once.
};

/// Everything about a server that can be set. Zero disables a timeout, a rate or an interval; sizes are in bytes.
struct server_options {
    /// `ws://HOST:PORT/PATH` (WebSocket, `/health`), `http://HOST:PORT` (files, `/health`), `tcp://HOST:PORT` (commands, each
    /// behind its length), `unix:///PATH` or `unix://@NAME` (commands, and WebSocket at `/ws`); `wss://`, `https://` and
    /// `tls://` are the same over TLS and need `tls.certificates`. `udp://HOST:PORT` and `unixgram:///PATH` take a command in each
    /// datagram, and answer it with one: there are no clients, and `authorize` is not asked. A sender's address may be forged: over
    /// `udp://` on the open Internet serve nothing whose reply is much larger than its request.
    /// Port 0 takes a free one; `server::port()` and `server::endpoints()` tell which.
    std::vector<std::string> listen = {"ws://0.0.0.0:8080/ws"};
    unix_socket_access unix_access{};            ///< Mode, 0770 by default, and group of the files of Unix sockets.
    tls_options tls{};                           ///< Certificates, and what is asked of the clients.
    origin_policy origins = same_origin();       ///< Which web pages may connect.
    rate_limit_options rate_limit{};             ///< Data messages of a client; beyond it: 1008.
    rate_limit_options control_rate_limit{};     ///< Its pings, pongs and keep-alives; beyond it: 1008.
    std::size_t max_binary_payload = 10 * 1024 * 1024;  ///< Of a command, without its id. Decided at the header: 1009.
    std::size_t max_text_message = 512 * 1024;          ///< The same for text.
    std::size_t max_json_message = 512 * 1024;          ///< JSON on either opcode. More: -32600.
    std::size_t max_batch = 100;                        ///< Requests in a JSON-RPC batch.
    std::uint32_t max_fragments = 131'072;                ///< Per message; beyond it: 1008.
    std::uint32_t max_empty_fragments = 1'024;            ///< In a row; beyond it: 1008.
    std::size_t max_head = 15'000;                      ///< The head of an HTTP request; beyond it: 431. At most 15 KiB.
    std::size_t max_headers = 100;                      ///< Its header lines; beyond it: 431. At most 500.
    std::size_t max_clients = 0;                        ///< WebSocket connections and streams of commands; beyond it: 503, or 1013.
                                                        ///< Zero: no limit.
    connection_limits connections{};                    ///< Of any kind.
    datagram_limits datagrams{};                        ///< Of `udp://` and `unixgram://` listeners.
    /// Proxies whose `X-Forwarded-For` tells the address of the client, which is then what `remote_address` says and what
    /// the limits per address count: addresses, networks ("10.0.0.0/8"), and "unix" for the peers of Unix sockets.
    std::vector<std::string> trusted_proxies{};
    deflate_options deflate{};  ///< Compression, for clients that offer it. All limits are those of inflated messages.
    in_flight_options in_flight{};
    outbound_limits outbox{};            ///< Of each client.
    /// Memory that the outboxes of all clients keep together, what they share counted once. Beyond it no client has room
    /// whose outbox is not empty, beyond three quarters of it none that has not taken all of the last write, and the
    /// overflow policy decides. Zero: no limit.
    std::size_t outbox_budget = 256 * 1024 * 1024;
    duration handshake_timeout = std::chrono::seconds{10};
    duration on_connect_timeout = std::chrono::seconds{10};
    /// Renewed by any bytes. Streams of commands may be silent: there, it is about how long it takes the kernel to find out
    /// that a peer has vanished, or takes nothing more of what was sent (TCP keep-alive and TCP_USER_TIMEOUT).
    duration read_timeout = std::chrono::seconds{60};
    duration write_timeout = std::chrono::seconds{10};    ///< Without progress: 3008 "slow consumer".
    duration message_timeout = std::chrono::seconds{60};  ///< For one unfinished message, plus 1 s per 16 KiB of it.
    duration ping_interval = std::chrono::seconds{54};
    duration close_timeout = std::chrono::seconds{5};     ///< From our close frame to the peer's. Zero: `read_timeout`.
    duration linger_timeout = std::chrono::seconds{2};    ///< For the peer to take what was sent before the close.
    duration handler_timeout = duration::zero();          ///< A handler that takes longer is cancelled: -32000.
    duration call_timeout = std::chrono::seconds{30};     ///< The default of `client::call`.
    std::size_t max_pending_calls = 64;                   ///< Per client; beyond it `call` ends with `overloaded`.
    drain_options drain{};
    unsigned io_threads = 0;            ///< Of an owned server. Zero: one per core.
    unsigned pool_threads = 0;          ///< For handlers of an owned server. Zero: one per core.
    unsigned handler_concurrency = 0;   ///< Embedded: how many threads run the handler executor. Zero: one per core.
    asio::any_io_executor handler_executor{};  ///< Where handlers run; by default the internal pool, or, embedded, the
                                               ///< server's own executor.
    error_replies command_errors = error_replies::error_channel;
    std::vector<std::string> keep_headers{};  ///< Names of the handshake headers that `client::header` still knows later.
    std::vector<std::string> subprotocols{};  ///< In order of preference.
    std::filesystem::path files{};            ///< Folder served over HTTP; empty: none.
    /// Where `http://` listeners answer with the counters in the text format of Prometheus, "/metrics" as a rule; empty:
    /// nowhere. Only the peers of `metrics_from` get them, written as `trusted_proxies`; for the others there is nothing.
    std::string metrics_path{};
    std::vector<std::string> metrics_from = {"127.0.0.0/8", "::1", "unix"};
    /// How many single connections are among them, those with most traffic; each with its id and its address. Every connection
    /// is a time series to whoever stores them.
    std::size_t metrics_connections = 0;
    logger log{log_level::info, stderr_sink()};
};

}  // namespace kephas
