#pragma once

#include <kephas/base/logger.hpp>

#include <kephas/net/unix_socket_file.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/basic_socket_acceptor.hpp>
#include <asio/generic/stream_protocol.hpp>

#include <functional>

namespace kephas {

/// One stream socket that listens. Concurrency: `accept` on its executor, which runs one function at a time; `stop` from
/// any thread; it must not be destroyed before `accept` has completed.
class acceptor {
public:
    using protocol = asio::generic::stream_protocol;
    /// Takes a descriptor that was accepted, and owns it; if this throws, it has closed it.
    using accepted_handler = std::function<void(int fd)>;
    /// Takes one connection of a listening socket, as accept4(2) does: a descriptor that does not block, or -1 and errno.
    using accept_function = std::function<int(int listening)>;

    /// Binds and listens. `access` is for Unix sockets with a file; `only_v6` for `[::]`, which takes IPv4 too otherwise.
    /// Throws `error`; `errc::address_in_use` among others.
    acceptor(const asio::any_io_executor& executor, const protocol::endpoint& endpoint, const unix_socket_access& access = {},
             bool only_v6 = false);
    acceptor(const acceptor&) = delete;
    acceptor& operator=(const acceptor&) = delete;
    ~acceptor();

    /// Accepts until `stop()`. What has befallen one connection only is passed over; when descriptors run out, or nothing
    /// can be accepted at all, it logs once, waits, and tries again. `take`: where connections come from, for tests.
    [[nodiscard]] asio::awaitable<void> accept(accepted_handler accepted, logger log, accept_function take = accept_one);
    /// Closes it, on its executor.
    void stop();

    /// Where it is bound; any thread, also after `stop()`.
    [[nodiscard]] const protocol::endpoint& endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] asio::any_io_executor executor() { return acceptor_.get_executor(); }

    static int accept_one(int listening) noexcept;

private:
    void close() noexcept;

    asio::basic_socket_acceptor<protocol> acceptor_;
    unix_socket_file file_;
    protocol::endpoint endpoint_;
};

}  // namespace kephas
