#include <kephas/server/outbox.hpp>

#include <algorithm>
#include <utility>

namespace kephas {

send_status outbox::push(outbound_frame&& frame, overflow_policy policy, std::uint64_t key) {
    const std::lock_guard lock{mutex_};
    const send_status status = queue_.push(std::move(frame), policy, key);
    if (status == send_status::queued) wake_locked();
    return status;
}

asio::awaitable<send_status> outbox::push_when_room(outbound_frame frame) {
    const std::size_t size = frame.size();
    for (;;) {
        const send_status status = push(std::move(frame), overflow_policy::wait);  // moved from only when it is queued
        if (status != send_status::full) co_return status;
        std::error_code ec;
        co_await park([this, size](parked_ptr who) { return wait_for_room(size, std::move(who)); }, ec);
        if (ec) throw std::system_error{ec};
    }
}

bool outbox::wait_for_room(std::size_t size, parked_ptr who) {
    const std::lock_guard lock{mutex_};
    if (queue_.closed() || queue_.has_room(size)) return false;
    if (waiters_.size() == waiters_.capacity()) {  // before it grows: the cancelled ones make room
        std::erase_if(waiters_, [](const waiter& waiting) { return waiting.who->resumed(); });
    }
    waiters_.push_back({std::move(who), size});
    return true;
}

bool outbox::push_control(bytes_view frame) {
    const std::lock_guard lock{mutex_};
    if (!queue_.push_control(frame)) return false;
    wake_locked();
    return true;
}

bool outbox::close(bytes_view close_frame) {
    const std::lock_guard lock{mutex_};
    if (!queue_.push_close(close_frame)) return false;
    resume_waiters_locked(true);
    wake_locked();
    return true;
}

void outbox::fail(bytes_view close_frame) {
    const std::lock_guard lock{mutex_};
    queue_.fail(close_frame);
    resume_waiters_locked(true);
    wake_locked();
}

void outbox::discard() {
    const std::lock_guard lock{mutex_};
    queue_.discard();
    resume_waiters_locked(true);
}

void outbox::hold_wakes() {
    const std::lock_guard lock{mutex_};
    wake_pending_ = true;
}

std::size_t outbox::gather(std::span<bytes_view> out, mutable_bytes scratch) {
    const std::lock_guard lock{mutex_};
    wake_pending_ = false;
    return queue_.gather(out, scratch);
}

outbox::progress outbox::written(std::size_t size) {
    const std::lock_guard lock{mutex_};
    queue_.written(size);
    if (!waiters_.empty()) resume_waiters_locked(false);
    return {queue_.bytes(), queue_.close_written()};
}

bool outbox::empty() const {
    const std::lock_guard lock{mutex_};
    return queue_.empty();
}

bool outbox::closed() const {
    const std::lock_guard lock{mutex_};
    return queue_.closed();
}

std::size_t outbox::bytes() const {
    const std::lock_guard lock{mutex_};
    return queue_.bytes();
}

outbound_counters outbox::counters() const {
    const std::lock_guard lock{mutex_};
    return queue_.counters();
}

void outbox::trim() {
    const std::lock_guard lock{mutex_};
    queue_.trim();
}

void outbox::wake_locked() noexcept {
    if (!std::exchange(wake_pending_, true)) owner_.wake();
}

void outbox::resume_waiters_locked(bool all) {
    // Everybody for whom there is room now, in the order in which they came: whoever finds it taken waits again.
    // Waking fewer would strand those behind one that was cancelled meanwhile.
    std::erase_if(waiters_, [&](const waiter& waiting) {
        if (!all && !queue_.has_room(waiting.size)) return false;
        waiting.who->resume();
        return true;
    });
}

}  // namespace kephas
