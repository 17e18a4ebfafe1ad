#include <kephas/base/error.hpp>

#include <kephas/server/call_table.hpp>

#include <charconv>
#include <cstddef>
#include <utility>
#include <vector>

namespace kephas {

namespace {
/// Ids of ours are plain integers; whatever else a peer sends is none of them.
std::optional<std::uint64_t> parse_id(const std::string& text) {
    std::uint64_t id = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, failure] = std::from_chars(text.data(), end, id);
    if (failure != std::errc{} || stopped != end) return std::nullopt;
    return id;
}
}  // namespace

/// Stands for a table in which no call can be opened any more; only its address is used.
call_table::table* call_table::never() noexcept {
    alignas(table) static std::byte mark[sizeof(table)];
    return reinterpret_cast<table*>(mark);
}

call_table::table* call_table::existing() const noexcept {
    table* const made = table_.load(std::memory_order_acquire);
    return made == never() ? nullptr : made;
}

call_table::~call_table() { delete existing(); }

std::shared_ptr<pending_call> call_table::open(std::size_t limit, std::uint64_t& id, std::error_code& ec) {
    table* all = table_.load(std::memory_order_acquire);
    if (all == nullptr) {
        auto fresh = std::make_unique<table>();
        // Somebody else may have been faster, with another first call or with `close`: then `all` is what they left.
        if (table_.compare_exchange_strong(all, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
            all = fresh.release();
        }
    }
    if (all == never()) {
        ec = errc::closed;
        return nullptr;
    }
    const std::lock_guard lock{all->mutex};
    if (all->closed) {
        ec = errc::closed;
        return nullptr;
    }
    if (all->calls.size() >= limit) {
        ec = errc::overloaded;
        return nullptr;
    }
    id = ++all->last_id;
    return all->calls.emplace(id, std::make_shared<pending_call>()).first->second;
}

bool call_table::answer(const std::string& id, jsonrpc::response response) {
    table* const all = existing();
    const auto number = parse_id(id);
    if (all == nullptr || !number) return false;
    const std::lock_guard lock{all->mutex};
    const auto found = all->calls.find(*number);
    if (found == all->calls.end()) return false;
    pending_call& call = *found->second;
    if (response.outcome) call.result = std::move(response.outcome.value());
    else call.refusal = std::move(response.outcome.error());
    finish_locked(call, {});
    all->calls.erase(found);
    return true;
}

void call_table::refuse(const std::string& id, std::error_code why) {
    if (const auto number = parse_id(id)) end(*number, why);
}

void call_table::end(std::uint64_t id, std::error_code why) {
    table* const all = existing();
    if (all == nullptr) return;
    const std::lock_guard lock{all->mutex};
    const auto found = all->calls.find(id);
    if (found == all->calls.end()) return;
    finish_locked(*found->second, why);
    all->calls.erase(found);
}

void call_table::end_all(std::error_code why) {
    table* const all = existing();
    if (all == nullptr) return;
    const std::lock_guard lock{all->mutex};
    finish_all_locked(*all, why);
}

void call_table::close() {
    table* all = nullptr;
    if (table_.compare_exchange_strong(all, never(), std::memory_order_acq_rel, std::memory_order_acquire)) return;
    if (all == never()) return;
    const std::lock_guard lock{all->mutex};
    all->closed = true;
    finish_all_locked(*all, errc::closed);
}

bool call_table::wait(pending_call& call, parked_ptr who) {
    const std::lock_guard lock{existing()->mutex};  // it was made for that call, at the latest
    if (call.done) return false;
    call.waiter = std::move(who);
    return true;
}

bool call_table::any_pending() const {
    table* const all = existing();
    if (all == nullptr) return false;
    const std::lock_guard lock{all->mutex};
    return !all->calls.empty();
}

bool call_table::is_pending(std::uint64_t id) const {
    table* const all = existing();
    if (all == nullptr) return false;
    const std::lock_guard lock{all->mutex};
    return all->calls.contains(id);
}

void call_table::finish_all_locked(table& all, std::error_code failure) {
    for (auto& [id, call] : all.calls) finish_locked(*call, failure);
    all.calls.clear();
}

void call_table::finish_locked(pending_call& call, std::error_code failure) {
    call.done = true;
    call.failure = failure;
    if (call.waiter) std::exchange(call.waiter, nullptr)->resume();
}

}  // namespace kephas
