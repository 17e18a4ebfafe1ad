#pragma once

#include <kephas/server/server_stats.hpp>

#include <memory>
#include <vector>

namespace kephas {

class client_state;
struct client_registry;
struct server_context;

/// Reads all counters, from wherever they are; those of the listeners into `traffic`, by `slot_of`. Concurrency: any thread.
[[nodiscard]] server_stats collect_stats(const server_context& context, const client_registry& registry,
                                         std::vector<listener_traffic>& traffic);
/// All that there are now. Concurrency: any thread.
[[nodiscard]] std::vector<std::shared_ptr<client_state>> collect_clients(const client_registry& registry);

}  // namespace kephas
