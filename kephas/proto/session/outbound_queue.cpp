#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/session/outbound_queue.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

namespace kephas {

namespace {
constexpr std::uint32_t smallest_ring = 4;   // entries
constexpr std::uint32_t largest_kept_ring = 32;
constexpr std::size_t always_affordable = 64 * 1024;  // while nothing is left by a write
}

/// What `gather` fills: consecutive copies share one element of `out`.
class outbound_queue::gather_list {
public:
    gather_list(std::span<bytes_view> out, mutable_bytes scratch) noexcept
        : out_{out}, run_{scratch.data()}, next_{run_}, end_{run_ + scratch.size()} {}

    /// Copies what fits. False if that was not all.
    bool copy(bytes_view bytes) noexcept {
        if (bytes.empty()) return true;
        if (full()) return false;
        const std::size_t size = std::min(bytes.size(), static_cast<std::size_t>(end_ - next_));
        // Not memcpy: where g++ knows that `size` is small it inlines that as `rep movsq`, ten times as slow as the
        // call.
        std::memmove(next_, bytes.data(), size);
        next_ += size;
        return size == bytes.size();
    }
    /// The same for the whole head of a frame: with room to spare, a copy of fixed size and no call.
    bool copy_head(const outbound_frame& frame) noexcept {
        if (static_cast<std::size_t>(end_ - next_) < frame.head.size() || full()) {
            return copy(bytes_view{frame.head}.first(frame.head_size));
        }
        std::memcpy(next_, frame.head.data(), frame.head.size());
        next_ += frame.head_size;
        return true;
    }
    bool refer(bytes_view bytes) noexcept {
        end_run();
        if (used_ == out_.size()) return false;
        std::construct_at(&out_[used_++], bytes);
        return true;
    }
    /// Whether no byte more can be copied.
    [[nodiscard]] bool full() const noexcept { return next_ == end_ || used_ == out_.size(); }
    [[nodiscard]] std::size_t finish() noexcept {
        end_run();
        return used_;
    }

private:
    void end_run() noexcept {
        if (run_ == next_) return;
        std::construct_at(&out_[used_++], run_, next_);
        run_ = next_;
    }

    std::span<bytes_view> out_;
    std::size_t used_ = 0;
    std::byte* run_;  // what was copied since the last reference: not yet an element
    std::byte* next_;
    std::byte* end_;
};

outbound_queue::~outbound_queue() { release_entries(); }

send_status outbound_queue::push(outbound_frame&& frame, overflow_policy policy, std::uint64_t key) {
    assert(frame.head_size <= frame.head.size());
    if (closed_) return send_status::closed;
    const std::size_t size = frame.size();
    const bool replaceable = policy == overflow_policy::latest;
    if (replaceable && count_ > 0 && replace(frame, key, size)) return send_status::queued;
    if (!fits(count_, data_bytes_, size) || !affordable(count_, frame.body)) {
        if (policy == overflow_policy::wait || policy == overflow_policy::close) return send_status::full;
        if (policy == overflow_policy::drop_newest || first_droppable() == count_ || !can_make_room(size)) {
            ++counters_.refused_messages;
            counters_.refused_bytes += size;
            return send_status::full;
        }
        drop_oldest(size, frame.body);
    }
    append(std::move(frame), key, replaceable, size);
    return send_status::queued;
}

bool outbound_queue::push_control(bytes_view frame) {
    if (failed_ || close_begun() || frame.empty()) return true;
    if (closed_ && !close_queued()) return true;  // closed without a close frame
    if (frame.size() > std::numeric_limits<std::uint8_t>::max()) return false;
    if (control_bytes_ + frame.size() > limits_->max_control_bytes) return false;
    // One insertion before the close frame, if there is one, so that there is nothing halfway when memory runs out.
    const auto at =
        control_.insert(control_.begin() + close_at_, 1 + frame.size(), static_cast<std::byte>(frame.size()));
    std::copy(frame.begin(), frame.end(), at + 1);
    close_at_ += static_cast<std::uint32_t>(1 + frame.size());
    control_bytes_ += static_cast<std::uint32_t>(frame.size());
    counters_.queued_bytes += frame.size();
    return true;
}

bool outbound_queue::push_close(bytes_view frame) {
    if (closed_) return false;
    append_close(frame);
    closed_ = true;
    return true;
}

void outbound_queue::fail(bytes_view close_frame) {
    if (failed_) return;
    closed_ = failed_ = true;
    discard_unbegun();
    if (close_begun()) return;
    discard_close();
    append_close(close_frame);
}

void outbound_queue::discard() noexcept {
    closed_ = failed_ = true;
    front_written_ = 0;
    control_part_written_ = 0;
    counters_.discarded_messages += count_;
    counters_.discarded_bytes += bytes();
    data_in_flight_ = control_in_flight_ = 0;
    close_in_flight_ = false;
    close_part_written_ = 0;
    data_bytes_ = control_bytes_ = 0;
    control_.clear();
    close_at_ = 0;
    release_entries();
}

void outbound_queue::compress_from(std::size_t threshold) {
    compression_ = std::make_unique<compression>();
    compression_->threshold = threshold;
}

std::optional<outbound_frame> outbound_queue::take_uncompressed() noexcept {
    if (!compression_ || compression_->taken) return std::nullopt;
    compression& state = *compression_;
    while (state.ready < count_ && state.ready_bytes < most_compressed) {
        entry& next = at(state.ready);
        const std::size_t size = next.frame.size();
        if (!next.frame.as_is && size >= state.threshold) {
            state.taken = true;
            state.taken_size = size;
            release(next);
            return std::exchange(next.frame, outbound_frame{});
        }
        ++state.ready;
        state.ready_bytes += size;
    }
    return std::nullopt;
}

void outbound_queue::put_compressed(outbound_frame&& frame) noexcept {
    if (!compression_ || !std::exchange(compression_->taken, false)) return;  // discarded meanwhile
    compression& state = *compression_;
    const std::size_t size = frame.size();
    if (frame.as_is) {
        ++state.counters.messages;
        state.counters.bytes += state.taken_size;
        state.counters.to_bytes += size;
    }
    entry& place = at(state.ready);
    release(place);
    place.frame = std::move(frame);
    if (state.ready < charged_) charge(place);
    ++state.ready;
    state.ready_bytes += size;
    data_bytes_ += size - state.taken_size;
}

std::size_t outbound_queue::gather(std::span<bytes_view> out, mutable_bytes scratch) noexcept {
    gather_list list{out, scratch};
    data_in_flight_ = control_in_flight_ = 0;
    close_in_flight_ = false;
    // The frame that has begun, then control frames, then the data, then the close frame.
    bool more = front_written_ == 0 || gather_data(list, 0);
    more = more && (close_at_ == 0 || gather_controls(list));
    const std::size_t ready = compression_ ? compression_->ready : count_;
    for (std::size_t i = data_in_flight_; more && i < ready; ++i) more = gather_data(list, i);
    if (more && ready == count_ && close_queued() && !list.full()) {
        close_in_flight_ = true;
        list.copy(bytes_view{control_}.subspan(close_at_ + close_part_written_));
    }
    const std::size_t used = list.finish();
    std::size_t given = 0;
    for (const bytes_view part : out.first(used)) given += part.size();
    gathered_ = static_cast<std::uint32_t>(std::min<std::size_t>(given, std::numeric_limits<std::uint32_t>::max()));
    return used;
}

void outbound_queue::written(std::size_t size) noexcept {
    std::size_t left = size;
    // In the order of the gather, whatever has been pushed since.
    if (front_written_ > 0 && data_in_flight_ > 0) take_front(left);
    if (control_in_flight_ > 0) take_controls(left);
    while (left > 0 && data_in_flight_ > 0) take_front(left);
    if (close_in_flight_) take_close(left);
    assert(left == 0 || failed_);  // after discard() nothing is in flight, and all has been counted
    counters_.written_bytes += size - left;
    data_in_flight_ = control_in_flight_ = 0;
    close_in_flight_ = false;
    if (failed_) discard_unbegun();
    stalled_ = count_ > 0 && size < gathered_;
    if (count_ > 0 && !stalled_) return;  // the gather had no room for more: the burst goes on with the next one
    const bool own_burst = std::exchange(charges_deferred_, false);
    if (stalled_) charge_new();
    else release_idle_ring(own_burst);
}

void outbound_queue::put_back(bytes_view frames, std::size_t written, wire_format format) {
    assert(!compression_ && front_written_ == 0 && data_in_flight_ == 0);
    const slice bytes = slice::copy(frames);
    std::vector<std::size_t> ends;
    for (std::size_t end = 0; end < frames.size();) ends.push_back(end += server_frame_size(frames.subspan(end), format));
    while (capacity_ < count_ + ends.size()) grow();

    counters_.queued_messages += ends.size();
    counters_.queued_bytes += frames.size();
    counters_.written_bytes += written;
    for (std::size_t i = ends.size(); i-- > 0;) {
        const std::size_t begin = i == 0 ? 0 : ends[i - 1];
        outbound_frame frame{.head = {}, .body = payload{bytes.sub(begin, ends[i] - begin)}};
        head_ = (head_ - 1) & (capacity_ - 1);
        std::construct_at(&entries_[head_], std::move(frame), 0U, false);
        ++count_;
    }
    data_bytes_ += frames.size() - written;
    front_written_ = written;
    stalled_ = true;
    if (budget_ != nullptr) {
        for (std::size_t i = 0; i < ends.size(); ++i) charge(at(i));
        charged_ += static_cast<std::uint32_t>(ends.size());
        charge_new();
    }
    if (failed_) discard_unbegun();
}

void outbound_queue::trim() noexcept {
    if (!empty()) return;
    release_entries();
    std::vector<std::byte>{}.swap(control_);
    close_at_ = 0;
}

// Whether `size` would fit if everything that may be dropped was.
bool outbound_queue::can_make_room(std::size_t size) const noexcept {
    const std::size_t kept = first_droppable();
    std::size_t kept_bytes = data_bytes_;
    for (std::size_t i = kept; i < count_; ++i) kept_bytes -= at(i).frame.size();
    return fits(kept, kept_bytes, size);
}

// Puts `frame` in the place of the queued one with its key. If there is one but the new one does not fit there,
// takes the old one out and answers false: the new one is then queued like any other.
bool outbound_queue::replace(outbound_frame& frame, std::uint64_t key, std::size_t size) {
    for (std::size_t i = first_droppable(); i < count_; ++i) {
        entry& old = at(i);
        if (!old.replaceable || old.key != key) continue;
        const std::size_t old_size = old.frame.size();
        const bool charged = old.charged != entry::charge::none;
        release(old);  // first, because the new one may cost as much
        const bool in_place = size > 0 && fits(count_ - 1, data_bytes_ - old_size, size) && affordable(count_ - 1, frame.body);
        if (!in_place && !can_make_room(size)) {
            if (charged) charge(old);
            return false;
        }
        ++counters_.replaced_messages;
        counters_.replaced_bytes += old_size;
        data_bytes_ -= old_size;
        if (!in_place) {
            erase(i, 1);
            return false;
        }
        old.frame = std::move(frame);
        if (charged) charge(old);
        data_bytes_ += size;
        ++counters_.queued_messages;
        counters_.queued_bytes += size;
        return true;
    }
    return false;
}

// Drops from the front, behind what has begun, until there is room for `size`, or nothing is left to drop.
void outbound_queue::drop_oldest(std::size_t size, const payload& body) noexcept {
    const std::size_t first = first_droppable();
    std::size_t dropped = 0;
    // Dropping gives nothing back to the budget as long as others hold the same bytes.
    while (first + dropped < count_ &&
           (!fits(count_ - dropped, data_bytes_, size) || !affordable(count_ - dropped, body))) {
        entry& old = at(first + dropped);
        const std::size_t old_size = old.frame.size();
        release(old);
        data_bytes_ -= old_size;
        counters_.dropped_bytes += old_size;
        ++dropped;
    }
    counters_.dropped_messages += dropped;
    erase(first, dropped);
}

void outbound_queue::append(outbound_frame&& frame, std::uint64_t key, bool replaceable, std::size_t size) {
    if (size > 0 && count_ == capacity_) grow();  // before anything is counted: there may be no memory for it
    ++counters_.queued_messages;
    counters_.queued_bytes += size;
    if (size == 0) {  // there is nothing to write, so nothing would ever take it out
        ++counters_.written_messages;
        return;
    }
    std::construct_at(&at(count_), std::move(frame), key, replaceable);
    ++count_;
    data_bytes_ += size;
    if (!charges_deferred_) charge_new();
}

// Takes entries out of the ring by moving those before them up: there are few, those that are being written.
void outbound_queue::erase(std::size_t index, std::size_t how_many) noexcept {
    if (how_many == 0) return;
    for (std::size_t i = index; i > 0; --i) {
        // Not assigned: a short string that is assigned to a long one takes over its memory, and was not charged for it.
        entry& to = at(i - 1 + how_many);
        std::destroy_at(&to);
        std::construct_at(&to, std::move(at(i - 1)));
    }
    for (std::size_t i = 0; i < how_many; ++i) std::destroy_at(&at(i));
    if (charged_ > index) charged_ -= static_cast<std::uint32_t>(std::min(charged_ - index, how_many));
    head_ = static_cast<std::uint32_t>((head_ + how_many) & (capacity_ - 1));
    count_ -= static_cast<std::uint32_t>(how_many);
}

void outbound_queue::grow() {
    // Most queues hold little; one that holds more grows in few steps.
    const std::uint32_t larger = capacity_ == 0 ? smallest_ring : capacity_ * (capacity_ < 256 ? 8 : 2);
    entry* const entries = std::allocator<entry>{}.allocate(larger);
    for (std::uint32_t i = 0; i < count_; ++i) {
        std::construct_at(entries + i, std::move(at(i)));
        std::destroy_at(&at(i));
    }
    if (entries_ != nullptr) std::allocator<entry>{}.deallocate(entries_, capacity_);
    entries_ = entries;
    capacity_ = larger;
    head_ = 0;
}

void outbound_queue::release_entries() noexcept {
    for (std::uint32_t i = 0; i < count_; ++i) {
        release(at(i));
        std::destroy_at(&at(i));
    }
    if (ring_charged_ > 0) budget_->release(ring_charged_ * sizeof(entry));
    charged_ = ring_charged_ = 0;
    if (entries_ != nullptr) std::allocator<entry>{}.deallocate(entries_, capacity_);
    entries_ = nullptr;
    capacity_ = head_ = count_ = 0;
    if (!compression_) return;
    compression_->ready = 0;
    compression_->ready_bytes = 0;
    compression_->taken = false;
}

bool outbound_queue::affordable(std::size_t messages, const payload& body) const noexcept {
    if (messages == 0 || budget_ == nullptr) return true;
    const slice* const shared = body.shared();
    return affordable(messages, shared != nullptr ? budget_->cost_of(*shared) : body.allocated());
}

bool outbound_queue::affordable(std::size_t messages, std::size_t cost) const noexcept {
    if (messages == 0 || budget_ == nullptr) return true;
    if (!stalled_ && data_bytes_ + cost <= always_affordable) return true;
    return budget_->fits(cost, stalled_ ? budget_->limit() / 4 : 0);
}

void outbound_queue::charge(entry& fresh) noexcept {
    const slice* const shared = fresh.frame.body.shared();
    if (shared != nullptr && budget_->hold(*shared)) {
        fresh.charged = entry::charge::shared;
        return;
    }
    fresh.charged = entry::charge::own;
    if (const std::size_t allocated = fresh.frame.body.allocated(); allocated > 0) budget_->charge(allocated);
}

void outbound_queue::charge_new() noexcept {
    if (budget_ == nullptr) return;
    for (; charged_ < count_; ++charged_) charge(at(charged_));
    if (stalled_ && ring_charged_ < capacity_) {  // otherwise it is empty again in a moment
        budget_->charge((capacity_ - ring_charged_) * sizeof(entry));
        ring_charged_ = capacity_;
    }
}

// An empty queue is charged for nothing. It keeps its ring for the next burst if that comes from the strand itself, because
// then another one is to be expected soon; one that a broadcast has filled gives it back.
void outbound_queue::release_idle_ring(bool own_burst) noexcept {
    if (ring_charged_ > 0) budget_->release(std::exchange(ring_charged_, 0) * sizeof(entry));
    if (capacity_ > (own_burst ? largest_kept_ring : smallest_ring)) release_entries();
}

void outbound_queue::release(entry& old) noexcept {
    switch (std::exchange(old.charged, entry::charge::none)) {
        case entry::charge::none: break;
        case entry::charge::own:
            if (const std::size_t allocated = old.frame.body.allocated(); allocated > 0) budget_->release(allocated);
            break;
        case entry::charge::shared: budget_->let_go(*old.frame.body.shared()); break;
    }
}

void outbound_queue::append_close(bytes_view frame) {
    assert(frame.size() <= std::numeric_limits<std::uint8_t>::max());  // RFC 6455 5.5: 125 bytes and the head
    control_.insert(control_.end(), frame.begin(), frame.end());
    control_bytes_ += static_cast<std::uint32_t>(frame.size());
    counters_.queued_bytes += frame.size();
}

void outbound_queue::discard_close() noexcept {
    const std::size_t size = control_.size() - close_at_;
    control_.resize(close_at_);
    control_bytes_ -= static_cast<std::uint32_t>(size);
    counters_.discarded_bytes += size;
}

// Leaves the close frame, what has begun, and what the kernel may be taking just now.
void outbound_queue::discard_unbegun() noexcept {
    const std::size_t kept = first_unbegun();
    while (count_ > kept) {
        entry& last = at(count_ - 1);
        const std::size_t size = compression_ ? forget_ready(count_ - 1, last.frame.size()) : last.frame.size();
        data_bytes_ -= size;
        ++counters_.discarded_messages;
        counters_.discarded_bytes += size;
        release(last);
        std::destroy_at(&last);
        --count_;
    }
    charged_ = std::min(charged_, count_);

    std::uint32_t end = control_in_flight_;
    if (end == 0 && control_part_written_ > 0) end = 1 + std::to_integer<std::uint32_t>(control_[0]);
    std::uint32_t size = 0;
    for (std::uint32_t at = end; at < close_at_; at += 1 + std::to_integer<std::uint32_t>(control_[at])) {
        size += std::to_integer<std::uint32_t>(control_[at]);
    }
    control_.erase(control_.begin() + end, control_.begin() + close_at_);
    close_at_ = end;
    control_bytes_ -= size;
    counters_.discarded_bytes += size;
}

// The entry `index`, with a frame of `size`, is going to be removed: how many bytes it counts with.
std::size_t outbound_queue::forget_ready(std::size_t index, std::size_t size) noexcept {
    if (index == compression_->ready && std::exchange(compression_->taken, false)) return compression_->taken_size;
    if (index < compression_->ready) {
        --compression_->ready;
        compression_->ready_bytes -= size;
    }
    return size;
}

// False if there was no room for all of it.
bool outbound_queue::gather_data(gather_list& list, std::size_t index) noexcept {
    if (list.full()) return false;
    ++data_in_flight_;
    const outbound_frame& frame = at(index).frame;
    const std::size_t skip = index == 0 ? front_written_ : 0;
    bytes_view body = frame.body.view();
    if (skip == 0) {
        if (!list.copy_head(frame)) return false;
    } else if (skip < frame.head_size) {
        if (!list.copy(bytes_view{frame.head}.first(frame.head_size).subspan(skip))) return false;
    } else {
        body = body.subspan(skip - frame.head_size);
    }
    return body.size() <= copy_threshold ? list.copy(body) : list.refer(body);
}

bool outbound_queue::gather_controls(gather_list& list) noexcept {
    std::size_t skip = control_part_written_;
    while (control_in_flight_ < close_at_) {
        if (list.full()) return false;
        const auto size = std::to_integer<std::uint32_t>(control_[control_in_flight_]);
        const bytes_view frame = bytes_view{control_}.subspan(control_in_flight_ + 1, size);
        control_in_flight_ += 1 + size;
        if (!list.copy(frame.subspan(std::exchange(skip, 0)))) return false;
    }
    return true;
}

void outbound_queue::take_front(std::size_t& size) noexcept {
    entry& front = at(0);
    const std::size_t rest = front.frame.size() - front_written_;
    const std::size_t taken = std::min(rest, size);
    size -= taken;
    data_bytes_ -= taken;
    if (compression_) compression_->ready_bytes -= taken;
    if (taken < rest) {
        front_written_ += taken;
        data_in_flight_ = 0;
        return;
    }
    release(front);
    std::destroy_at(&front);
    front_written_ = 0;
    head_ = (head_ + 1) & (capacity_ - 1);
    --count_;
    if (charged_ > 0) --charged_;
    if (compression_) --compression_->ready;
    --data_in_flight_;
    ++counters_.written_messages;
}

void outbound_queue::take_controls(std::size_t& size) noexcept {
    std::uint32_t at = 0;
    while (size > 0 && at < control_in_flight_) {
        const auto frame_size = std::to_integer<std::uint32_t>(control_[at]);
        const std::size_t rest = frame_size - control_part_written_;
        const std::size_t taken = std::min(rest, size);
        size -= taken;
        control_bytes_ -= static_cast<std::uint32_t>(taken);
        if (taken < rest) {
            control_part_written_ = static_cast<std::uint8_t>(control_part_written_ + taken);
            break;
        }
        control_part_written_ = 0;
        at += 1 + frame_size;
    }
    control_.erase(control_.begin(), control_.begin() + at);
    close_at_ -= at;
}

void outbound_queue::take_close(std::size_t& size) noexcept {
    const std::size_t rest = control_.size() - close_at_ - close_part_written_;
    const std::size_t taken = std::min(rest, size);
    size -= taken;
    control_bytes_ -= static_cast<std::uint32_t>(taken);
    close_part_written_ = static_cast<std::uint8_t>(close_part_written_ + taken);
    if (taken < rest) return;
    control_.clear();
    close_at_ = 0;
    close_part_written_ = 0;
    close_written_ = true;
}

}  // namespace kephas
