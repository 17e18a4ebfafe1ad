// The connection while it is open: what it reads, and in which order things happen.
#include <kephas/base/uninitialised.hpp>

#include <kephas/proto/session/close_message.hpp>

#include <kephas/server/session.hpp>

#include <asio/error.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace kephas {

session::session(server_context& context, std::shared_ptr<shard> home, asio::any_io_executor strand,
                 std::unique_ptr<stream> transport, std::shared_ptr<const listener_role> role)
    : context_{context},
      home_{std::move(home)},
      stream_{std::move(transport)},
      opening_{std::make_unique<opening>(opening{std::move(role), {}, {}})} {
    if (!home_->single_threaded()) own_strand_ = std::make_unique<asio::any_io_executor>(std::move(strand));
    if (context_.options->handshake_timeout > duration::zero()) {
        deadline_ = clock::now() + context_.options->handshake_timeout;
    }
}

session::~session() { home_->cancel(*this); }

driver session::serve() {
    // Who resumes it after each of these: the stream, once others of this thread had their turn, `notify_change`.
    const driver::suspension reading{[this] { stream_->wait_readable(*this); }};
    const driver::suspension turn{[this] {
        if (stream_->wait_turn(*this)) return;
        asio::post(strand(), [self = shared_from_this()] { self->resume(); });
    }};
    const driver::suspension change{[this] { driver_paused_ = true; }};
    bool waited = false;  // for its turn: then for the next too, while it has something to say
    try {
        if (!finished_) process(clock::now());  // what came behind the handshake
        while (!finished_) {
            if (paused()) {
                pause();
                if (paused()) co_await change;
                unpause();
                process(clock::now());
            } else if (input_ended_ && phase_ == phase::ending) {
                co_await change;
            } else if (phase_ == phase::open && machine_->pending_input()) {
                co_await turn;
                process(clock::now());
                waited = true;
            } else {
                if (waited || stream_->pending()) co_await turn;
                else co_await reading;
                waited = !finished_ && read() && waited;
            }
        }
    } catch (...) {
        broken();
    }
}

void session::resume() noexcept {
    driver_.resume();
    if (driver_.done()) end_soon();
}

bool session::read() {
    std::error_code ec;
    read_buffer buffer{phase_ == phase::ending ? mutable_bytes{} : machine_->want(), home_.get(), {}};
    const std::size_t size = stream_->read_some(buffer, ec);
    if (ec == asio::error::would_block) return false;
    received(buffer, size, ec);
    return true;
}

void session::received(read_buffer& buffer, std::size_t size, std::error_code ec) {
    const time_point now = clock::now();
    home_->count(&traffic_counters::bytes_received, size);
    if (state_) state_->counted().received(size);
    if (phase_ == phase::ending) {
        static constexpr std::uint32_t most_discarded = 1024 * 1024;
        discarded_ += static_cast<std::uint32_t>(size);  // of one slab
        // A peer that has only ended its side still reads what is on its way to it.
        if (size == 0 && is_end(ec)) {
            input_ended_ = true;
            advance_end(now);
        } else if (size == 0 || discarded_ > most_discarded) {
            finished_ = true;
        }
    } else {
        if (size == 0) {
            input_ended_ = is_end(ec);
            machine_->handle_eof(!ec || ec == asio::error::eof);
        } else if (buffer.direct.empty()) {
            machine_->handle(buffer.slab.sub(0, size), now);
        } else {
            machine_->handle_direct(size, now);
        }
        process(now);
    }
    if (!buffer.slab.empty()) home_->give_back_slab(std::move(buffer.slab));
}

/// Lets the replies of one turn leave past the outbox. What could not be written is queued at the end of the turn.
class session::direct_replies {
public:
    explicit direct_replies(session& self) noexcept
        : self_{self}, run_{memory_.value, self.context_.options->outbox.max_messages, self.machine_->format()} {
        if (self_.state_ && !self_.deflate_) self_.replies_ = &run_;
    }
    direct_replies(const direct_replies&) = delete;
    direct_replies& operator=(const direct_replies&) = delete;
    ~direct_replies() {
        self_.replies_ = nullptr;
        if (run_.empty()) return;
        try {
            self_.state_->out().put_back(run_.bytes(), 0, self_.state_->format());
        } catch (...) {
            self_.broken();
        }
    }

private:
    session& self_;
    uninitialised<std::array<std::byte, 16 * 1024>> memory_;
    frame_run run_;
};

bool session::take_reply(websocket::opcode op, std::optional<command_id> id, bytes_view body) noexcept {
    if (replies_ == nullptr || write_blocked_ || body.size() > outbound_queue::copy_threshold) return false;
    const outbox& out = state_->out();  // what is queued there was sent earlier
    return out.idle() && replies_->bytes().size() + body.size() < context_.options->outbox.max_bytes &&
           replies_->add(op, id, body);
}

inline void session::handle(message_received&& message) {
    if (closing_ || state_->end_was_requested()) {
        settle_calls(message);  // a handler that still runs may be waiting for that; everything else comes too late
        home_->count(&traffic_counters::messages_discarded, 1);
        return;
    }
    ++messages_;
    if (message.opcode == websocket::opcode::text) dispatch_text(std::move(message.payload));
    else dispatch_binary(std::move(message.payload));
}

void session::process(time_point now) {
    // What one client may do before it is the turn of the others, however much was read from it: the driver waits for the next.
    static constexpr std::size_t most_messages = 64;
    static constexpr std::size_t most_bytes = 64 * 1024;  // and the rest of the message that exceeds it
    std::size_t steps = 0;  // messages, control frames and their answers
    std::size_t bytes = 0;
    const auto turn_over = [&] { return (steps >= most_messages || bytes >= most_bytes) && !machine_->failing(); };
    const slice::local_count counted{machine_->input()};
    const direct_replies replies{*this};
    bool more = phase_ == phase::open;
    while (more) {
        state_->out().hold_wakes(!write_blocked_);  // everything that is queued meanwhile leaves with the flush below
        more = false;
        while (phase_ == phase::open && (!paused() || machine_->failing()) && !turn_over()) {
            if (auto whole = machine_->poll_whole_message()) [[likely]] {
                ++steps;
                more = true;
                bytes += whole->payload.size();
                handle(std::move(*whole));
                continue;
            }
            auto event = machine_->poll_event();
            ++steps;
            if (!event) {
                if (!take_controls()) break;
            } else if (auto* message = std::get_if<message_received>(&*event)) {
                bytes += message->payload.size();
                handle(std::move(*message));
            } else {
                std::visit([this](auto&& what) { handle(std::forward<decltype(what)>(what)); }, std::move(*event));
            }
            more = true;
        }
        start_handlers();
        flush(now);
        if (queue_held()) flush(now);  // nobody would wake us: the first flush may have made all the room there will be
        // Handlers on the strand have ended by now: if they were the limit, what is left of the input comes next.
        more = more && phase_ == phase::open && machine_->pending_input() && !paused() && !turn_over();
    }
    if (phase_ == phase::open && take_controls()) flush(now);
    check_end_requests(now);
    reschedule();
}

bool session::take_controls() {
    bool any = false;
    std::array<std::byte, max_close_message> buffer;
    // The answer to a close frame waits for nothing: there is always room for it, and no event comes after it.
    while (!held_ || held_->control.empty() || machine_->close_was_received()) {
        const std::size_t size = machine_->poll_control(buffer);
        if (size == 0) break;
        const bytes_view frame = bytes_view{buffer}.first(size);
        const bool is_close = machine_->close_was_received();  // then it is the last one
        if (is_close) {
            state_->out().close(frame);  // the answer to theirs, behind what is queued
        } else if (!state_->out().push_control(frame)) {
            held().control = slice::copy(frame);
            return false;
        }
        any = true;
    }
    return any;
}

bool session::paused() const {
    if (phase_ != phase::open || closing_) return false;
    if (held_) return true;
    const handler_work& work = state_->work();
    if (work.has_room()) return false;
    if (work.bytes_full()) return true;
    // A handler that awaits an answer of this client's must get it, however many wait with it.
    return work.messages_full() && !state_->calls().any_pending();
}

void session::pause() {
    handler_work& work = state_->work();
    if (!reading_paused_) {
        reading_paused_ = true;
        machine_->pause_reading(clock::now());
        reschedule();
    }
    work.watch(true);
    end_hopeless_calls();
}

void session::unpause() {
    if (paused()) return;
    state_->work().watch(false);
    reading_paused_ = false;
    machine_->resume_reading(clock::now());
}

void session::woken() {
    if (!machine_) return;
    const time_point now = clock::now();
    flush(now);
    if (queue_held()) flush(now);
    if (phase_ == phase::open && machine_->failing()) process(now);  // the flush has shown that the peer is too slow
    check_end_requests(now);
    if (!paused()) notify_change();
    else if (reading_paused_) end_hopeless_calls();
    reschedule();
}

/// While the byte limit stops reading no answer can come, and the handlers that wait for one may be what holds the bytes.
void session::end_hopeless_calls() {
    if (state_->work().bytes_full() && state_->calls().any_pending()) state_->calls().end_all(errc::overloaded);
}

asio::awaitable<void> session::wait_for_change() {
    std::error_code ec;
    co_await park(
        [this](parked_ptr who) {
            change_waiter_ = std::move(who);
            return true;
        },
        ec);
}

void session::notify_change() {
    if (change_waiter_) std::exchange(change_waiter_, nullptr)->resume();
    if (!driver_paused_) return;
    asio::post(strand(), [self = shared_from_this()] { self->resume(); });
    driver_paused_ = false;
}

void session::timer_expired() noexcept {
    if (home_->single_threaded()) {
        guarded([this] { expired(); });
    } else {
        asio::post(strand(), [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->guarded([&self] { self->expired(); });
        });
    }
}

void session::expired() {
    if (finished_) return notify_change();  // which may have failed for want of memory
    const time_point now = clock::now();
    switch (phase_) {
        case phase::handshake:
            if (authorizing_ && stream_->peer_gone() && !state_->work().cancelled()) state_->work().cancel();
            if (now >= deadline_) {
                deadline_ = time_point::max();
                if (!responding_) {
                    context_.counters.handshake_timeouts.fetch_add(1, std::memory_order_relaxed);
                    count_refusal(refusal_reason::timed_out);
                }
                if (state_) state_->work().cancel();
                responding_ = true;  // nothing else is to be counted for it
                cut_off();
            }
            if (awaits_acknowledgement()) notify_change();
            break;
        case phase::connecting:
            if (now >= deadline_ || stream_->peer_gone()) {
                if (now >= deadline_) {
                    context_.log.warning("on_connect took too long and was cancelled client_id={}",
                                         state_->id().to_string());
                }
                deadline_ = time_point::max();
                if (!state_->work().cancelled()) state_->work().cancel();
            }
            break;
        case phase::open:
            if (now >= deadline_) {
                deadline_ = time_point::max();
                lost();
                break;
            }
            machine_->handle_timeout(now);
            if (reading_paused_ && stream_->peer_gone()) departing(now);
            process(now);
            state_->out().trim();
            strand_jobs_.trim();
            if (serial_batch_ && serial_batch_->jobs.empty() && !serial_batch_->needs_worker) serial_batch_.reset();
            break;
        case phase::ending:
            if (now >= deadline_) {
                deadline_ = time_point::max();
                lost();
            } else {
                advance_end(now);
            }
            break;
    }
    reschedule();
}

std::optional<time_point> session::next_deadline() const {
    static constexpr auto departure_check = std::chrono::milliseconds{50};
    static constexpr auto acknowledgement_check = std::chrono::milliseconds{20};
    if (phase_ == phase::connecting || authorizing_) return std::min(deadline_, clock::now() + departure_check);
    if (awaits_acknowledgement()) return std::min(deadline_, clock::now() + acknowledgement_check);
    if (phase_ != phase::open) {
        return deadline_ == time_point::max() ? std::optional<time_point>{} : std::optional{deadline_};
    }
    auto next = machine_->poll_timeout();
    if (deadline_ != time_point::max()) next = next ? std::min(*next, deadline_) : deadline_;
    if (reading_paused_) {
        const time_point check = clock::now() + departure_check;
        next = next ? std::min(*next, check) : check;
    }
    return next;
}

void session::reschedule() {
    const auto next = next_deadline();
    // An entry that fires too early only looks and goes round again; one that is too late would be wrong.
    if (next) home_->schedule(*this, *next);
}

job* session::next() {
    job* const first = strand_jobs_.take();
    strand_active_ = first != nullptr;
    return first;
}

}  // namespace kephas
