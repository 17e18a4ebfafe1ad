#include <kephas/base/error.hpp>

#include <kephas/server/call_table.hpp>

#include <charconv>
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

std::shared_ptr<pending_call> call_table::open(std::size_t limit, std::uint64_t& id, std::error_code& ec) {
    const std::lock_guard lock{mutex_};
    if (closed_) {
        ec = errc::closed;
        return nullptr;
    }
    if (calls_.size() >= limit) {
        ec = errc::overloaded;
        return nullptr;
    }
    id = ++last_id_;
    return calls_.emplace(id, std::make_shared<pending_call>()).first->second;
}

bool call_table::answer(const std::string& id, jsonrpc::response response) {
    const std::lock_guard lock{mutex_};
    const auto number = parse_id(id);
    const auto found = number ? calls_.find(*number) : calls_.end();
    if (found == calls_.end()) return false;
    pending_call& call = *found->second;
    if (response.outcome) call.result = std::move(response.outcome.value());
    else call.refusal = std::move(response.outcome.error());
    finish_locked(call, {});
    calls_.erase(found);
    return true;
}

void call_table::refuse(const std::string& id, std::error_code why) {
    if (const auto number = parse_id(id)) end(*number, why);
}

void call_table::end(std::uint64_t id, std::error_code why) {
    const std::lock_guard lock{mutex_};
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    finish_locked(*found->second, why);
    calls_.erase(found);
}

void call_table::end_all(std::error_code why) {
    const std::lock_guard lock{mutex_};
    for (auto& [id, call] : calls_) finish_locked(*call, why);
    calls_.clear();
}

void call_table::close() {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    for (auto& [id, call] : calls_) finish_locked(*call, errc::closed);
    calls_.clear();
}

bool call_table::wait(pending_call& call, parked_ptr who) {
    const std::lock_guard lock{mutex_};
    if (call.done) return false;
    call.waiter = std::move(who);
    return true;
}

bool call_table::any_pending() const {
    const std::lock_guard lock{mutex_};
    return !calls_.empty();
}

bool call_table::is_pending(std::uint64_t id) const {
    const std::lock_guard lock{mutex_};
    return calls_.contains(id);
}

void call_table::finish_locked(pending_call& call, std::error_code failure) {
    call.done = true;
    call.failure = failure;
    if (call.waiter) std::exchange(call.waiter, nullptr)->resume();
}

}  // namespace kephas
