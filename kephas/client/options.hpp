#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/proto/http/header.hpp>
#include <kephas/proto/session/reconnection.hpp>
#include <kephas/proto/websocket/deflate_options.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/stream.hpp>
#include <kephas/net/tls_client_context.hpp>

#include <asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace kephas {

/// What becomes of messages that are sent while there is no connection, and of those that had not left when it was lost.
enum class while_disconnected : std::uint8_t {
    keep,    ///< They wait for the next connection, in order, within the limits of the queue.
    refuse,  ///< Sending ends with `errc::not_connected`; what had not left is discarded, and counted.
};

/// How a client connects to where its address says: a stream, before the deadline. It has to end when it is cancelled
/// (terminal cancellation).
using client_transport = std::function<asio::awaitable<std::unique_ptr<stream>>(address where, time_point deadline)>;

/// Everything about a `command_client` that can be set. Zero disables a timeout or an interval; sizes are in bytes.
struct command_client_options {
    // The opening handshake of a WebSocket connection.
    std::vector<http::header> headers{};      ///< Added to the request: authorization, cookies.
    std::string origin{};                     ///< Empty: none, as from a program that is no browser.
    std::vector<std::string> subprotocols{};  ///< The favourite first. Another one than these is refused.
    deflate_options deflate{};                ///< Compression, if the server agrees.

    tls_client_options tls{};  ///< Of `wss://` and `tls://`: by default whom the system trusts, for the host of the URL.

    duration connect_timeout = std::chrono::seconds{10};  ///< For each attempt: name, connection, TLS and handshake.
    bool retry_first_connect = false;  ///< Whether the first attempt is repeated as later ones are, or `connect` throws.
    reconnect_options reconnect{};
    while_disconnected outbound = while_disconnected::keep;
    duration hook_timeout = std::chrono::seconds{10};  ///< For `on_connected`; past it the connection is given up.

    std::size_t max_message = 10 * 1024 * 1024;       ///< Of the server's messages, without the id. More: 1009.
    std::size_t max_queued_messages = 256;            ///< That wait to be sent ...
    std::size_t max_queued_bytes = 1024 * 1024;       ///< ... and their bytes. One message always fits; hooks have as much again.
    std::size_t max_received_messages = 256;          ///< That wait for a handler or for `receive`, or are handled. More:
    std::size_t max_received_bytes = 1024 * 1024;     ///< the socket is not read. Each counts 256 more. One always fits.
    bool drop_unhandled = false;                      ///< What no handler takes is dropped and counted: nobody calls `receive`.
    std::size_t max_pending_calls = 1024;             ///< And requests; beyond it they end with `overloaded`.

    duration call_timeout = std::chrono::seconds{30};     ///< The default of `call` and `request`.
    duration read_timeout = std::chrono::seconds{60};     ///< Renewed by any bytes; past it the connection is lost.
    duration ping_interval = std::chrono::seconds{25};    ///< So that a server that lives says something.
    duration write_timeout = std::chrono::seconds{30};    ///< Without progress while something waits: the connection is lost.
    duration message_timeout = std::chrono::seconds{60};  ///< For one unfinished message, plus 1 s per 16 KiB of it.
    duration close_timeout = std::chrono::seconds{5};     ///< For `close`: what is queued, and the goodbye of the server.

    client_transport transport{};             ///< Empty: sockets. Tests give connections in memory.
    std::function<std::uint64_t()> random{};  ///< For the delays; empty: of the system. Tests make them known.
    logger log{};                             ///< Says nothing unless it is set.
};

}  // namespace kephas
