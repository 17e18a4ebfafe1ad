#include <kephas/base/error.hpp>

#include <kephas/net/error_codes.hpp>
#include <kephas/net/slab_cache.hpp>

#include <kephas/client/stream_connection.hpp>

#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

namespace kephas {

namespace {

constexpr std::size_t write_size = 64 * 1024;
constexpr std::size_t most_steps = 16;  // before others of this executor have their turn
constexpr auto leave_timeout = std::chrono::seconds{1};

}  // namespace

stream_connection::stream_connection(std::shared_ptr<event_stream> events, std::unique_ptr<client_wire> wire, slice early,
                                     std::string subprotocol, duration close_timeout)
    : events_{std::move(events)},
      wire_{std::move(wire)},
      subprotocol_{std::move(subprotocol)},
      close_timeout_{close_timeout},
      early_{std::move(early)} {}

stream_connection::~stream_connection() { give_back(); }

asio::awaitable<connection_end> stream_connection::run(connection_owner& owner) {
    owner_ = &owner;
    wire_->encode_preamble(out_);
    if (!out_.empty()) add_frame(std::nullopt);
    if (!early_.empty()) wire_->handle(std::exchange(early_, {}), clock::now());
    look_at_ = acknowledged_at_ = clock::now();
    const auto executor = co_await asio::this_coro::executor;
    std::size_t steps = 0;
    while (phase_ != phase::finished) {
        const bool again = step(clock::now());
        if (phase_ == phase::finished) break;
        if (!again) {
            steps = 0;
            co_await events_->wait(reading(), deadline());
        } else if (++steps >= most_steps) {
            steps = 0;
            co_await asio::post(executor, asio::use_awaitable);
        }
    }
    give_back();
    co_return end_;
}

/// Everything that can be done now. True if there is more to be read.
bool stream_connection::step(time_point now) {
    wire_->handle_timeout(now);
    look_for_acknowledgements(now);
    take_events(now);
    obey(now);
    flush(now);
    if (phase_ == phase::closing) {  // what was not taken before does not matter any more
        take_events(now);
        flush(now);
    }
    if (now >= deadline_) {
        const close_order* const order = owner_->close_ordered();
        if (order != nullptr && phase_ == phase::open) {  // what is queued before it could not leave
            end_ = {.by = connection_end::ended_by::client, .code = order->code, .reason = order->reason};
        }
        finish();
    }
    if (phase_ == phase::finished) return false;
    const bool more = reading() && events_->may_read() && read(now);
    if (more) flush(now);
    return more;
}

/// A system call: so it is made only now and then.
void stream_connection::look_for_acknowledgements(time_point now) {
    const duration limit = wire_->acknowledgement_timeout();
    if (limit <= duration::zero() || phase_ != phase::open || now < look_at_) return;
    // Of a busy connection something is always under way: what counts is that it gets on.
    const auto missing = static_cast<std::int64_t>(events_->transport().unacknowledged());
    const std::int64_t acknowledged = sent_bytes_ - missing;
    if (missing == 0 || acknowledged > acknowledged_) acknowledged_at_ = now;
    acknowledged_ = acknowledged;
    look_at_ = now + limit / 4;
    if (now - acknowledged_at_ < limit) return;
    end_.reason = "read timeout";
    finish();
}

bool stream_connection::reading() const noexcept {
    if (input_ended_) return false;
    return phase_ != phase::open || !paused_;
}

bool stream_connection::read(time_point now) {
    const bool matters = phase_ == phase::open || phase_ == phase::closing;
    const mutable_bytes direct = matters ? wire_->want() : mutable_bytes{};
    std::error_code ec;
    read_buffer buffer{direct, &slabs_of_threads(), {}};
    const std::size_t size = events_->read_some(buffer, ec);
    if (ec == asio::error::would_block) return false;
    owner_->count_bytes(size, 0);
    if (size > 0) acknowledged_at_ = now;
    if (size == 0) {
        input_ended_ = true;
        // What TLS calls truncated is no worse: each protocol here says itself where it ends.
        const bool in_order = !ec || ec == asio::error::eof || ec == errc::truncated;
        if (!in_order) end_.error = unified(ec);
        if (matters) wire_->handle_eof(in_order);
        else if (send_ended_ || !in_order) finish();
    } else if (!matters) {
        // Nobody wants it, but a socket that is closed with unread input resets the connection.
    } else if (direct.empty()) {
        wire_->handle(buffer.slab.sub(0, size), now);
    } else {
        wire_->handle_direct(size, now);
    }
    if (size > 0) take_events(now);
    if (!buffer.slab.empty()) slabs_of_threads().give_back_slab(std::move(buffer.slab));
    return true;
}

void stream_connection::take_events(time_point now) {
    while (phase_ == phase::open || phase_ == phase::closing) {
        if (phase_ == phase::open && !wire_->failing() && !owner_->has_room()) {
            if (!std::exchange(paused_, true)) wire_->pause_reading(now);
            break;
        }
        if (std::exchange(paused_, false)) wire_->resume_reading(now);
        auto event = wire_->poll_event();
        if (event) {
            std::visit([this](auto&& what) { handle(std::move(what)); }, std::move(*event));
        } else {
            if (!take_controls()) break;
        }
    }
    if (phase_ == phase::leaving) begin_leaving(now);
}

void stream_connection::handle(wire_message&& message) {
    if (phase_ == phase::open) owner_->received(message.command, std::move(message.payload));
}

void stream_connection::handle(wire_closed&& closed) {
    if (phase_ == phase::open) {
        end_ = {.by = connection_end::ended_by::server, .code = closed.code, .reason = std::move(closed.reason)};
    }
    end_.clean = !write_failed_;
    drop_unbegun();
    if (!goodbye_begun()) take_controls();  // the answer
    phase_ = phase::leaving;
}

void stream_connection::handle(wire_failed&& failed) {
    const bool lost = failed.code == close_code::abnormal;
    if (phase_ == phase::open) {
        end_.by = lost ? connection_end::ended_by::transport : connection_end::ended_by::client;
        end_.code = failed.code;
        end_.reason = std::move(failed.reason);
    }
    drop_unbegun();
    if (!failed.say_goodbye || write_failed_) return finish();
    phase_ = phase::leaving;
    if (goodbye_begun()) return;
    wire_->encode_goodbye(end_.code, end_.reason, out_);
    add_frame(std::nullopt, true);
}

/// Our own close: behind everything that is queued.
void stream_connection::obey(time_point now) {
    const close_order* const order = owner_->close_ordered();
    if (order == nullptr || phase_ == phase::finished) return;
    if (order->at_once) {
        if (phase_ == phase::open || phase_ == phase::closing) {
            end_ = {.by = connection_end::ended_by::client, .code = order->code, .reason = order->reason};
        }
        events_->transport().abort();
        phase_ = phase::finished;
        return;
    }
    if (phase_ != phase::open) return;
    if (close_timeout_ > duration::zero()) deadline_ = std::min(deadline_, now + close_timeout_);
}

void stream_connection::flush(time_point now) {
    while (phase_ != phase::finished && !write_failed_ && events_->may_write()) {
        if (written_ == out_.size()) fill();
        if (written_ == out_.size()) break;
        const std::array<bytes_view, 1> rest{bytes_view{out_}.subspan(written_)};
        std::error_code ec;
        const std::size_t size = events_->write_some(rest, ec);
        account(size, now);
        if (ec && ec != asio::error::would_block) return write_failed(ec, now);
    }
    if (phase_ != phase::leaving || !frames_.empty()) return;
    if (!std::exchange(send_ended_, true)) events_->transport().shutdown_send();
    if (input_ended_) finish();
}

void stream_connection::fill() {
    out_.clear();
    written_ = frames_begin_ = 0;
    if (out_.capacity() > 4 * write_size) out_.shrink_to_fit();
    take_controls();
    while (phase_ == phase::open && out_.size() < write_size) {
        auto next = owner_->take_outgoing();
        if (!next) break;
        wire_->encode(*next, out_);
        add_frame(std::move(next));
    }
    if (phase_ != phase::open || out_.size() >= write_size) return;
    if (const close_order* const order = owner_->close_ordered()) {
        wire_->encode_goodbye(order->code, order->reason, out_);
        add_frame(std::nullopt, true);
        end_ = {.by = connection_end::ended_by::client, .code = order->code, .reason = order->reason};
        phase_ = phase::closing;
    }
}

/// False if there was none. One that cannot be written any more is forgotten: what comes behind it may be the reason.
bool stream_connection::take_controls() {
    bool any = false;
    for (std::size_t before = out_.size(); wire_->poll_control(out_); before = out_.size()) {
        any = true;
        if (write_failed_) out_.resize(before);
        else add_frame(std::nullopt);
    }
    return any;
}

void stream_connection::add_frame(std::optional<outgoing> message, bool goodbye) {
    frames_.push_back({out_.size(), std::move(message), goodbye});
}

void stream_connection::account(std::size_t size, time_point now) {
    written_ += size;
    sent_bytes_ += static_cast<std::int64_t>(size);
    owner_->count_bytes(0, size);
    while (!frames_.empty() && frames_.front().end <= written_) {
        frame& whole = frames_.front();
        if (whole.message) owner_->sent(std::move(*whole.message));
        if (whole.goodbye) wire_->goodbye_sent(now);
        frames_begin_ = whole.end;
        frames_.pop_front();
    }
    wire_->handle_write_progress(size, out_.size() - written_, now);
}

/// What has not begun to leave goes back, or is forgotten: something more urgent comes next, and is the last.
void stream_connection::drop_unbegun() {
    const bool begun = !frames_.empty() && frames_begin_ < written_;
    while (frames_.size() > (begun ? 1 : 0)) {
        if (frames_.back().message) owner_->not_sent(std::move(*frames_.back().message));
        frames_.pop_back();
    }
    out_.resize(begun ? frames_.front().end : written_);
}

/// Nothing may follow it.
bool stream_connection::goodbye_begun() const noexcept { return !frames_.empty() && frames_.front().goodbye; }

/// The server may have said before why, and that is still to be read.
void stream_connection::write_failed(std::error_code why, time_point now) {
    write_failed_ = true;
    end_.error = unified(why);
    if (phase_ == phase::leaving || input_ended_) return finish();
    deadline_ = std::min(deadline_, now + leave_timeout);
}

/// The server ends the connection when it has our goodbye (RFC 6455 7.1.1), and it gets some time for that.
void stream_connection::begin_leaving(time_point now) {
    deadline_ = std::min(deadline_, now + leave_timeout);
    if (write_failed_) finish();
}

void stream_connection::finish() noexcept {
    if (phase_ == phase::finished) return;
    if (phase_ == phase::leaving || input_ended_) events_->transport().close();
    else events_->transport().abort();
    phase_ = phase::finished;
}

void stream_connection::give_back() {
    for (; !frames_.empty(); frames_.pop_back()) {
        if (frames_.back().message) owner_->not_sent(std::move(*frames_.back().message));
    }
}

time_point stream_connection::deadline() const noexcept {
    const bool matters = phase_ == phase::open || phase_ == phase::closing;
    const auto next = matters ? wire_->poll_timeout() : std::nullopt;
    const bool looks = phase_ == phase::open && wire_->acknowledgement_timeout() > duration::zero();
    return std::min({deadline_, next.value_or(time_point::max()), looks ? look_at_ : time_point::max()});
}

}  // namespace kephas
