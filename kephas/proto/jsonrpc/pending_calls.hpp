#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/error_object.hpp>
#include <kephas/proto/jsonrpc/message.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace kephas::jsonrpc {

/// A call of ours that waits for its answer. `Waiter` is a pointer to something with `resume()`.
template <class Waiter>
struct pending_call {
    Waiter waiter{};  ///< Set once somebody waits.
    bool done = false;
    std::error_code failure;
    std::optional<json> result;
    std::optional<error_object> refusal;
};

/// The calls of one peer that wait for their answers, by the ids under which they were sent. Pure: who is told, and under
/// which lock, is the caller's business.
template <class Waiter>
class pending_calls {
public:
    using call = pending_call<Waiter>;

    /// A new call and the id to send it under, which was never used before; null when `limit` are pending.
    [[nodiscard]] std::shared_ptr<call> open(std::size_t limit, std::uint64_t& id) {
        if (calls_.size() >= limit) return nullptr;
        id = ++last_id_;
        return calls_.emplace(id, std::make_shared<call>()).first->second;
    }
    /// The answer to `id` arrived. False if nobody waits for it (any more).
    bool answer(std::string_view id, response&& response) {
        const auto number = parse(id);
        if (!number) return false;
        const auto found = calls_.find(*number);
        if (found == calls_.end()) return false;
        call& answered = *found->second;
        if (response.outcome) answered.result = std::move(response.outcome.value());
        else answered.refusal = std::move(response.outcome.error());
        finish(answered, {});
        calls_.erase(found);
        return true;
    }
    /// The peer answered `id` with something that is no response.
    void refuse(std::string_view id, std::error_code why) {
        if (const auto number = parse(id)) end(*number, why);
    }
    /// Ends the wait for `id` with `why`, if it is still pending.
    void end(std::uint64_t id, std::error_code why) {
        const auto found = calls_.find(id);
        if (found == calls_.end()) return;
        finish(*found->second, why);
        calls_.erase(found);
    }
    void end_all(std::error_code why) {
        for (auto& [id, each] : calls_) finish(*each, why);
        calls_.clear();
    }

    /// Stores who waits, or returns false if the answer is there already.
    [[nodiscard]] static bool wait(call& for_answer, Waiter who) {
        if (for_answer.done) return false;
        for_answer.waiter = std::move(who);
        return true;
    }
    [[nodiscard]] bool empty() const noexcept { return calls_.empty(); }
    [[nodiscard]] bool contains(std::uint64_t id) const { return calls_.contains(id); }

private:
    /// Ids of ours are plain integers; whatever else a peer sends is none of them.
    [[nodiscard]] static std::optional<std::uint64_t> parse(std::string_view text) noexcept {
        std::uint64_t id = 0;
        const char* const end = text.data() + text.size();
        const auto [stopped, failure] = std::from_chars(text.data(), end, id);
        if (failure != std::errc{} || stopped != end) return std::nullopt;
        return id;
    }
    static void finish(call& ended, std::error_code failure) {
        ended.done = true;
        ended.failure = failure;
        if (ended.waiter) std::exchange(ended.waiter, Waiter{})->resume();
    }

    std::unordered_map<std::uint64_t, std::shared_ptr<call>> calls_;
    std::uint64_t last_id_ = 0;
};

}  // namespace kephas::jsonrpc
