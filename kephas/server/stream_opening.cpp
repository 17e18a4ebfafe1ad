// The opening of a stream of commands, which has no handshake: whoever is let in speaks at once.
#include <kephas/net/read_when_ready.hpp>
#include <kephas/net/socket_calls.hpp>

#include <kephas/server/refusal_answers.hpp>
#include <kephas/server/session.hpp>

#include <asio/error.hpp>

#include <cstring>
#include <memory>
#include <utility>

namespace kephas {

namespace {

/// What `authorize` sees of somebody who sends no request.
http::request request_of(const stream& transport) {
    http::request request;
    request.method = "STREAM";
    request.tls = transport.tls();
    request.credentials = socket_calls::credentials_of(transport.native_handle());
    return request;
}

void append(slice& to, bytes_view more) {
    slice both = slice::allocate(to.size() + more.size());
    if (!to.empty()) std::memcpy(both.data(), to.data(), to.size());
    if (!more.empty()) std::memcpy(both.data() + to.size(), more.data(), more.size());
    to = std::move(both);
}

}  // namespace

/// What the peer speaks, and what it has said of it. False if it has gone.
asio::awaitable<bool> session::find_language(slice& first) {
    const listener_role& role = *opening_->role;
    if (role.speaks == listener_role::language::commands) {
        opening_->format = wire_format::stream;
        if (!role.tls) co_return true;
        const bool finished = co_await finish_tls(first);
        co_return finished;
    }
    opening_->format = wire_format::stream;  // for whoever is refused before it has told
    for (;;) {
        if (const auto format = format_of(first.view())) {
            opening_->format = *format;
            co_return true;
        }
        std::error_code ec;
        read_buffer buffer{{}, home_.get(), {}};
        const std::size_t size = co_await read_when_ready(*stream_, buffer, ec);
        home_->count(&traffic_counters::bytes_received, size);
        if (size == 0) {
            note_failed_read(ec);
            co_return false;
        }
        append(first, buffer.slab.view().first(size));
        home_->give_back_slab(std::move(buffer.slab));
    }
}

/// The handshake is a part of reading: nothing may have come when it is done.
asio::awaitable<bool> session::finish_tls(slice& first) {
    resuming_waiter waiter;
    for (;;) {
        std::error_code ec;
        read_buffer buffer{{}, home_.get(), {}};
        const std::size_t size = stream_->read_some(buffer, ec);
        if (size > 0) {
            home_->count(&traffic_counters::bytes_received, size);
            first = slice::copy(buffer.slab.view().first(size));
            home_->give_back_slab(std::move(buffer.slab));
            co_return true;
        }
        if (ec != asio::error::would_block) {
            note_failed_read(ec);
            co_return false;
        }
        if (!stream_->handshaking()) co_return true;
        stream_->wait_readable(waiter);
        co_await waiter.coroutine.suspend();
    }
}

asio::awaitable<bool> session::open_stream(slice first) {
    // In silence for half of the time, then asked in the other half.
    const duration patience = context_.options->read_timeout / 2;
    if (patience > duration::zero()) socket_calls::keep_alive(stream_->native_handle(), patience);
    const auto request = std::make_unique<http::request>(request_of(*stream_));
    std::optional<refusal_reason> refused = identify(*request);
    if (!refused && !place_.hold(first.size())) refused = refusal_reason::handshakes;
    if (!refused && context_.draining.load(std::memory_order_acquire)) refused = refusal_reason::draining;
    if (refused) {
        first = {};
        place_.let_go();
        co_await refuse(*refused);
        co_return false;
    }
    const bool opened = co_await let_in(*request, std::move(first));
    co_return opened;
}

asio::awaitable<void> session::say_refused(const http::response& why) {
    if (!begin_response(why.status)) co_return;
    if (std::exchange(counted_, false)) context_.clients.fetch_sub(1);
    (void)co_await write_all(refusal_goodbye(why));
}

}  // namespace kephas
