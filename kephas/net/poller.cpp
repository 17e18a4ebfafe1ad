#include <kephas/base/error.hpp>

#include <kephas/net/poller.hpp>

#include <asio/post.hpp>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace kephas {

namespace {

/// Each round costs one system call, going back to Asio two. But others wait there.
constexpr int most_rounds = 4;
/// Where so much was ready, more is by now.
constexpr std::size_t busy = 4;

[[noreturn]] void throw_errno(const char* what) { throw error{{errno, std::system_category()}, what}; }

int or_throw(int fd, const char* what) {
    if (fd < 0) throw_errno(what);
    return fd;
}

}  // namespace

poller::poller(const asio::any_io_executor& executor)
    : epoll_{std::in_place, executor, or_throw(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")},
      wakeup_{or_throw(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")} {
    epoll_event event{EPOLLIN, {.ptr = nullptr}};
    if (::epoll_ctl(epoll_->native_handle(), EPOLL_CTL_ADD, wakeup_.get(), &event) != 0) throw_errno("epoll_ctl");
}

void poller::add(int fd, target& who, std::uint32_t events) {
    if (soon_.capacity() <= 2 * targets_) soon_.reserve(std::max<std::size_t>(32, 4 * targets_));
    if (!waiting_ && !polling_ && epoll_) wait();
    epoll_event event{events, {.ptr = &who}};
    if (fd >= 0 && epoll_ && ::epoll_ctl(epoll_->native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) throw_errno("epoll_ctl");
    ++targets_;
}

void poller::change(int fd, target& who, std::uint32_t events) noexcept {
    epoll_event event{events, {.ptr = &who}};
    if (epoll_) (void)::epoll_ctl(epoll_->native_handle(), EPOLL_CTL_MOD, fd, &event);  // cannot fail for one that was added
}

void poller::remove(int fd, target& who) noexcept {
    if (epoll_) (void)::epoll_ctl(epoll_->native_handle(), EPOLL_CTL_DEL, fd, nullptr);
    for (std::size_t i = next_; i < found_; ++i) {
        if (events_[i].data.ptr == &who) events_[i].data.ptr = nullptr;
    }
}

void poller::tell_soon(target& who) noexcept {
    soon_.push_back(&who);
    if (polling_ || soon_.size() > 1) return;
    const std::uint64_t one = 1;
    (void)!::write(wakeup_.get(), &one, sizeof(one));
    woken_ = true;
}

void poller::forget(target& who, bool soon) noexcept {
    --targets_;
    if (soon) std::ranges::replace(soon_, &who, nullptr);
}

void poller::stop() noexcept { epoll_.reset(); }

void poller::wait() {
    epoll_->async_wait(asio::posix::descriptor_base::wait_read, [self = shared_from_this()](std::error_code ec) {
        self->waiting_ = false;
        if (!ec) self->poll();
    });
    waiting_ = true;
}

void poller::poll() {
    polling_ = true;
    for (int round = 0; round < most_rounds && epoll_; ++round) {
        const std::size_t due = soon_.size();  // who asks from now on is told in the next round
        const int found = ::epoll_wait(epoll_->native_handle(), events_.data(), static_cast<int>(events_.size()), 0);
        tell_events(found > 0 ? static_cast<std::size_t>(found) : 0);
        tell_first(due);
        if (found < static_cast<int>(busy) && soon_.empty()) break;
    }
    polling_ = false;
    if (!epoll_) return;
    if (soon_.empty()) return wait();
    asio::post(epoll_->get_executor(), [self = shared_from_this()] {
        self->waiting_ = false;
        self->poll();
    });
    waiting_ = true;
}

void poller::tell_events(std::size_t found) noexcept {
    found_ = found;
    next_ = 0;
    while (next_ < found_) {
        const epoll_event event = events_[next_++];
        if (event.data.ptr != nullptr) static_cast<target*>(event.data.ptr)->ready(event.events);
    }
    found_ = next_ = 0;
}

void poller::tell_first(std::size_t due) noexcept {
    if (std::exchange(woken_, false)) {
        std::uint64_t count = 0;
        (void)!::read(wakeup_.get(), &count, sizeof(count));
    }
    for (std::size_t i = 0; i < due; ++i) {  // it grows where one that is told closes another, or asks again
        if (target* who = std::exchange(soon_[i], nullptr)) who->ready(0);
    }
    soon_.erase(soon_.begin(), soon_.begin() + static_cast<std::ptrdiff_t>(due));
}

}  // namespace kephas
