#include <kephas/client/outgoing_queue.hpp>

#include <utility>

namespace kephas {

bool outgoing_queue::push(outgoing&& message, bool urgent) {
    const std::size_t size = message.size();
    if (!has_room(size, urgent)) return false;
    message.urgent = urgent;
    lane& into = of(message);
    into.waiting.push_back(std::move(message));
    ++into.messages;
    into.bytes += size;
    return true;
}

std::optional<outgoing> outgoing_queue::take(bool urgent_only) {
    auto& from = (urgent_only || !urgent_.waiting.empty() ? urgent_ : ordinary_).waiting;
    if (from.empty()) return std::nullopt;
    std::optional<outgoing> first{std::move(from.front())};
    from.pop_front();
    return first;
}

void outgoing_queue::sent(const outgoing& message) noexcept {
    of(message).forget(message);
}

void outgoing_queue::put_back(outgoing&& message) {
    auto& back = of(message).waiting;
    back.push_front(std::move(message));
}

template <class Predicate>
std::size_t outgoing_queue::drop_if(Predicate unwanted) {
    std::size_t dropped = 0;
    for (lane* const each_lane : {&urgent_, &ordinary_}) {
        dropped += std::erase_if(each_lane->waiting, [&](const outgoing& each) {
            if (!unwanted(each)) return false;
            each_lane->forget(each);
            return true;
        });
    }
    return dropped;
}

std::size_t outgoing_queue::drop_bound() {
    return drop_if([](const outgoing& each) { return each.generation != 0 || each.waiter != 0; });
}

std::size_t outgoing_queue::withdraw_all() {
    return drop_if([](const outgoing& each) { return each.waiter != 0; });
}

bool outgoing_queue::withdraw(std::uint64_t waiter) {
    return drop_if([waiter](const outgoing& each) { return each.waiter == waiter; }) > 0;
}

std::size_t outgoing_queue::clear() noexcept {
    return drop_if([](const outgoing&) { return true; });
}

}  // namespace kephas
