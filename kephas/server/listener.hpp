#pragma once

#include <kephas/base/logger.hpp>

#include <kephas/server/listen_address.hpp>
#include <kephas/server/session.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/basic_socket_acceptor.hpp>
#include <asio/generic/stream_protocol.hpp>

#include <functional>
#include <memory>
#include <string>

namespace kephas {

/// One socket that listens. Concurrency: `accept` on its executor, which runs one function at a time; `stop` from
/// any thread; it must not be destroyed before `accept` has completed.
class listener {
public:
    using protocol = asio::generic::stream_protocol;
    /// Takes a descriptor that was accepted; it is closed if this throws.
    using accepted_handler = std::function<void(protocol::socket::native_handle_type, const protocol&,
                                                const std::shared_ptr<const listener_role>&)>;

    /// Binds and listens. Throws `error`.
    listener(const asio::any_io_executor& executor, const listen_address& address, bool files);
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;
    ~listener();

    /// Takes one connection of a listening socket, as accept4(2) does: a descriptor that does not block, or -1 and errno.
    using accept_function = std::function<int(protocol::socket::native_handle_type listening)>;

    /// Accepts until `stop()`. What has befallen one connection only is passed over; when descriptors run out, or nothing
    /// can be accepted at all, it logs once, waits, and tries again. `take`: where connections come from, for tests.
    [[nodiscard]] asio::awaitable<void> accept(accepted_handler accepted, logger log, accept_function take = accept_one);
    /// Closes it, on its executor.
    void stop();

    /// Where it is bound; any thread, also after `stop()`.
    [[nodiscard]] const protocol::endpoint& endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] std::string url() const;
    [[nodiscard]] asio::any_io_executor executor() { return acceptor_.get_executor(); }

private:
    static int accept_one(protocol::socket::native_handle_type listening) noexcept;
    void close() noexcept;
    void bind_unix(const listen_address& address);

    asio::basic_socket_acceptor<protocol> acceptor_;
    protocol protocol_;
    std::shared_ptr<const listener_role> role_;
    listen_address::kind kind_;
    protocol::endpoint endpoint_;
    std::string socket_file_;  // ours to remove
};

}  // namespace kephas
