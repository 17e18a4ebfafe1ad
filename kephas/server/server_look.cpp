// What a server tells of itself.
#include <kephas/server/client_state.hpp>
#include <kephas/server/collect_stats.hpp>
#include <kephas/server/server_implementation.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace kephas {

server_stats server::implementation::stats() const {
    std::vector<listener_traffic> traffic;
    server_stats stats = collect_stats(context_, *registry_, traffic);
    const auto stats_of = [&](std::string url, std::uint64_t accepted, std::uint16_t index) {
        const std::size_t slot = slot_of(index);
        const listener_traffic own = slot < traffic.size() ? traffic[slot] : listener_traffic{};
        return listener_stats{std::move(url), accepted, own.clients, own.traffic};
    };
    {
        const std::lock_guard lock{mutex_};
        stats.listeners.resize(listeners_.size() + datagrams_.size());
        for (const auto& each : listeners_) {
            const listener_role& role = each->role();
            stats.listeners[role.index] = stats_of(each->url(), role.accepted.load(std::memory_order_relaxed), role.index);
        }
        auto of_datagrams = datagrams_.begin();  // in the places that the others have left
        for (listener_stats& each : stats.listeners) {
            if (!each.url.empty()) continue;
            each = {(*of_datagrams)->url(), 0, 0, (*of_datagrams)->traffic()};
            ++of_datagrams;
        }
    }
    if (const std::uint64_t attached = attached_.load(std::memory_order_relaxed); attached > 0) {
        stats.listeners.push_back(stats_of("attached", attached, attached_listener));
    }
    return stats;
}

std::string server::implementation::metrics() const {
    std::string text = to_prometheus(stats());
    const std::size_t most = context_.options->metrics_connections;
    if (most == 0) return text;
    // By numbers alone: of thousands only a few are told of in full.
    auto clients = collect_clients(*registry_);
    std::vector<std::pair<std::uint64_t, std::size_t>> bytes;
    bytes.reserve(clients.size());
    for (const auto& each : clients) {
        const traffic of = each->traffic();
        bytes.emplace_back(of.bytes_received + of.bytes_sent, bytes.size());
    }
    const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(most, bytes.size()));
    std::ranges::partial_sort(bytes, end, std::greater{});
    std::vector<std::shared_ptr<client_state>> busiest;
    for (auto each = bytes.begin(); each != end; ++each) busiest.push_back(std::move(clients[each->second]));
    return text + to_prometheus(stats_of(busiest));
}

std::vector<connection_stats> server::implementation::connections() const { return stats_of(collect_clients(*registry_)); }

std::vector<connection_stats> server::implementation::stats_of(std::span<const std::shared_ptr<client_state>> clients) const {
    std::vector<std::string> urls{"attached"};
    {
        const std::lock_guard lock{mutex_};
        urls.resize(1 + listeners_.size() + datagrams_.size());
        for (const auto& each : listeners_) urls[slot_of(each->role().index)] = each->url();
    }
    std::vector<connection_stats> all;
    all.reserve(clients.size());
    for (const auto& client : clients) {
        all.push_back(client->stats());
        all.back().listener = urls[slot_of(client->listener())];
    }
    return all;
}

}  // namespace kephas
