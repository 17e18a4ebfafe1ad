#include <kephas/base/error.hpp>

#include <kephas/server/call_table.hpp>

#include <cstddef>
#include <utility>

namespace kephas {

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
    auto opened = all->calls.open(limit, id);
    if (!opened) ec = errc::overloaded;
    return opened;
}

bool call_table::answer(const std::string& id, jsonrpc::response response) {
    table* const all = existing();
    if (all == nullptr) return false;
    const std::lock_guard lock{all->mutex};
    return all->calls.answer(id, std::move(response));
}

void call_table::refuse(const std::string& id, std::error_code why) {
    table* const all = existing();
    if (all == nullptr) return;
    const std::lock_guard lock{all->mutex};
    all->calls.refuse(id, why);
}

void call_table::end(std::uint64_t id, std::error_code why) {
    table* const all = existing();
    if (all == nullptr) return;
    const std::lock_guard lock{all->mutex};
    all->calls.end(id, why);
}

void call_table::end_all(std::error_code why) {
    table* const all = existing();
    if (all == nullptr) return;
    const std::lock_guard lock{all->mutex};
    all->calls.end_all(why);
}

void call_table::close() {
    table* all = nullptr;
    if (table_.compare_exchange_strong(all, never(), std::memory_order_acq_rel, std::memory_order_acquire)) return;
    if (all == never()) return;
    const std::lock_guard lock{all->mutex};
    all->closed = true;
    all->calls.end_all(errc::closed);
}

bool call_table::wait(pending_call& call, parked_ptr who) {
    const std::lock_guard lock{existing()->mutex};  // it was made for that call, at the latest
    return jsonrpc::pending_calls<parked_ptr>::wait(call, std::move(who));
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

}  // namespace kephas
