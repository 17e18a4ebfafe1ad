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
    const std::lock_guard lock{shared_->mutex};
    shared_->runners.push_back(&who);
}

void handler_work::leave(runner& who, bool on_strand) noexcept {
    if (on_strand) {
        strand_runner_ = nullptr;
        return;
    }
    const std::lock_guard lock{shared_->mutex};
    std::vector<runner*>& runners = shared_->runners;
    const auto found = std::ranges::find(runners, &who);
    if (found == runners.end()) return;
    *found = runners.back();
    runners.pop_back();
}

void handler_work::cancel() {
    std::unique_lock<std::mutex> lock;
    if (shared_) lock = std::unique_lock{shared_->mutex};
    cancelled_.store(true);  // before the runners are asked for their jobs: one of the two sees the other
    if (shared_) {
        for (runner* who : shared_->runners) who->cancel_later(*this);
    }
    if (strand_runner_ != nullptr) strand_runner_->cancel_later(*this);
}

void handler_work::share() {
    if (!shared_) shared_ = std::make_unique<shared_part>();
}

bool handler_work::push_serial(job&& last) {
    share();
    const std::lock_guard lock{shared_->mutex};
    shared_->serial.add() = std::move(last);
    return !std::exchange(shared_->serial_active, true);
}

job* handler_work::take_serial() {
    const std::lock_guard lock{shared_->mutex};
    job* const first = shared_->serial.take();
    shared_->serial_active = first != nullptr;
    return first;
}

}  // namespace kephas
