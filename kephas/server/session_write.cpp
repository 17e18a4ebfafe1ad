// How what was sent to a client leaves.
#include <kephas/base/uninitialised.hpp>

#include <kephas/proto/session/deflate_frame.hpp>

#include <kephas/server/session.hpp>

#include <asio/error.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace kephas {

void session::flush(time_point now) {
    if (write_blocked_ || !state_ || finished_) return;
    outbox& out = state_->out();
    if (send_ended_) {  // nothing leaves any more: who waits until that is so need not wait
        (void)out.let_wakes_go();
        (void)out.written(0);
        return;
    }
    uninitialised<std::array<bytes_view, 64>> buffers;
    uninitialised<std::array<std::byte, 16 * 1024>> few;
    mutable_bytes scratch = few.value;  // most flushes are of some short frames
    slice slab;
    for (;;) {
        if (deflate_) compress_queued();
        std::size_t count = 0;
        if (replies_ != nullptr && !replies_->empty()) std::construct_at(&buffers.value[count++], replies_->bytes());
        const bool queued = !out.let_wakes_go();
        if (queued) count += out.gather(std::span{buffers.value}.subspan(count), scratch);
        if (count == 0) {
            if (deflate_ && !out.empty()) continue;  // pushed behind what was compressed
            if (queued) (void)out.written(0);        // somebody waits until nothing is left
            break;
        }
        std::error_code ec;
        const std::size_t size = stream_->write_some(std::span{buffers.value}.first(count), ec);
        home_->count(&traffic_counters::bytes_sent, size);
        state_->counted().sent(size);
        const outbox::progress progress = note_written(size, queued);
        machine_->handle_write_progress(size, progress.still_queued, now);
        if (progress.close_written && !std::exchange(close_noted_, true)) {
            machine_->close_sent(now);
            if (machine_->format() == wire_format::stream) end_sending();  // the peer reads to the end, and then ends its side
        }
        if (ec == asio::error::would_block) {
            write_blocked_ = true;
            stream_->wait_writable([weak = weak_from_this()](std::error_code failed) {
                if (const auto self = weak.lock()) self->writable(failed);
            });
            break;
        }
        if (ec) {
            write_failed(now);
            break;
        }
        if (progress.still_queued == 0) break;  // what is pushed from now on wakes us again
        if (slab.empty()) {
            slab = home_->borrow_slab();
            scratch = slab.bytes();
        }
    }
    if (!slab.empty()) home_->give_back_slab(std::move(slab));
    if (phase_ == phase::ending) advance_end(now);
}

/// Counts what has left of the replies that pass the outbox, and of what was gathered there. What has not left of the
/// former is the first that the next write takes.
outbox::progress session::note_written(std::size_t size, bool queued) {
    outbox& out = state_->out();
    if (replies_ != nullptr && !replies_->empty()) {
        const bytes_view all = replies_->bytes();
        const std::size_t taken = std::min(size, all.size());
        std::size_t messages = replies_->frames();
        const std::size_t whole = taken == all.size() ? taken : replies_->whole(taken, messages);
        home_->count(&traffic_counters::direct_messages, messages);
        state_->counted().sent_directly(messages);
        home_->count(&traffic_counters::direct_bytes, whole);
        replies_->clear();
        size -= taken;
        if (whole < all.size()) {
            out.put_back(all.subspan(whole), taken - whole, state_->format());
            return {out.bytes(), false};
        }
    }
    return queued ? out.written(size) : outbox::progress{};
}

/// As much as the next write takes is compressed now, after every overflow policy: with context takeover it has to arrive.
void session::compress_queued() {
    while (auto frame = state_->out().take_uncompressed()) {
        // Back to its place also if there is no memory for it: what was taken would hold up everything behind it for ever.
        struct place_keeper {
            outbox& out;
            outbound_frame* frame;
            ~place_keeper() {
                if (frame != nullptr) out.put_compressed(std::move(*frame));
            }
        } keeper{state_->out(), &*frame};
        const std::size_t size = frame->size();
        outbound_frame compressed = deflate_frame(std::move(*frame), deflate_->deflater());
        if (compressed.as_is) context_.deflated.add(size, compressed.size());
        keeper.frame = nullptr;
        state_->out().put_compressed(std::move(compressed));
    }
}

bool session::send_past_outbox(bytes_view frame) noexcept {
    outbox& out = state_->out();
    const bool in_turn = replies_ != nullptr;  // with replies that leave at its end
    const bool waits = write_blocked_ || in_turn || !out.idle() || state_->end_was_requested();
    if (waits || deflate_ || frame.size() > outbound_queue::copy_threshold) return false;
    try {
        std::error_code ec;  // whatever it is, the write of what is left finds it again, and does what is due
        const bytes_view only[] = {frame};
        const std::size_t size = stream_->write_some(only, ec);
        if (size == 0) return false;
        home_->count(&traffic_counters::bytes_sent, size);
        state_->counted().sent(size);
        if (size == frame.size()) {
            state_->counted().sent_directly(1);
            home_->count(&traffic_counters::direct_messages, 1);
            home_->count(&traffic_counters::direct_bytes, size);
        } else {
            out.put_back(frame, size, state_->format());
            state_->wake();
        }
        return true;
    } catch (...) {  // nobody knows how much has left
        stream_->abort();
        return false;
    }
}

void session::writable(std::error_code ec) {
    write_blocked_ = false;
    if (finished_) return;
    (void)ec;  // the write that follows fails for the same reason, and the read may have ended before
    on_wake();
}

void session::send_now(outbound_frame frame) {
    if (!held_ || held_->replies.empty()) {
        outbox& out = state_->out();
        if (out.push(std::move(frame), overflow_policy::wait) != send_status::full) return;
        flush(clock::now());
        if (out.push(std::move(frame), overflow_policy::wait) != send_status::full) return;
    }
    held().replies.push_back(std::move(frame));  // reading stops until it is gone
}

/// What the outbox had no room for goes there as far as it has some now. True if anything went.
bool session::queue_held() {
    if (!held_) return false;
    bool any = false;
    if (!held_->control.empty() && state_->out().push_control(held_->control.view())) {
        held_->control = slice{};
        any = true;
    }
    auto& replies = held_->replies;
    while (!replies.empty() && state_->out().push(std::move(replies.front()), overflow_policy::wait) != send_status::full) {
        replies.erase(replies.begin());
        any = true;
    }
    forget_held_if_empty();
    return any;
}

session::held_output& session::held() {
    if (!held_) held_ = std::make_unique<held_output>();
    return *held_;
}

void session::forget_held_if_empty() noexcept {
    if (held_ && held_->replies.empty() && held_->control.empty()) held_.reset();
}

}  // namespace kephas
