#include <kephas/proto/session/timer_wheel.hpp>

#include <algorithm>
#include <bit>
#include <cassert>

namespace kephas {

namespace {

constexpr std::size_t bits = 64;

// The difference of two points in time of which the later comes first; signed, it could overflow.
std::uint64_t since(time_point later, time_point earlier) noexcept {
    return static_cast<std::uint64_t>(later.time_since_epoch().count()) -
           static_cast<std::uint64_t>(earlier.time_since_epoch().count());
}

}  // namespace

timer_wheel::timer_wheel(duration tick, std::size_t slots, time_point now)
    : tick_{tick},
      mask_{slots - 1},
      slots_{std::make_unique<timer_entry[]>(slots)},
      occupied_{std::make_unique<std::uint64_t[]>((slots + bits - 1) / bits)},
      now_{now} {
    assert(tick > duration::zero() && std::has_single_bit(slots));
    for (std::size_t i = 0; i < slots; ++i) make_empty(slots_[i]);
    make_empty(due_);
}

timer_wheel::~timer_wheel() {
    while (!list_empty(due_)) unlink(*due_.next_);
    for (std::size_t i = 0; i <= mask_; ++i) {
        while (!list_empty(slots_[i])) unlink(*slots_[i].next_);
    }
}

void timer_wheel::schedule(timer_entry& entry, time_point deadline) noexcept {
    if (entry.scheduled()) remove(entry);
    entry.deadline_ = deadline;
    ++size_;
    if (deadline <= now_) return append(due_, entry);
    const auto slot = static_cast<std::size_t>(position_ + ticks_until(deadline)) & mask_;
    append(slots_[slot], entry);
    occupied_[slot / bits] |= std::uint64_t{1} << (slot % bits);
}

void timer_wheel::cancel(timer_entry& entry) noexcept {
    if (entry.scheduled()) remove(entry);
}

timer_entry* timer_wheel::pop_expired(time_point now) noexcept {
    if (list_empty(due_)) advance(now);
    if (list_empty(due_)) return nullptr;
    timer_entry& entry = *due_.next_;
    unlink(entry);
    --size_;
    return &entry;
}

std::optional<time_point> timer_wheel::next_wakeup() const noexcept {
    if (size_ == 0) return std::nullopt;
    if (!list_empty(due_)) return now_;
    const auto ticks = distance_to_occupied((position_ + 1) & mask_) + 1;
    // A tick that lies beyond the end of time is not waited for.
    const auto representable = since(time_point::max(), now_) / static_cast<std::uint64_t>(tick_.count());
    if (ticks > representable) return time_point::max();
    return now_ + tick_ * static_cast<duration::rep>(ticks);
}

// How many ticks after `now_` the entry is due: at the first one that is not before its deadline.
std::uint64_t timer_wheel::ticks_until(time_point deadline) const noexcept {
    return (since(deadline, now_) - 1) / static_cast<std::uint64_t>(tick_.count()) + 1;
}

void timer_wheel::remove(timer_entry& entry) noexcept {
    unlink(entry);
    --size_;
    if (entry.deadline_ <= now_) return;  // it was due, not in a slot
    const auto slot = static_cast<std::size_t>(position_ + ticks_until(entry.deadline_)) & mask_;
    if (list_empty(slots_[slot])) occupied_[slot / bits] &= ~(std::uint64_t{1} << (slot % bits));
}

// However far `now` has jumped ahead, each slot is visited once.
void timer_wheel::advance(time_point now) noexcept {
    if (now <= now_) return;
    const auto ticks = since(now, now_) / static_cast<std::uint64_t>(tick_.count());
    if (ticks == 0) return;
    const std::size_t first = position_ + 1;
    now_ += tick_ * static_cast<duration::rep>(ticks);
    position_ = static_cast<std::size_t>(position_ + ticks) & mask_;
    const auto visits = static_cast<std::size_t>(std::min<std::uint64_t>(ticks, mask_ + 1));
    for (std::size_t i = 0; i < visits; ++i) {
        i += distance_to_occupied((first + i) & mask_);
        if (i >= visits) break;
        expire((first + i) & mask_);
    }
}

// Moves what is due out of the slot; what has more rounds to go stays.
void timer_wheel::expire(std::size_t slot) noexcept {
    timer_entry& list = slots_[slot];
    for (timer_entry* entry = list.next_; entry != &list;) {
        timer_entry& current = *entry;
        entry = entry->next_;
        if (current.deadline_ > now_) continue;
        unlink(current);
        append(due_, current);
    }
    if (list_empty(list)) occupied_[slot / bits] &= ~(std::uint64_t{1} << (slot % bits));
}

// How many slots further on, going round, the first one is that holds something; the number of slots if none does.
std::size_t timer_wheel::distance_to_occupied(std::size_t slot) const noexcept {
    const std::size_t words = mask_ / bits + 1;
    std::size_t word = slot / bits;
    std::uint64_t found = occupied_[word] & (~std::uint64_t{0} << (slot % bits));
    for (std::size_t i = 0; i < words && found == 0; ++i) {
        word = word + 1 == words ? 0 : word + 1;
        found = occupied_[word];  // in the end the first word again, for the slots before `slot`
    }
    if (found == 0) return mask_ + 1;
    return (word * bits + static_cast<std::size_t>(std::countr_zero(found)) - slot) & mask_;
}

void timer_wheel::append(timer_entry& list, timer_entry& entry) noexcept {
    entry.next_ = &list;
    entry.previous_ = list.previous_;
    list.previous_->next_ = &entry;
    list.previous_ = &entry;
}

void timer_wheel::unlink(timer_entry& entry) noexcept {
    entry.previous_->next_ = entry.next_;
    entry.next_->previous_ = entry.previous_;
    entry.next_ = entry.previous_ = nullptr;
}

}  // namespace kephas
