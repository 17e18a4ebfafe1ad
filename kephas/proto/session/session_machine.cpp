#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace kephas {
namespace {

using websocket::opcode;

constexpr std::size_t steady_write = 64 * 1024;  // per write_timeout, while there is that much to write
constexpr std::size_t steady_read = 16 * 1024;   // of an unfinished message, per second beyond message_timeout

[[nodiscard]] time_point after(time_point start, duration delay) noexcept {
    if (start > time_point::max() - delay) return time_point::max();
    return start + delay;
}

// Zero means that there is no such deadline.
[[nodiscard]] time_point deadline(time_point start, duration delay) noexcept {
    if (start == time_point::max() || delay <= duration::zero()) return time_point::max();
    return after(start, delay);
}

[[nodiscard]] websocket::decoder_options decoding(const session_options& options) noexcept {
    return {.max_binary_message = options.max_binary_message,
            .max_text_message = options.max_text_message,
            .max_fragments = options.max_fragments,
            .max_empty_fragments = options.max_empty_fragments};
}

[[nodiscard]] token_rate message_rate(const session_options& options) noexcept {
    return {options.messages_per_second, options.message_burst};
}

[[nodiscard]] token_rate control_rate(const session_options& options) noexcept {
    return {options.controls_per_second, options.control_burst};
}

}  // namespace

session_machine::session_machine(websocket::role role, const session_options& options, time_point now,
                                 std::uint64_t mask_seed)
    : decoder_{role, decoding(options)},
      options_{&options},
      messages_{message_rate(options), now},
      controls_{control_rate(options), now},
      now_{now},
      last_read_{now},
      last_ping_{now},
      mask_state_{mask_seed},
      role_{role} {}

session_machine::session_machine(const session_options& options, time_point now)
    : decoder_{options.max_binary_message},
      options_{&options},
      messages_{message_rate(options), now},
      controls_{control_rate(options), now},
      now_{now},
      last_read_{now},
      last_ping_{now},
      mask_state_{0},
      role_{websocket::role::server} {}

mutable_bytes session_machine::want() noexcept { return deaf() ? mutable_bytes{} : decoder_.want(); }

void session_machine::handle(slice input, time_point now) {
    if (input.empty() || deaf()) return;
    received(now);
    decoder_.feed(std::move(input));
}

void session_machine::handle_direct(std::size_t size, time_point now) {
    if (size == 0 || deaf()) return;
    received(now);
    decoder_.commit(size);
}

void session_machine::handle_eof(bool in_order) {
    if (!std::exchange(eof_, true)) cut_ = !in_order;
}

void session_machine::handle_timeout(time_point now) {
    observe(now);
    if (end_ != end::none || done()) return;
    if (now_ >= write_deadline()) return fail(end::slow_consumer);
    if (now_ >= close_deadline()) return fail(end::close_timeout);
    if (now_ >= read_deadline()) return fail(end::read_timeout);
    if (now_ >= message_deadline()) return fail(end::message_timeout);
    if (now_ >= ping_due()) {
        ping_waits_ = true;
        last_ping_ = now_;
    }
}

void session_machine::handle_write_progress(std::size_t accepted, std::size_t still_queued, time_point now) {
    observe(now);
    if (end_ != end::none) return;
    if (still_queued == 0) {
        write_started_ = never;
        return;
    }
    write_accepted_ += static_cast<std::uint32_t>(std::min(accepted, steady_write));
    if (write_started_ == never || write_accepted_ >= write_goal_) {
        write_started_ = now_;
        write_accepted_ = 0;
        write_goal_ = static_cast<std::uint32_t>(std::min(still_queued, steady_write));
    } else if (now_ >= write_deadline()) {
        fail(end::slow_consumer);
    }
}

void session_machine::pause_reading(time_point now) {
    observe(now);
    if (paused_at_ == never) paused_at_ = now_;
}

void session_machine::resume_reading(time_point now) {
    observe(now);
    if (paused_at_ == never) return;
    // Nobody knows whether the peer sent anything meanwhile, but it could not have got further with its message.
    last_read_ = now_;
    if (message_started_ != never) message_started_ += now_ - std::max(paused_at_, message_started_);
    paused_at_ = never;
}

std::optional<message_received> session_machine::poll_whole_message() noexcept {
    const bool limited = options_->messages_per_second > 0;
    if (end_ != end::none || pong_waits_ || close_was_sent() || (limited && !messages_.has(message_rate(*options_), now_))) {
        return std::nullopt;
    }
    auto frame = decoder_.next_if_whole();
    if (!frame) return std::nullopt;
    message_started_ = never;
    if (limited) (void)messages_.take(message_rate(*options_), now_);
    return message_received{frame->op, std::move(frame->payload)};
}

std::optional<session_event> session_machine::poll_event() {
    if (end_ > end::reported) return report_failure();
    while (end_ == end::none && !pong_waits_) {
        auto frame = decoder_.next();
        if (frame && !websocket::is_control(frame->op)) [[likely]] {
            message_started_ = never;
            if (close_was_sent()) continue;  // only the peer's close frame still matters
            if (messages_.take(message_rate(*options_), now_)) return message_received{frame->op, std::move(frame->payload)};
            fail(end::message_rate);
            return report_failure();
        }
        watch_message();
        if (!frame) {
            if (decoder_.failed()) return report_failure();
            if (eof_ && !close_received_) {
                if (format() == wire_format::stream && !cut_ && !decoder_.unfinished()) return receive_close({});
                fail(end::lost);
                return report_failure();
            }
            return std::nullopt;
        }
        if (auto event = convert_control(std::move(*frame))) return event;
    }
    return std::nullopt;
}

bool session_machine::pending_input() const noexcept {
    if (end_ != end::none) return end_ > end::reported;
    return decoder_.pending() || decoder_.failed() || (eof_ && !close_received_);
}

bool session_machine::charge(std::size_t count, time_point now) {
    observe(now);
    if (end_ != end::none) return false;
    if (messages_.take(message_rate(*options_), now_, static_cast<double>(count))) return true;
    fail(end::message_rate);
    return false;
}

std::size_t session_machine::poll_control(mutable_bytes out) {
    if (out.size() < largest_control() || !pending_control()) return 0;
    if (format() == wire_format::stream) {  // nothing else is ever to be sent
        answer_waits_ = false;
        return encode_goodbye(out.first<max_goodbye>(), answer_, {});
    }
    const auto frame = out.first<websocket::max_control_frame>();
    if (pong_waits_) {
        pong_waits_ = false;
        return websocket::encode_control(frame, opcode::pong, std::exchange(pong_, {}).view(), next_mask());
    }
    if (answer_waits_) {
        answer_waits_ = false;
        return websocket::encode_close(frame, answer_, {}, next_mask());
    }
    ping_waits_ = false;
    return websocket::encode_control(frame, opcode::ping, {}, next_mask());
}

bool session_machine::pending_control() const noexcept { return pong_waits_ || ping_waits_ || answer_waits_; }

void session_machine::close_sent(time_point now) {
    observe(now);
    if (close_was_sent()) return;
    close_sent_at_ = now_;
    pong_waits_ = ping_waits_ = answer_waits_ = false;  // nothing follows a close frame
    pong_ = {};
}

// SplitMix64: keys need not be secret from the peer, only unpredictable to whoever chose the payload.
std::optional<websocket::mask_key> session_machine::next_mask() noexcept {
    if (role_ != websocket::role::client) return std::nullopt;
    std::uint64_t value = mask_state_ += 0x9E3779B97F4A7C15U;
    value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
    return websocket::mask_key{static_cast<std::uint32_t>(value >> 32U)};
}

std::optional<time_point> session_machine::poll_timeout() const noexcept {
    if (end_ != end::none || done()) return std::nullopt;
    const time_point first =
        std::min({write_deadline(), close_deadline(), read_deadline(), message_deadline(), ping_due()});
    if (first == never) return std::nullopt;
    return first;
}

bool session_machine::close_was_received() const noexcept { return close_received_; }
bool session_machine::done() const noexcept { return close_was_sent() && close_received_; }

// Time that goes backwards counts as standing still.
void session_machine::observe(time_point now) noexcept { now_ = std::max(now_, now); }

void session_machine::received(time_point now) noexcept {
    observe(now);
    last_read_ = now_;
}

// The first reason counts.
void session_machine::fail(end why) noexcept {
    if (end_ != end::none) return;
    end_ = why;
    pong_waits_ = ping_waits_ = answer_waits_ = false;
    pong_ = {};
    decoder_.stop();
}

// Nothing that comes in matters any more.
bool session_machine::deaf() const noexcept { return end_ != end::none || close_received_ || eof_; }

std::optional<session_event> session_machine::convert_control(websocket::decoded&& frame) {
    if (frame.op == opcode::close) {
        const bytes_view payload = frame.payload.view();
        close_received received;
        if (payload.size() >= 2) {  // the decoder lets nothing else through but an empty one
            received.code = close_code{load_big_endian<std::uint16_t>(payload.data())};
            received.reason = as_text(payload.subspan(2));
        }
        return receive_close(std::move(received));
    }
    if (close_was_sent()) return std::nullopt;
    if (!controls_.take(control_rate(*options_), now_)) {
        fail(end::control_rate);
        return report_failure();
    }
    if (frame.op == opcode::pong) return pong_received{std::move(frame.payload)};
    pong_ = std::move(frame.payload);
    pong_waits_ = true;
    return std::nullopt;
}

close_received session_machine::receive_close(close_received&& received) noexcept {
    close_received_ = true;
    ping_waits_ = false;
    answer_ = received.code;
    answer_waits_ = !close_was_sent();
    return std::move(received);
}

session_event session_machine::report_failure() {
    const bool may_send = !close_was_sent() && !close_received_;
    const auto failed = [&](close_code code, const char* reason, bool worth_a_frame = true) {
        return session_failed{code, reason, worth_a_frame && may_send};
    };
    const auto too_fast = [&](const char* reason) {
        return session_failed{close_code::policy_violation, reason, may_send, true};
    };
    const end why = end_;
    fail(end::reported);
    end_ = end::reported;
    switch (why) {
        case end::message_rate: return too_fast("Rate limit exceeded");
        case end::control_rate: return too_fast("Control frame rate limit exceeded");
        case end::read_timeout: return failed(close_code::abnormal, "read timeout", false);
        case end::message_timeout: return failed(close_code::policy_violation, "message timeout");
        case end::slow_consumer: return failed(close_code::slow_consumer, "slow consumer");
        case end::close_timeout: return failed(close_code::abnormal, "close timeout", false);
        case end::lost: return failed(close_code::abnormal, "connection lost", false);
        case end::none:
        case end::reported: break;
    }
    auto [code, reason] = decoder_.failure();
    return session_failed{code, std::move(reason), may_send};
}

void session_machine::watch_message() noexcept {
    if (!decoder_.unfinished())
        message_started_ = never;
    else if (message_started_ == never)
        message_started_ = now_;
}

// After our close frame the peer's answer has a deadline of its own, if there is one. A stream may be silent until then.
time_point session_machine::read_deadline() const noexcept {
    if (paused_at_ != never || close_received_ || close_deadline() != never) return never;
    const bool stream = format() == wire_format::stream;
    if (stream && !close_was_sent()) return never;
    return deadline(stream ? std::max(last_read_, close_sent_at_) : last_read_, options_->read_timeout);
}

time_point session_machine::message_deadline() const noexcept {
    if (paused_at_ != never || close_received_ || message_started_ == never) return never;
    const auto allowance = std::chrono::seconds{decoder_.arrived() / steady_read};
    return deadline(after(message_started_, allowance), options_->message_timeout);
}

time_point session_machine::write_deadline() const noexcept {
    return deadline(write_started_, options_->write_timeout);
}

time_point session_machine::close_deadline() const noexcept {
    return deadline(close_sent_at_, options_->close_timeout);
}

time_point session_machine::ping_due() const noexcept {
    if (close_was_sent() || close_received_ || format() == wire_format::stream) return never;
    return deadline(last_ping_, options_->ping_interval);
}

}  // namespace kephas
