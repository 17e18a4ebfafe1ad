#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/socket_server.hpp>
#include <kephas/net/unix_socket_file.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace kephas {

/// What a `datagram_server` may be told. None of the callbacks runs under a lock, and what they throw is logged.
struct datagram_server_options {
    datagram_socket_options socket{};
    /// How long the handler may take to end after SIGINT or SIGTERM has ended `run()`.
    duration drain_timeout = std::chrono::seconds{25};
    unix_socket_access access{};  ///< Who may send to a Unix socket.
    /// What the handler has thrown, other than because the socket was closed; on the socket's thread.
    std::function<void(const std::exception_ptr&)> on_error{};
    std::function<void(std::string_view)> on_message{};  ///< "listening on udp://127.0.0.1:8125", and when that ends.
    logger log{};

    /// Throws `std::invalid_argument` naming the option that cannot be.
    void validate() const;
};

/// Listens on a UDP or Unix datagram socket, and has one coroutine serve all that comes:
///
///     kephas::datagram_server server{"udp://:8125", [](kephas::datagram_socket& socket) -> asio::awaitable<void> {
///         while (const auto datagram = co_await socket.receive()) co_await socket.send(datagram->bytes, datagram->sender());
///     }};
///     server.run();
///
/// The socket belongs to one thread, or one strand of the program's executor. A handler that returns ends the server. One that
/// throws is begun again, and goes on with the datagram after the one that it has thrown for; unless it had received nothing
/// since it was begun, which ends the server. The end of the handler is the end of `run` and `serve`.
class datagram_server final : public socket_server {
public:
    using handler = std::function<asio::awaitable<void>(datagram_socket& socket)>;

    /// With a thread of its own, for `run()`. Throws `error{errc::invalid_address}`, `std::invalid_argument`.
    datagram_server(std::string_view where, handler serve, datagram_server_options options = {});
    datagram_server(address where, handler serve, datagram_server_options options = {});
    /// In the program's context, for `serve()`, whoever runs that: the socket gets a strand.
    datagram_server(asio::io_context& context, std::string_view where, handler serve, datagram_server_options options = {});
    datagram_server(asio::io_context& context, address where, handler serve, datagram_server_options options = {});
    ~datagram_server() override;

    void listen() override;
    bool run() override;
    [[nodiscard]] asio::awaitable<bool> serve() override;

    using socket_server::shutdown;
    /// Nothing more is received: `datagram_socket::receive` returns nothing, and the handler comes to its end. If it has not by
    /// `deadline` it is cancelled, and the socket closed.
    void shutdown(time_point deadline) override;

    [[nodiscard]] std::size_t open_connections() const noexcept override { return is_running() ? 1 : 0; }
    [[nodiscard]] bool is_running() const noexcept override;
    [[nodiscard]] bool is_gone() const noexcept override;
    [[nodiscard]] std::string local_address() const override;

private:
    class implementation;
    std::shared_ptr<implementation> implementation_;
};

}  // namespace kephas
