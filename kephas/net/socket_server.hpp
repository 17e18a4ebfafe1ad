#pragma once

#include <kephas/base/clock.hpp>

#include <asio/awaitable.hpp>

#include <cstddef>
#include <string>

namespace kephas {

/// What servers of streams and of datagrams have in common.
/// Concurrency: any thread, except where it says otherwise. Once it has been shut down or closed it cannot be used again.
class socket_server {
public:
    socket_server() = default;
    socket_server(const socket_server&) = delete;
    socket_server& operator=(const socket_server&) = delete;
    /// Not before `run` has returned, or `serve` has completed.
    virtual ~socket_server() = default;

    /// Binds, so that `local_address()` is known; `run` and `serve` do it if it was not done. Throws `error`.
    virtual void listen() = 0;
    /// Serves, on threads of its own and the caller's, until `shutdown`, `close` or a SIGINT or SIGTERM, which is a shutdown
    /// within the option `drain_timeout`; the second one closes. True if all handlers ended by themselves. Throws `error`;
    /// `errc::already_running` if it is used again.
    virtual bool run() = 0;
    /// The same in the program's context, without signals. Cancellation: as a signal.
    [[nodiscard]] virtual asio::awaitable<bool> serve() = 0;

    /// Takes nothing new, and lets handlers come to their end; those that have not by `deadline` are cancelled. Returns at once.
    virtual void shutdown(time_point deadline) = 0;
    void shutdown(duration timeout) { shutdown(later(clock::now(), timeout)); }
    /// Ends everything at once.
    void close() { shutdown(time_point::min()); }

    /// Of datagrams: 1 while it is running, 0 otherwise.
    [[nodiscard]] virtual std::size_t open_connections() const noexcept = 0;
    /// Whether it takes something new.
    [[nodiscard]] virtual bool is_running() const noexcept = 0;
    /// Whether it has ended, all handlers included.
    [[nodiscard]] virtual bool is_gone() const noexcept = 0;
    /// "127.0.0.1:8080", "[::]:8080", the file or `@name` of a Unix socket; empty before `listen`.
    [[nodiscard]] virtual std::string local_address() const = 0;
};

}  // namespace kephas
