#pragma once

#include <kephas/net/owned_fd.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <sys/epoll.h>

namespace kephas {

/// The sockets of one thread: an epoll(7) descriptor that the thread's `io_context` waits for as for any other. All that is
/// ready is told in one go, level-triggered, without an operation of Asio's for each (docs/design/polling.md).
/// Concurrency: everything on the thread that runs the executor.
class poller : public std::enable_shared_from_this<poller> {
public:
    /// Whoever wants to know about one descriptor.
    class target {
    public:
        /// `events` as of epoll_wait(2); none for what `tell_soon` asked for. It may remove and destroy any target.
        virtual void ready(std::uint32_t events) noexcept = 0;

    protected:
        ~target() = default;
    };

    /// Throws `error`.
    explicit poller(const asio::any_io_executor& executor);
    poller(const poller&) = delete;
    poller& operator=(const poller&) = delete;

    /// Watches `fd` for `events`; -1 is one that was closed, whose target may still be told something. Throws `error`.
    void add(int fd, target& who, std::uint32_t events);
    /// From now on for others.
    void change(int fd, target& who, std::uint32_t events) noexcept;
    /// Before `fd` is closed, which a process that was forked may still hold open: `who` hears nothing of it any more, not
    /// even what has happened already.
    void remove(int fd, target& who) noexcept;
    /// Calls `who` once, with no event, after everybody who is ready by now. Not again before that.
    void tell_soon(target& who) noexcept;
    /// The last call for a target that was added, and removed. `soon`: it waits for what `tell_soon` has promised.
    void forget(target& who, bool soon) noexcept;

    /// Waits for nothing any more, and lets go of the executor. It has to come before the end of that.
    void stop() noexcept;

private:
    void wait();
    void poll();
    void tell_events(std::size_t found) noexcept;
    void tell_first(std::size_t due) noexcept;

    std::optional<asio::posix::stream_descriptor> epoll_;  // until `stop`: a poller may outlive its context
    owned_fd wakeup_;            // an eventfd: somebody is to be told soon
    std::vector<target*> soon_;  // has room for all targets, twice, so that no memory is needed when one is closed
    std::size_t targets_ = 0;
    bool woken_ = false;    // the eventfd is readable
    bool waiting_ = false;  // `poll` will be called
    bool polling_ = false;

    // What the last epoll_wait(2) has found, and the next one to be told.
    std::array<epoll_event, 128> events_;
    std::size_t found_ = 0;
    std::size_t next_ = 0;
};

}  // namespace kephas
