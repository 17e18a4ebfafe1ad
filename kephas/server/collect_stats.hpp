#pragma once

#include <kephas/server/server_stats.hpp>

namespace kephas {

struct client_registry;
struct server_context;

/// Reads all counters, from wherever they are. Concurrency: any thread.
[[nodiscard]] server_stats collect_stats(const server_context& context, const client_registry& registry);

}  // namespace kephas
