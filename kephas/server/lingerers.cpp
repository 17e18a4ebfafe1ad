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

void lingerers::answer(int fd, std::string_view response, std::size_t most) {
    // A few bytes into an empty socket: they fit, or nobody is there.
    (void)::send(fd, response.data(), response.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
    const bool waits = discard_input(fd);
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
        entries_.push_back({fd, clock::now() + patience_});
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
    std::erase_if(entries_, [now](const entry& each) {
        if (discard_input(each.fd) && now < each.until) return false;
        ::close(each.fd);
        return true;
    });
}

}  // namespace kephas
