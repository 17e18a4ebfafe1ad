#include <kephas/server/connection_gate.hpp>
#include <kephas/server/options.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include <sys/resource.h>

namespace kephas {

namespace {

constexpr bool is_off(const connection_limits& limits) noexcept {
    return limits.per_address == 0 && limits.per_address_rate <= 0;
}

http::status_code status_of(refusal_reason reason) noexcept {
    const bool own_fault = reason == refusal_reason::address_connections || reason == refusal_reason::address_rate;
    return own_fault ? http::status_code::too_many_requests : http::status_code::service_unavailable;
}

/// What the peer is told; null for those that are not answered here.
const char* sentence(refusal_reason reason) noexcept {
    switch (reason) {
        case refusal_reason::connections:
        case refusal_reason::handshakes:
        case refusal_reason::clients: return "too many connections\n";
        case refusal_reason::address_connections: return "too many connections from your address\n";
        case refusal_reason::address_rate: return "too many new connections from your address\n";
        case refusal_reason::responses: return "too many downloads\n";
        case refusal_reason::draining: return "the server is shutting down\n";
        default: return nullptr;
    }
}

std::string_view log_line(refusal_reason reason) noexcept {
    switch (reason) {
        case refusal_reason::connections: return "refused a connection: as many are open as there may be";
        case refusal_reason::handshakes: return "refused a connection: too many unfinished handshakes";
        case refusal_reason::address_connections: return "refused a connection: its address has as many as it may";
        case refusal_reason::address_rate: return "refused a connection: its address opens them too fast";
        case refusal_reason::clients: return "refused a connection: max_clients are connected";
        case refusal_reason::responses: return "refused a request: too many bytes of files are being sent";
        case refusal_reason::draining: return "refused a connection: the server is shutting down";
        case refusal_reason::timed_out: return "handshake timeout";
        case refusal_reason::malformed: return "refused a request";
        case refusal_reason::origin: return "refused an origin";
        case refusal_reason::unauthorized: return "refused by authorize";
    }
    return {};
}

log_level level_of(refusal_reason reason) noexcept {
    switch (reason) {
        case refusal_reason::malformed:
        case refusal_reason::unauthorized:
        case refusal_reason::draining: return log_level::debug;
        case refusal_reason::origin:
        case refusal_reason::timed_out: return log_level::info;
        default: return log_level::warning;
    }
}

std::size_t soft_descriptor_limit() noexcept {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) {
        return std::numeric_limits<std::size_t>::max();
    }
    return files.rlim_cur;
}

/// Descriptors that no connection takes: for listeners, logs, files, and for accepting those that are refused.
std::size_t descriptor_reserve(std::size_t limit) noexcept { return std::clamp<std::size_t>(limit / 16, 16, 512); }

}  // namespace

std::string_view to_string(refusal_reason reason) noexcept {
    switch (reason) {
        case refusal_reason::connections: return "connections";
        case refusal_reason::handshakes: return "handshakes";
        case refusal_reason::address_connections: return "address_connections";
        case refusal_reason::address_rate: return "address_rate";
        case refusal_reason::clients: return "clients";
        case refusal_reason::responses: return "responses";
        case refusal_reason::draining: return "draining";
        case refusal_reason::timed_out: return "timed_out";
        case refusal_reason::malformed: return "malformed";
        case refusal_reason::origin: return "origin";
        case refusal_reason::unauthorized: return "unauthorized";
    }
    return "unknown";
}

http::peer_list parsed_peers(std::string_view option, std::span<const std::string> elements) {
    auto list = http::peer_list::parse(elements);
    if (list) return std::move(*list);
    throw std::invalid_argument{fmt::format("{}: \"{}\" is not an address, a network such as 10.0.0.0/8, or unix", option,
                                            escaped(list.error()))};
}

connection_gate::place::place(place&& other) noexcept { *this = std::move(other); }

connection_gate::place& connection_gate::place::operator=(place&& other) noexcept {
    if (this == &other) return *this;
    release();
    gate_ = std::exchange(other.gate_, nullptr);
    address_ = other.address_;
    bytes_ = other.bytes_;
    handshake_ = other.handshake_;
    has_address_ = other.has_address_;
    counted_ = other.counted_;
    behind_proxy_ = other.behind_proxy_;
    return *this;
}

void connection_gate::place::opened() noexcept {
    if (gate_ == nullptr || !std::exchange(handshake_, false)) return;
    gate_->handshakes_.fetch_sub(1, std::memory_order_relaxed);
    let_go();
}

void connection_gate::place::let_go() noexcept {
    if (bytes_ != 0) gate_->bytes_.fetch_sub(std::exchange(bytes_, 0), std::memory_order_relaxed);
}

void connection_gate::place::release() noexcept {
    opened();
    connection_gate* const gate = std::exchange(gate_, nullptr);
    if (gate == nullptr) return;
    gate->connections_.fetch_sub(1, std::memory_order_relaxed);
    if (!std::exchange(counted_, false)) return;
    const std::lock_guard lock{gate->mutex_};
    gate->addresses_->leave(address_);
}

bool connection_gate::place::hold(std::size_t bytes) noexcept {
    if (gate_ == nullptr || !handshake_) return true;
    bytes_ += static_cast<std::uint32_t>(bytes);
    const std::size_t limit = gate_->options_.connections.handshake_bytes;
    const std::size_t before = gate_->bytes_.fetch_add(bytes, std::memory_order_relaxed);
    return limit == 0 || before + bytes <= limit;
}

connection_gate::connection_gate(const server_options& options, std::uint64_t seed)
    : options_{options}, log_{options.log} {
    trusted_ = parsed_peers("trusted_proxies", options.trusted_proxies);
    const connection_limits& limits = options.connections;
    if (!is_off(limits)) {
        addresses_.emplace(address_limits{limits.per_address, limits.per_address_rate, limits.per_address_burst},
                           limits.addresses, seed);
    }
    for (std::size_t i = 0; i < refusal_reason_count; ++i) {
        const auto reason = static_cast<refusal_reason>(i);
        if (sentence(reason) == nullptr) continue;
        const http::response whole = response(reason);
        answers_[i] = {http::serialize(whole), refusal_goodbye(whole)};
    }
}

http::response connection_gate::response(refusal_reason reason) const {
    http::response response = http::text_response(status_of(reason), sentence(reason));
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(options_.connections.retry_after).count();
    if (seconds > 0) response.headers.push_back({"Retry-After", std::to_string(seconds)});
    return response;
}

std::size_t connection_gate::most() const noexcept {
    if (options_.connections.total != 0) return options_.connections.total;
    // Asked each time: the program may raise it, and a system call is little beside a new connection.
    const std::size_t limit = soft_descriptor_limit();
    const std::size_t reserve = descriptor_reserve(limit);
    return limit > 2 * reserve ? limit - reserve : limit / 2;
}

std::size_t connection_gate::most_lingering() const noexcept {
    const std::size_t wanted = options_.connections.lingering;
    if (options_.connections.total != 0) return wanted;
    return std::min(wanted, descriptor_reserve(soft_descriptor_limit()) / 2);
}

std::optional<refusal_reason> connection_gate::enter(place& taken, const std::optional<http::ip_address>& peer,
                                                     time_point now) {
    place fresh;
    if (const auto refused = enter(fresh)) return refused;
    fresh.has_address_ = peer.has_value();
    if (peer) fresh.address_ = peer->peer_key();
    fresh.behind_proxy_ = trusted_.contains(peer);
    if (!fresh.behind_proxy_) {
        if (const auto refused = count_address(fresh, now)) return refused;
    }
    taken = std::move(fresh);
    return std::nullopt;
}

std::optional<refusal_reason> connection_gate::enter(place& taken) {
    // First counted, then compared: however many come at once, no more than the limit stay.
    place fresh;
    fresh.gate_ = this;
    fresh.handshake_ = true;
    const std::size_t connections = connections_.fetch_add(1, std::memory_order_relaxed) + 1;
    const std::size_t handshakes = handshakes_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (connections > most()) return refusal_reason::connections;
    const std::size_t most_handshakes = options_.connections.handshakes;
    if (most_handshakes != 0 && handshakes > most_handshakes) return refusal_reason::handshakes;
    taken = std::move(fresh);
    return std::nullopt;
}

std::optional<refusal_reason> connection_gate::identify(place& taken, const std::optional<http::ip_address>& client,
                                                        time_point now) {
    if (taken.gate_ != this || !std::exchange(taken.behind_proxy_, false)) return std::nullopt;
    if (client) {
        taken.has_address_ = true;
        taken.address_ = client->peer_key();
    }
    return count_address(taken, now);
}

std::optional<refusal_reason> connection_gate::count_address(place& taken, time_point now) {
    if (!addresses_ || !taken.has_address_) return std::nullopt;
    const std::lock_guard lock{mutex_};
    switch (addresses_->enter(taken.address_, now)) {
        case address_verdict::admitted: taken.counted_ = true; break;
        case address_verdict::untracked: break;
        case address_verdict::too_many: return refusal_reason::address_connections;
        case address_verdict::too_fast: return refusal_reason::address_rate;
    }
    return std::nullopt;
}

bool connection_gate::begin_response(std::size_t bytes) noexcept {
    const std::size_t limit = options_.connections.response_bytes;
    const std::size_t before = responses_.fetch_add(bytes, std::memory_order_relaxed);
    if (limit == 0 || before == 0 || before + bytes <= limit) return true;
    end_response(bytes);
    return false;
}

void connection_gate::end_response(std::size_t bytes) noexcept {
    responses_.fetch_sub(bytes, std::memory_order_relaxed);
}

void connection_gate::refused(refusal_reason reason, std::string_view remote_address, time_point now,
                              std::string_view what, const std::optional<uuid>& id) {
    std::optional<std::uint64_t> count;
    {
        const std::lock_guard lock{mutex_};
        refusal_record& mine = refusals_[static_cast<std::size_t>(reason)];
        ++mine.count;
        count = mine.throttle.note(now);
    }
    if (!count) return;
    const std::string_view line = what.empty() ? log_line(reason) : what;
    const std::string who = id ? " client_id=" + id->to_string() : "";
    const std::string more = *count > 1 ? fmt::format(" ({} more since the last such line)", *count - 1) : "";
    log_.log(level_of(reason), "{} remote_addr={}{}{}", line, remote_address, who, more);
}

std::array<std::uint64_t, refusal_reason_count> connection_gate::refusals() const {
    std::array<std::uint64_t, refusal_reason_count> counts;
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = refusals_[i].count;
    return counts;
}

}  // namespace kephas
