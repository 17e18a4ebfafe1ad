#include <kephas/server/lingerers.hpp>

#include <asio/dispatch.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace kephas {

namespace {

constexpr auto interval = std::chrono::milliseconds{20};

/// A few bytes into an empty socket: they fit, or nobody is there.
void send_last(int fd, const refusal_answers& answers, wire_format format, std::atomic<std::uint64_t>& responses) noexcept {
    const std::string_view bytes = answers.in(format);
    if (format == wire_format::websocket) responses.fetch_add(1, std::memory_order_relaxed);
    (void)::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
}

/// By what has come; nothing if that does not tell yet. Whoever has gone is told nothing, as if he spoke a stream.
std::optional<wire_format> format_at(int fd) noexcept {
    std::array<std::byte, 4> first;
    const ssize_t size = ::recv(fd, first.data(), first.size(), MSG_PEEK | MSG_DONTWAIT);
    if (size > 0) return format_of(bytes_view{first}.first(static_cast<std::size_t>(size)));
    return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? std::nullopt
                                                                                   : std::optional{wire_format::stream};
}

/// Reads what has arrived. False once the peer has ended its side, or has more to say than a request.
bool discard_input(int fd) noexcept {
    std::array<char, 4096> scratch;
    for (int reads = 0; reads < 8; ++reads) {
        const ssize_t size = ::recv(fd, scratch.data(), scratch.size(), MSG_DONTWAIT);
        if (size > 0 || (size < 0 && errno == EINTR)) continue;
        return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
    return false;
}

}  // namespace

lingerers::lingerers(asio::any_io_executor executor, duration patience)
    : timer_{std::move(executor)}, patience_{patience} {}

lingerers::~lingerers() {
    for (const entry& each : entries_) ::close(each.fd);
}

void lingerers::answer(int fd, const refusal_answers& answers, std::optional<wire_format> format, std::size_t most,
                       std::atomic<std::uint64_t>& responses) {
    if (!format) format = format_at(fd);
    if (format) send_last(fd, answers, *format, responses);
    const bool waits = !format || discard_input(fd);
    const std::lock_guard lock{mutex_};
    if (!waits || stopped_ || most == 0) {
        ::close(fd);
        return;
    }
    while (entries_.size() >= most) {
        (void)discard_input(entries_.front().fd);
        ::close(entries_.front().fd);
        entries_.erase(entries_.begin());
    }
    try {
        entries_.push_back({fd, clock::now() + patience_, format ? nullptr : &answers, &responses});
    } catch (...) {
        ::close(fd);
        throw;
    }
    if (idle_) std::exchange(idle_, nullptr)->resume();
}

asio::awaitable<void> lingerers::run() {
    for (;;) {
        std::error_code ec;
        co_await park(
            [this](parked_ptr who) {
                const std::lock_guard lock{mutex_};
                if (stopped_ || !entries_.empty()) return false;
                idle_ = std::move(who);
                return true;
            },
            ec);
        if (ec || stopped_) co_return;  // set on this executor
        timer_.expires_after(interval);
        co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        sweep();
    }
}

void lingerers::stop() {
    asio::dispatch(timer_.get_executor(), [this] {
        {
            const std::lock_guard lock{mutex_};
            stopped_ = true;
            if (idle_) std::exchange(idle_, nullptr)->resume();
            for (const entry& each : entries_) ::close(each.fd);
            entries_.clear();
        }
        timer_.cancel();
    });
}

void lingerers::sweep() {
    const time_point now = clock::now();
    const std::lock_guard lock{mutex_};
    std::erase_if(entries_, [now](entry& each) {
        if (each.answers != nullptr) {
            auto format = format_at(each.fd);
            if (!format && now < each.until) return false;
            send_last(each.fd, *std::exchange(each.answers, nullptr), format.value_or(wire_format::stream), *each.responses);
        }
        if (discard_input(each.fd) && now < each.until) return false;
        ::close(each.fd);
        return true;
    });
}

}  // namespace kephas
