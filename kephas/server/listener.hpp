#pragma once

#include <kephas/base/logger.hpp>

#include <kephas/net/acceptor.hpp>

#include <kephas/server/listen_address.hpp>
#include <kephas/server/listener_role.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace kephas {

struct server_options;

/// One socket that listens, and what its connections are for. Concurrency: as of `acceptor`.
class listener {
public:
    using protocol = acceptor::protocol;
    /// Takes a descriptor that was accepted; it is closed if this throws.
    using accepted_handler = std::function<void(int fd, const protocol&, const std::shared_ptr<const listener_role>&)>;

    /// Binds and listens. Throws `error`.
    /// `index`: its place in `server_options::listen`.
    listener(const asio::any_io_executor& executor, const listen_address& address, const server_options& options,
             std::size_t index);

    /// Accepts until `stop()`: `acceptor::accept`.
    [[nodiscard]] asio::awaitable<void> accept(accepted_handler accepted, logger log,
                                               acceptor::accept_function take = acceptor::accept_one);
    void stop() { acceptor_->stop(); }

    [[nodiscard]] const protocol::endpoint& endpoint() const noexcept { return acceptor_->endpoint(); }
    [[nodiscard]] std::string url() const;
    [[nodiscard]] const listener_role& role() const noexcept { return *role_; }
    [[nodiscard]] asio::any_io_executor executor() { return acceptor_->executor(); }

private:
    std::unique_ptr<acceptor> acceptor_;
    std::shared_ptr<const listener_role> role_;
    listen_address::kind kind_;
};

}  // namespace kephas
