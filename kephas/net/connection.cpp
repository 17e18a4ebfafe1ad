#include <kephas/base/error.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/connection.hpp>
#include <kephas/net/slab_cache.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <utility>

#include <sys/socket.h>

namespace kephas {

namespace {

[[noreturn]] void fail(const std::error_code& ec) { throw error{ec}; }

using name_call = int (*)(int, sockaddr*, socklen_t*);

std::string name_of(int fd, name_call get) {
    sockaddr_storage end{};
    socklen_t size = sizeof(end);
    if (get(fd, reinterpret_cast<sockaddr*>(&end), &size) != 0) return {};
    return to_string(reinterpret_cast<const sockaddr*>(&end), size);
}

}  // namespace

std::string_view to_string(connection_state state) noexcept {
    switch (state) {
        case connection_state::dial: return "dial connection";
        case connection_state::opened: return "new connection";
        case connection_state::read: return "read incoming stream";
        case connection_state::close_read: return "close incoming stream";
        case connection_state::handler: return "run handler";
        case connection_state::write: return "write outgoing stream";
        case connection_state::close_write: return "close outgoing stream";
        case connection_state::closed: return "close connection";
    }
    return "unknown connection state";
}

connection::connection(std::unique_ptr<stream> transport, std::shared_ptr<const connection_observer> observer)
    : stream_{std::move(transport)}, observer_{std::move(observer)} {
    const int fd = stream_->native_handle();
    if (fd < 0) {
        remote_ = stream_->remote_address();
        return;
    }
    local_ = name_of(fd, ::getsockname);
    remote_ = name_of(fd, ::getpeername);
    credentials_ = socket_calls::credentials_of(fd);
}

connection::~connection() {
    if (self_) *self_ = nullptr;
    close();
}

void connection::announce(std::unique_ptr<stream> nowhere, std::shared_ptr<const connection_observer> observer) {
    connection attempt{std::move(nowhere), std::move(observer)};
    attempt.tell(connection_state::dial);
    attempt.open_ = false;  // it never was: there is nothing to be closed
}

void connection::tell(connection_state now) const noexcept {
    if (!observer_) return;
    try {
        (*observer_)(*this, now);
    } catch (...) {  // as its documentation says
    }
}

void connection::readable() noexcept {
    stream_waits_ = false;
    if (reader_.suspended()) reader_.resume();
}

/// So that `reader_` is resumed when there may be something to read.
void connection::begin_wait() {
    // A wait that was cancelled is one that the stream still remembers.
    if (std::exchange(stream_waits_, true)) return;
    try {
        stream_->wait_readable(*this);
    } catch (...) {
        stream_waits_ = false;
        throw;
    }
}

std::size_t connection::take_ahead(mutable_bytes to) noexcept {
    const std::size_t size = std::min(to.size(), ahead_.size() - ahead_taken_);
    if (size > 0) std::memcpy(to.data(), ahead_.data() + ahead_taken_, size);
    ahead_taken_ += size;
    if (ahead_taken_ == ahead_.size()) {
        ahead_.clear();
        ahead_taken_ = 0;
    }
    return size;
}

/// What is there; 0 at the end, and if nothing is.
std::size_t connection::read_now(mutable_bytes to) {
    std::error_code ec;
    read_buffer buffer{to, &slabs_of_threads(), {}};
    const std::size_t size = stream_->read_some(buffer, ec);
    drained_ = size < to.size();
    if (size > 0) {
        active_.store(clock::coarse_now(), std::memory_order_relaxed);
        bytes_read_ += size;
        tell(connection_state::read);
    } else if (ec == asio::error::eof) {
        ended_ = true;
        tell(connection_state::close_read);
    } else if (ec && ec != asio::error::would_block) {
        read_failure_ = ec;  // what a stream gives after that is no input
        failed_ = true;
        fail(ec);
    }
    return size;
}

/// Whether reading may give something without a wait, if only the end or an error.
bool connection::has_something(from where) const noexcept {
    const bool ahead = where == from::anywhere && !ahead_.empty();
    return ahead || !drained_ || stream_->pending() || ended_ || !open_ || read_failure_;
}

/// What is there; 0 at the end, and if nothing is.
std::size_t connection::take(mutable_bytes to, from where) {
    if (where == from::anywhere && !ahead_.empty()) return take_ahead(to);
    if (to.empty() || ended_) return 0;
    if (!open_) fail(asio::error::operation_aborted);
    if (read_failure_) fail(read_failure_);
    return read_now(to);
}

/// What `reader_` holds for `read_when_readable`: it reads, and ends the operation or waits again.
template <class Handler>
class connection::arrival {
public:
    using cancellation_slot_type = asio::associated_cancellation_slot_t<Handler>;
    arrival(connection& owner, mutable_bytes to, from where, Handler handler)
        : owner_{owner}, to_{to}, where_{where}, handler_{std::move(handler)} {}
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
        return asio::get_associated_cancellation_slot(handler_);
    }
    void operator()(std::error_code ec) {
        std::size_t size = 0;
        std::exception_ptr failure;
        bool again = false;
        try {
            if (ec) fail(ec);
            size = owner_.take(to_, where_);
            again = size == 0 && !owner_.ended_;
            if (again) owner_.begin_wait();
        } catch (...) {
            failure = std::current_exception();
            again = false;
        }
        if (again) owner_.reader_.hold(std::move(*this));
        else std::move(handler_)(std::move(failure), size);
    }

private:
    connection& owner_;
    mutable_bytes to_;
    from where_;
    Handler handler_;
};

asio::awaitable<std::size_t> connection::read(mutable_bytes to, from where) {
    return to.empty() || has_something(where) ? read_at_once(to, where) : read_when_readable(to, where);
}

asio::awaitable<std::size_t> connection::read_at_once(mutable_bytes to, from where) {
    std::size_t size = take(to, where);
    if (size == 0 && !ended_ && !to.empty()) size = co_await read_when_readable(to, where);
    co_return size;
}

/// An operation, not a coroutine: one more for each wait would be a tenth of what a short message costs outside of the kernel.
asio::awaitable<std::size_t> connection::read_when_readable(mutable_bytes to, from where) {
    auto token = asio::use_awaitable;
    return asio::async_initiate<decltype(token), void(std::exception_ptr, std::size_t)>(
        [this, to, where](auto handler) {
            reader_.hold(arrival<decltype(handler)>{*this, to, where, std::move(handler)});
            try {
                if (!has_something(where)) return begin_wait();
            } catch (...) {  // `arrival` tries again, and tells
            }
            // It was awaited later than it was asked for. This is the last that happens here: the coroutine goes on.
            reader_.resume();
        },
        token);
}

asio::awaitable<void> connection::handshake(time_point deadline) {
    if (!stream_->handshaking()) co_return;
    if (!self_) self_ = std::make_shared<connection*>(this);
    steady_timer timer{co_await asio::this_coro::executor};
    if (deadline != time_point::max()) {
        timer.expires_at(deadline);
        timer.async_wait([self = self_](std::error_code ec) {
            if (ec || *self == nullptr || !(*self)->stream_->handshaking()) return;
            if ((*self)->reader_.suspended()) (*self)->reader_.resume(errc::timed_out);
        });
    }
    while (stream_->handshaking()) {
        if (!open_) fail(asio::error::operation_aborted);
        if (read_failure_) fail(read_failure_);
        if (ended_) fail(asio::error::eof);
        begin_wait();
        std::error_code ec;
        co_await reader_.suspend(ec);
        if (ec) fail(ec);
        drained_ = false;
        std::array<std::byte, 1024> behind;  // what came with the last message of the handshake
        const std::size_t size = read_now(behind);
        ahead_.append(reinterpret_cast<const char*>(behind.data()), size);
    }
}

asio::awaitable<void> connection::read_exactly(mutable_bytes to) {
    to = to.subspan(take_ahead(to));
    while (!to.empty()) {
        const std::size_t size = co_await read(to, from::stream);
        if (size == 0) fail(asio::error::eof);
        to = to.subspan(size);
    }
}

asio::awaitable<std::string> connection::read_until(std::string_view delimiter, std::size_t most) {
    ahead_.erase(0, std::exchange(ahead_taken_, 0));
    std::size_t searched = 0;
    for (;;) {
        const std::size_t found = ahead_.find(delimiter, searched);
        const std::size_t end = found == std::string::npos ? std::string::npos : found + delimiter.size();
        if (found != std::string::npos && end <= most) {
            std::string text = ahead_.substr(0, end);
            ahead_.erase(0, end);
            co_return text;
        }
        if (found != std::string::npos || ahead_.size() >= most) {
            throw error{errc::too_big, fmt::format("the delimiter is not among the first {} bytes", most)};
        }
        searched = ahead_.size() - std::min(ahead_.size(), delimiter.size() - 1);
        std::array<std::byte, 4096> block;
        const std::size_t size = co_await read(block, from::stream);
        if (size == 0) co_return std::exchange(ahead_, {});
        ahead_.append(reinterpret_cast<const char*>(block.data()), size);
    }
}

asio::awaitable<void> connection::wait_writable() {
    if (!self_) self_ = std::make_shared<connection*>(this);
    stream_->wait_writable([self = self_](std::error_code /*writing tells*/) {
        if (*self != nullptr && (*self)->writer_.suspended()) (*self)->writer_.resume();
    });
    std::error_code ec;
    co_await writer_.suspend(ec);
    if (ec) fail(ec);
}

/// What the kernel takes at once.
std::size_t connection::write_now(std::span<const bytes_view> parts, std::error_code& ec) {
    const std::size_t size = stream_->write_some(parts, ec);
    if (ec && ec != asio::error::would_block) {
        failed_ = true;
        fail(ec);
    }
    if (size > 0) {
        active_.store(clock::coarse_now(), std::memory_order_relaxed);
        bytes_written_ += size;
        tell(connection_state::write);
    }
    return size;
}

asio::awaitable<void> connection::write(bytes_view bytes) {
    while (!bytes.empty() || stream_->holds_output()) {
        if (!open_) fail(asio::error::operation_aborted);
        std::error_code ec;
        bytes = bytes.subspan(write_now({&bytes, bytes.empty() ? 0U : 1U}, ec));
        if (ec) co_await wait_writable();
    }
}

asio::awaitable<void> connection::write(std::span<const bytes_view> parts) {
    std::array<bytes_view, 1> begun{};  // the part of which some has been written
    for (;;) {
        while (begun.front().empty() && !parts.empty() && parts.front().empty()) parts = parts.subspan(1);
        const bool taken = begun.front().empty() && parts.empty();
        if (taken && !stream_->holds_output()) co_return;
        if (!open_) fail(asio::error::operation_aborted);
        const std::span<const bytes_view> now = begun.front().empty() ? parts : std::span<const bytes_view>{begun};
        std::error_code ec;
        std::size_t size = write_now(now, ec);
        if (!begun.front().empty()) {
            begun.front() = begun.front().subspan(size);
        } else {
            while (!parts.empty() && size >= parts.front().size()) {
                size -= parts.front().size();
                parts = parts.subspan(1);
            }
            if (size > 0) {
                begun.front() = parts.front().subspan(size);
                parts = parts.subspan(1);
            }
        }
        if (ec) co_await wait_writable();
    }
}

void connection::shutdown_write() {
    if (!open_ || std::exchange(write_ended_, true)) return;
    stream_->shutdown_send();
    tell(connection_state::close_write);
}

asio::awaitable<void> connection::linger(duration limit) {
    static constexpr std::uint64_t most = 1024 * 1024;
    if (!open_ || ended_ || failed_) co_return;
    shutdown_write();
    const std::uint64_t before = bytes_read_;
    const auto discarded = [&] { return bytes_read_ - before; };
    if (!self_) self_ = std::make_shared<connection*>(this);
    steady_timer timer{co_await asio::this_coro::executor};
    timer.expires_at(later(clock::now(), limit));
    timer.async_wait([self = self_](std::error_code ec) {
        if (!ec && *self != nullptr && (*self)->reader_.suspended()) (*self)->reader_.resume(errc::timed_out);
    });
    try {
        std::array<std::byte, 16 * 1024> nowhere;
        drained_ = false;
        if (read_now(nowhere) == 0) co_return;  // it is silent: nothing is on its way that would be answered by a reset
        while (!ended_ && discarded() < most) (void)co_await read(nowhere, from::stream);
    } catch (const error&) {  // it has gone, or the time is over
    }
}

/// What the peer has sent and nobody has read would make the close a reset, which takes along what is on its way to it.
void connection::discard_input() noexcept {
    try {
        std::array<std::byte, 16 * 1024> nowhere;
        std::error_code ec;
        for (int i = 0; i < 64 && !ec; ++i) {
            read_buffer buffer{nowhere, &slabs_of_threads(), {}};
            (void)stream_->read_some(buffer, ec);
        }
    } catch (...) {  // it closes all the same
    }
}

void connection::close() noexcept {
    if (!std::exchange(open_, false)) return;
    if (!write_ended_) stream_->shutdown_send();  // which says in TLS that this is the end
    if (!ended_) discard_input();
    stream_->close();
    tell(connection_state::closed);
}

void connection::abort() noexcept {
    if (!std::exchange(open_, false)) return;
    stream_->abort();
    tell(connection_state::closed);
}

}  // namespace kephas
