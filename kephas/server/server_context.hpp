#pragma once

#include <kephas/proto/jsonrpc/parse.hpp>
#include <kephas/proto/session/session_machine.hpp>

#include <kephas/server/connection_gate.hpp>
#include <kephas/server/handler_pool.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/routes.hpp>

#include <atomic>
#include <cstdint>
#include <memory>

namespace kephas {

/// What connections did, for the whole server.
struct connection_counters {
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> refused{0};             ///< Answered with an HTTP status instead of 101.
    std::atomic<std::uint64_t> handshake_timeouts{0};
    std::atomic<std::uint64_t> opened{0};
    std::atomic<std::uint64_t> closed{0};
    std::atomic<std::uint64_t> messages_received{0};
    std::atomic<std::uint64_t> messages_discarded{0};  ///< Arrived while the connection was closing.
};

/// What all sessions of a server share. It outlives them: the server joins its sessions.
struct server_context {
    std::shared_ptr<const server_options> options;
    std::shared_ptr<const kephas::routes> routes;
    std::shared_ptr<handler_pool> handlers;
    session_options session;
    jsonrpc::limits json;
    logger log;
    std::unique_ptr<connection_gate> gate;
    connection_counters counters{};
    std::atomic<std::size_t> clients{0};   ///< Handshakes that are let in, and open connections.
    std::atomic<bool> draining{false};     ///< New connections get 503.
};

}  // namespace kephas
