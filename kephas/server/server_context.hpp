#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/proto/http/peer_list.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>
#include <kephas/proto/session/session_machine.hpp>

#include <kephas/server/connection_gate.hpp>
#include <kephas/server/counters.hpp>
#include <kephas/server/datagram_totals.hpp>
#include <kephas/server/deflate_totals.hpp>
#include <kephas/server/handler_pool.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/routes.hpp>
#include <kephas/server/server_stats.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

namespace kephas {

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
    datagram_totals datagrams{};
    deflate_totals deflated;               ///< For one client each; broadcasts are counted in the registry.
    std::atomic<std::size_t> clients{0};   ///< Handshakes that are let in, and open connections.
    std::atomic<bool> draining{false};     ///< New connections get 503.
    std::atomic<time_point> serving_since{time_point{}};
    std::function<std::string()> metrics;  ///< What `GET /metrics` answers.
    http::peer_list metrics_peers;         ///< Who gets them.
};

}  // namespace kephas
