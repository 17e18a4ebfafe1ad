#include <kephas/server/handler_work.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/runner.hpp>

#include <algorithm>
#include <utility>

namespace kephas {

bool handler_work::messages_full() const noexcept { return messages() >= limits_.messages; }

bool handler_work::bytes_full() const noexcept {
    const std::uint64_t held = this->held();
    if (held < one_message) return false;
    // Messages beyond their own limit, which a pending call lets in, cost something even if they are empty.
    static constexpr std::uint64_t cost_of_message = 256;
    const std::uint64_t messages = held / one_message;
    const std::uint64_t excess = messages > limits_.messages ? messages - limits_.messages : 0;
    return held % one_message + excess * cost_of_message >= limits_.bytes;
}

void handler_work::enter(runner& who, bool on_strand) {
    if (on_strand) {
        strand_runner_ = &who;
        return;
    }
    const std::lock_guard lock{mutex_};
    runners_.push_back(&who);
}

void handler_work::leave(runner& who, bool on_strand) noexcept {
    if (on_strand) {
        strand_runner_ = nullptr;
        return;
    }
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(runners_, &who);
    if (found == runners_.end()) return;
    *found = runners_.back();
    runners_.pop_back();
}

void handler_work::cancel() {
    const std::lock_guard lock{mutex_};
    cancelled_.store(true);  // before the runners are asked for their jobs: one of the two sees the other
    for (runner* who : runners_) who->cancel_later(*this);
    if (strand_runner_ != nullptr) strand_runner_->cancel_later(*this);
}

bool handler_work::push_serial(job&& last) {
    const std::lock_guard lock{mutex_};
    serial_.add() = std::move(last);
    return !std::exchange(serial_active_, true);
}

bool handler_work::pop_serial(job& out) {
    const std::lock_guard lock{mutex_};
    if (serial_.pop(out)) return true;
    serial_active_ = false;
    return false;
}

}  // namespace kephas
