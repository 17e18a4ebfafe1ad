#include <kephas/base/error.hpp>

#include <kephas/server/outbox.hpp>

#include <algorithm>
#include <utility>

namespace kephas {

outbound_totals& outbound_totals::operator+=(const outbound_totals& other) noexcept {
    using count = std::uint64_t outbound_counters::*;
    static constexpr count all[] = {
        &outbound_counters::queued_messages,    &outbound_counters::queued_bytes,
        &outbound_counters::written_messages,   &outbound_counters::written_bytes,
        &outbound_counters::dropped_messages,   &outbound_counters::dropped_bytes,
        &outbound_counters::refused_messages,   &outbound_counters::refused_bytes,
        &outbound_counters::replaced_messages,  &outbound_counters::replaced_bytes,
        &outbound_counters::discarded_messages, &outbound_counters::discarded_bytes,
    };
    static_assert(sizeof(all) / sizeof(all[0]) * sizeof(std::uint64_t) == sizeof(outbound_counters));
    for (const count each : all) counters.*each += other.counters.*each;
    deflated.messages += other.deflated.messages;
    deflated.bytes += other.deflated.bytes;
    deflated.to_bytes += other.deflated.to_bytes;
    still_queued_messages += other.still_queued_messages;
    still_queued_bytes += other.still_queued_bytes;
    return *this;
}

send_status outbox::push(outbound_frame&& frame, overflow_policy policy, std::uint64_t key) {
    const std::lock_guard lock{mutex_};
    if (flushing_.load(std::memory_order_relaxed)) queue_.defer_charges();
    const send_status status = queue_.push(std::move(frame), policy, key);
    note_idle_locked();
    if (status == send_status::queued) wake_locked();
    return status;
}

asio::awaitable<send_status> outbox::push_when_room(outbound_frame frame) {
    for (;;) {
        const send_status status = push(std::move(frame), overflow_policy::wait);  // moved from only when it is queued
        if (status != send_status::full) co_return status;
        std::error_code ec;
        const std::size_t size = frame.size();
        const std::size_t allocated = frame.body.allocated();
        co_await park([&](parked_ptr who) { return wait_for_room(size, allocated, std::move(who)); }, ec);
        if (ec) throw std::system_error{ec};
    }
}

bool outbox::wait_for_room(std::size_t size, std::size_t allocated, parked_ptr who) {
    const std::lock_guard lock{mutex_};
    return !queue_.closed() && wait_locked({std::move(who), size, allocated});
}

asio::awaitable<bool> outbox::drained() {
    bool gone = false;
    std::error_code ec;  // what it was resumed with: after that the queue may have been filled again, or discarded
    co_await park(
        [&](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            gone = queue_.failed();
            const bool waits = !gone && wait_locked({std::move(who), 0, 0});
            if (waits && queue_.empty()) wake_locked();  // it waits for what leaves past the queue: a flush will tell
            return waits;
        },
        ec);
    if (ec == errc::closed) co_return false;
    if (ec) throw std::system_error{ec};
    co_return !gone;
}

bool outbox::wait_locked(waiter waiting) {
    if (served_locked(waiting)) return false;
    if (waiters_.size() == waiters_.capacity()) {  // before it grows: the cancelled ones make room
        std::erase_if(waiters_, [](const waiter& other) { return other.who->resumed(); });
    }
    waiters_.push_back(std::move(waiting));
    note_idle_locked();
    return true;
}

bool outbox::push_control(bytes_view frame) {
    const std::lock_guard lock{mutex_};
    if (!queue_.push_control(frame)) return false;
    note_idle_locked();
    wake_locked();
    return true;
}

bool outbox::close(bytes_view close_frame) {
    const std::lock_guard lock{mutex_};
    if (!queue_.push_close(close_frame)) return false;
    resume_waiters_locked(wake_reason::closing);
    note_idle_locked();
    wake_locked();
    return true;
}

void outbox::fail(bytes_view close_frame) {
    const std::lock_guard lock{mutex_};
    queue_.fail(close_frame);
    resume_waiters_locked(wake_reason::gone);
    note_idle_locked();
    wake_locked();
}

void outbox::discard() {
    const std::lock_guard lock{mutex_};
    queue_.discard();
    resume_waiters_locked(wake_reason::gone);
    note_idle_locked();
}

void outbox::compress_from(std::size_t threshold) {
    const std::lock_guard lock{mutex_};
    queue_.compress_from(threshold);
}

std::optional<outbound_frame> outbox::take_uncompressed() {
    const std::lock_guard lock{mutex_};
    return queue_.take_uncompressed();
}

void outbox::put_compressed(outbound_frame&& frame) {
    const std::lock_guard lock{mutex_};
    queue_.put_compressed(std::move(frame));
}

void outbox::hold_wakes(bool flushing) {
    wake_pending_.store(true, std::memory_order_relaxed);
    flushing_.store(flushing, std::memory_order_relaxed);
}

bool outbox::let_wakes_go() noexcept {
    wake_pending_.store(false, std::memory_order_seq_cst);
    if (!idle_.load(std::memory_order_seq_cst)) return false;
    flushing_.store(false, std::memory_order_relaxed);
    return true;
}

void outbox::put_back(bytes_view frames, std::size_t written, wire_format format) {
    const std::lock_guard lock{mutex_};
    flushing_.store(false, std::memory_order_relaxed);
    queue_.written(0);
    queue_.put_back(frames, written, format);
    note_idle_locked();
}

std::size_t outbox::gather(std::span<bytes_view> out, mutable_bytes scratch) {
    const std::lock_guard lock{mutex_};
    if (queue_.empty()) flushing_.store(false, std::memory_order_relaxed);  // there will be no `written`
    return queue_.gather(out, scratch);
}

outbox::progress outbox::written(std::size_t size) {
    const std::lock_guard lock{mutex_};
    flushing_.store(false, std::memory_order_relaxed);
    queue_.written(size);
    if (!waiters_.empty()) resume_waiters_locked(wake_reason::progress);
    note_idle_locked();
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

outbound_totals outbox::totals() const {
    const std::lock_guard lock{mutex_};
    return {queue_.counters(), queue_.deflated(), queue_.messages(), queue_.bytes()};
}

void outbox::trim() {
    const std::lock_guard lock{mutex_};
    queue_.trim();
}

void outbox::wake_locked() noexcept {
    if (wake_pending_.load(std::memory_order_seq_cst)) return;
    wake_pending_.store(true, std::memory_order_relaxed);
    owner_.wake();
}

void outbox::note_idle_locked() noexcept {
    const bool idle = queue_.empty() && !queue_.closed() && waiters_.empty();
    if (idle != idle_.load(std::memory_order_relaxed)) idle_.store(idle, std::memory_order_seq_cst);
}

void outbox::resume_waiters_locked(wake_reason reason) {
    // Everybody for whom there is room now, in the order in which they came: whoever finds it taken waits again.
    // Waking fewer would strand those behind one that was cancelled meanwhile.
    std::erase_if(waiters_, [&](const waiter& waiting) {
        const bool for_room = waiting.size > 0;
        const bool in_vain = reason == wake_reason::gone || (reason == wake_reason::closing && for_room);
        if (!in_vain && !served_locked(waiting)) return false;
        if (in_vain && !for_room) waiting.who->resume(make_error_code(errc::closed));
        else waiting.who->resume();
        return true;
    });
}

}  // namespace kephas
