// How a connection ends.
#include <kephas/proto/session/close_message.hpp>

#include <kephas/server/session.hpp>

#include <asio/co_spawn.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

namespace kephas {

void session::handle(close_received&& close) {
    close_info info{close.code, std::move(close.reason), close_initiator::peer, !write_failed_};
    if (const auto request = state_->end_requested()) info = {request->info.code, request->info.reason,
                                                              close_initiator::server, !write_failed_};
    start_handlers();       // of what came before it, those on the strand reply before it is answered
    (void)take_controls();  // the answer to their close frame, behind what is queued
    begin_end(std::move(info), false);
}

void session::handle(session_failed&& failure) {
    const bool lost = failure.code == close_code::abnormal;
    if (failure.rate_limited) {
        context_.counters.rate_limited.fetch_add(1, std::memory_order_relaxed);
        context_.log.warning("{} for client client_id={} remote_addr={}", failure.reason, state_->id().to_string(),
                             state_->remote_address());
    }
    if (failure.send_close) answer_earlier();
    fail(failure.code, failure.reason, lost ? close_initiator::transport : close_initiator::server, failure.send_close);
}

/// What was complete before the peer's mistake is answered before the close frame, unless its handler suspends or the
/// peer does not read.
void session::answer_earlier() {
    start_handlers();
    flush(clock::now());
}

void session::check_end_requests(time_point now) {
    if (phase_ == phase::handshake) return;
    const auto request = state_->end_requested();
    if (request && request->reset && !finished_) {
        stream_->abort();
        return lost();
    }
    if (phase_ == phase::ending) return;
    if (request && request->now) return fail(request->info.code, request->info.reason, close_initiator::server, true);
    if (phase_ == phase::connecting) return;  // on_connect may still be sending
    if (request) {
        closing_ = true;
    } else if (const auto code = state_->leaving()) {
        closing_ = true;  // nothing new is dispatched; what runs may still answer
        state_->work().watch(true);
        if (state_->work().messages() > 0) return;
        state_->close(*code, {});
        flush(now);
    }
}

void session::fail(close_code code, std::string_view reason, close_initiator initiator, bool send_close) {
    if (phase_ == phase::ending) return;
    std::array<std::byte, max_close_message> frame;
    const std::size_t size = send_close ? encode_close_message(frame, state_->format(), code, reason) : 0;
    state_->out().fail(bytes_view{frame}.first(size));
    close_info info{code, std::string{reason}, initiator, false};
    const auto request = state_->end_requested();
    // They left before they answered, or they have been told already why.
    if (request && (initiator == close_initiator::transport || close_noted_)) info = request->info;
    // Who has only ended its side still takes what is on its way to it.
    begin_end(std::move(info), !send_close && !input_ended_);
}

void session::lost() {
    fail(close_code::abnormal, "connection lost", close_initiator::transport, false);
    if (std::exchange(finished_, true)) return;
    cut_off();
    notify_change();
}

/// Nothing can be written any more.
void session::write_failed(time_point now) {
    if (phase_ != phase::open) return lost();
    write_failed_ = true;
    state_->out().discard();
    machine_->handle_write_progress(0, 0, now);
    departing(now);
}

/// The peer has gone, or ended its side, and there may be bytes of it that we have not read. They are: a close frame
/// among them says why it left. Its handlers are told at once, which also makes the room for reading on.
void session::departing(time_point now) {
    if (deadline_ != time_point::max()) return;
    state_->work().cancel();
    const duration limit = std::max(context_.options->close_timeout, context_.options->linger_timeout);
    if (limit > duration::zero()) deadline_ = now + limit;
    reschedule();
}

/// Closes without waiting for the peer any longer. What it has not taken by now would otherwise stay in the kernel for
/// minutes; a peer that took everything sees the end of the stream in order.
void session::cut_off() noexcept {
    if (!acknowledged_ && stream_->unacknowledged() > 0) stream_->abort();
    else stream_->close();
}

void session::begin_end(close_info info, bool at_once) {
    if (phase_ == phase::ending) return;
    close_info_ = std::make_unique<close_info>(std::move(info));
    phase_ = phase::ending;
    // Without a deadline for the peer's answer there is still one for what we write.
    const server_options& options = *context_.options;
    const duration limit = options.close_timeout > duration::zero() ? options.close_timeout : options.write_timeout;
    deadline_ = limit > duration::zero() ? clock::now() + limit : time_point::max();
    // The client is forgotten at once: who looks for it from here on does not find it, and its handlers are told.
    home_->remove(state_->id());
    state_->left();
    state_->work().cancel();
    state_->work().watch(true);
    if (held_) held_->replies.clear();
    forget_held_if_empty();
    if (at_once) {
        finished_ = true;
        cut_off();
    } else if (send_ended_) {  // our goodbye has left before
        advance_end(clock::now());
    } else {
        flush(clock::now());
    }
    notify_change();
}

void session::end_sending() noexcept {
    if (!std::exchange(send_ended_, true)) stream_->shutdown_send();
}

void session::advance_end(time_point now) {
    // Once our close frame is out, the peer gets some time to take it and to end the stream: a socket that is closed
    // with unread input sends a reset, which may take the close frame from the peer (RFC 6455 7.1.1).
    if (finished_ || !state_->out().empty()) return;
    end_sending();
    if (!lingering_) {
        lingering_ = true;
        const duration limit = context_.options->linger_timeout;
        if (limit <= duration::zero()) {  // no wait: what is on its way leaves in order
            finished_ = true;
            stream_->close();
            return notify_change();
        }
        deadline_ = now + limit;
    }
    if (input_ended_ && stream_->unacknowledged() == 0) {  // nothing is left to wait for
        finished_ = acknowledged_ = true;
        return notify_change();
    }
    reschedule();
}

void session::request_leave(close_code code) {
    asio::post(strand(), [self = shared_from_this(), code] {
        self->guarded([&] {
            if (self->phase_ == phase::handshake) self->refuse_handshake();
            else self->state_->start_leaving(code);
        });
    });
}

void session::request_cancel(close_code code) {
    asio::post(strand(), [self = shared_from_this(), code] {
        self->guarded([&] {
            if (self->state_) self->state_->work().cancel();  // also of authorize
            if (self->phase_ == phase::handshake) self->stream_->close();
            else self->state_->fail(code, {});
        });
    });
}

void session::request_cut() {
    asio::post(strand(), [self = shared_from_this()] {
        self->stream_->abort();
        if (self->phase_ == phase::open || self->phase_ == phase::ending) self->guarded([&self] { self->lost(); });
    });
}

void session::refuse_handshake() {
    if (!begin_response(http::status_code::service_unavailable)) return;
    count_refusal(refusal_reason::draining);
    const bytes_view part[] = {as_bytes(context_.gate->ready_made(refusal_reason::draining).in(opening_->format))};
    std::error_code ignored;
    (void)stream_->write_some(part, ignored);  // a few bytes into an empty socket: they fit, or nobody is there
    end_sending();
    const duration limit = std::min(context_.options->linger_timeout, duration{std::chrono::milliseconds{200}});
    if (limit <= duration::zero()) return stream_->close();
    deadline_ = std::min(deadline_, clock::now() + limit);
    reschedule();
}

/// The driver has come to its end: what is left to do may have to wait for handlers.
void session::end_soon() noexcept {
    driver_ = {};
    const auto ended = [self = shared_from_this()](const std::exception_ptr& /*end() throws nothing*/) {
        self->settle();
        self->owner_->ended(*self);
    };
    try {
        asio::co_spawn(strand(), end(), ended);
    } catch (...) {
        broken();
        ended(nullptr);
    }
}

asio::awaitable<void> session::end() {
    try {
        co_await say_goodbye();
    } catch (...) {
        broken();
    }
}

asio::awaitable<void> session::say_goodbye() {
    if (phase_ != phase::ending) lost();  // there was no memory for that
    cut_off();
    state_->work().watch(true);
    start_handlers();  // of what came before something was thrown: they are cancelled, but they have begun
    while (state_->work().messages() > 0) co_await wait_for_change();

    const close_info info = *close_info_;
    const bool expected = info.clean || info.code == close_code::normal || info.code == close_code::going_away;
    context_.log.log(expected ? log_level::debug : log_level::info,
                     "connection ended: code={} reason=\"{}\" client_id={} remote_addr={}",
                     static_cast<unsigned>(info.code), escaped(info.reason), state_->id().to_string(),
                     state_->remote_address());
    state_->finished(info);
    const auto& on_disconnect = context_.routes->on_disconnect_;
    if (on_disconnect && std::exchange(connected_, false)) {
        const std::exception_ptr failure = co_await run_callback(
            [this, &on_disconnect, &info] { return on_disconnect(client{state_}, info); }, false);
        if (failure) context_.handlers->account_callback(failure, *state_);
    }
}

/// Something has thrown: there is no memory, or the stream is the program's own. Nobody knows what was left undone, so
/// the connection is lost; `end` ends the client.
void session::broken() noexcept {
    stream_->abort();
    context_.counters.internal_errors.fetch_add(1, std::memory_order_relaxed);
    try {
        try {
            throw;
        } catch (const std::exception& error) {
            context_.log.error("a connection ended with an exception: {} client_id={}", error.what(), id().to_string());
        } catch (...) {
            context_.log.error("a connection ended with an exception client_id={}", id().to_string());
        }
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory to say so
    }
    try {
        if (state_) state_->work().cancel();
        if (phase_ != phase::handshake) lost();
    } catch (...) {  // NOLINT(bugprone-empty-catch): `end` and `settle` do what is missing
    }
    finished_ = true;
    try {
        notify_change();
    } catch (...) {
        try {
            home_->schedule(*this, clock::now());  // once more, then: `expired`
        } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for a timer either; a deadline that runs will do
        }
    }
}

/// The last of a connection, whatever has become of the rest: nothing refers to it any more, and everything is counted.
void session::settle() noexcept {
    finished_ = responding_ = true;
    cut_off();
    home_->cancel(*this);
    const close_info unknown{close_code::abnormal, {}, close_initiator::transport, false};
    const close_info& info = close_info_ ? *close_info_ : unknown;
    if (machine_) {  // it may be in the registry
        try {
            home_->remove(state_->id());
            state_->left();
            if (!state_->closed_with()) state_->finished(info);
        } catch (...) {  // NOLINT(bugprone-empty-catch): no memory, twice
        }
        state_->unbind();
    }
    if (phase_ != phase::handshake) {
        connection_counters& counters = context_.counters;
        const std::size_t by = static_cast<std::size_t>(info.initiator);
        counters.closes[by][connection_counters::close_class(info.code)].fetch_add(1, std::memory_order_relaxed);
        const bool too_slow = info.code == close_code::slow_consumer && info.initiator == close_initiator::server;
        if (too_slow) counters.slow_consumers.fetch_add(1, std::memory_order_relaxed);
        counters.closed.fetch_add(1, std::memory_order_relaxed);
    }
    if (counted_) context_.clients.fetch_sub(1);
    place_.release();
}

}  // namespace kephas
