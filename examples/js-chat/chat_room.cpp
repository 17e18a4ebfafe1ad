#include "chat_room.hpp"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace chat {

kephas::json to_json(const user& who) {
    return kephas::json::object({{"id", who.id}, {"username", who.username}, {"joinedAt", who.joined_at}});
}

kephas::json to_json(const message& said) {
    return kephas::json::object(
        {{"id", said.id}, {"username", said.username}, {"message", said.text}, {"timestamp", said.timestamp}});
}

std::string timestamp() {
    const auto now = std::chrono::system_clock::now();
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                       since % 1000);
}

room::renamed room::set_name(const std::string& id, std::string username) {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(members_, id, &user::id);
    user now{id, std::move(username), timestamp()};
    if (found == members_.end()) {
        members_.push_back(now);
        return {now, std::nullopt, true};
    }
    if (found->username == now.username) return {*found, std::nullopt, false};
    user before = std::move(*found);
    members_.erase(found);
    members_.push_back(now);
    return {now, std::move(before), true};
}

std::optional<user> room::leave(const std::string& id) {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(members_, id, &user::id);
    if (found == members_.end()) return std::nullopt;
    user gone = std::move(*found);
    members_.erase(found);
    return gone;
}

std::vector<user> room::members() const {
    const std::lock_guard lock{mutex_};
    return members_;
}

message room::say(const std::string& id, std::string text) {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(members_, id, &user::id);
    std::string name = found == members_.end() ? "Guest_" + id.substr(0, 8) : found->username;
    history_.push_back({id, std::move(name), std::move(text), timestamp()});
    if (history_.size() > remembered) history_.pop_front();
    return history_.back();
}

std::vector<message> room::history(std::size_t limit) const {
    const std::lock_guard lock{mutex_};
    const std::size_t count = std::min(limit, history_.size());
    return {history_.end() - static_cast<std::ptrdiff_t>(count), history_.end()};
}

}  // namespace chat
