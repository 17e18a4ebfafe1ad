#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/certificate_reload.hpp>
#include <kephas/net/connection.hpp>
#include <kephas/net/socket_server.hpp>
#include <kephas/net/tls_options.hpp>
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

/// What a `stream_server` may be told. None of the callbacks runs under a lock. What `authorize` throws counts as thrown by the
/// handler; what `on_error` and `on_message` throw is logged, and what `on_state` throws is lost.
struct stream_server_options {
    unsigned threads = 1;                    ///< Of `run()`; 0: as many as there are cores.
    std::size_t max_connections = 16 * 1024;  ///< Those above are closed at once.
    /// A connection on which nothing was read or written for so long is closed, soon after that. Zero: never.
    duration idle_timeout = duration::zero();
    /// How long connections may take to end after SIGINT or SIGTERM has ended `run()`.
    duration drain_timeout = std::chrono::seconds{25};
    /// A TCP peer that has been silent for so long is asked whether it is still there (SO_KEEPALIVE), and given up after twice
    /// that time; so is one that takes nothing of what was sent for as long (TCP_USER_TIMEOUT). Zero: never.
    duration keep_alive = std::chrono::minutes{5};
    /// Called with each socket that was accepted, to set its options; on the thread that accepts. If it throws, that one is closed.
    std::function<void(int fd)> prepare_socket{};
    unix_socket_access access{};  ///< Who may connect to a Unix socket.
    tls_options tls{.alpn = {}};  ///< Certificates of `tls://`, and what is asked of the clients.
    duration handshake_timeout = std::chrono::seconds{10};  ///< For TLS. Zero: none.
    /// For a peer that still sends when its handler has returned, so that it gets what was written: `connection::linger`.
    duration linger_timeout = std::chrono::seconds{2};
    /// Whether a connection is served: its peer's credentials, say. On the connection's thread, before the handler.
    std::function<bool(const connection&)> authorize{};
    connection_observer on_state{};  ///< On the connection's thread.
    /// What a handler has thrown, other than because its connection was closed, and why a TLS handshake has failed; on the
    /// connection's thread.
    std::function<void(const std::exception_ptr&)> on_error{};
    std::function<void(std::string_view)> on_message{};  ///< "listening on tcp://127.0.0.1:8080", and when that ends.
    logger log{};

    /// Throws `std::invalid_argument` naming the option that cannot be.
    void validate() const;
};

/// Listens on a TCP, TLS or Unix socket, and has a coroutine serve each connection:
///
///     kephas::stream_server server{"tcp://:8080", [](kephas::connection& client) -> asio::awaitable<void> {
///         std::array<std::byte, 4096> buffer;
///         while (const std::size_t size = co_await client.read_some(buffer)) co_await client.write(bytes_view{buffer}.first(size));
///     }};
///     server.run();
///
/// A connection is closed when its handler has returned or thrown; `run` returns when nothing is left that handlers have begun. Each belongs to one thread, or one strand of the program's
/// executor, so that its handler needs no lock for what is its own.
class stream_server final : public socket_server {
public:
    using handler = std::function<asio::awaitable<void>(connection& client)>;

    /// With threads of its own, for `run()`. Throws `error{errc::invalid_address}`, `std::invalid_argument`; certificates are
    /// read by `listen`.
    stream_server(std::string_view where, handler serve, stream_server_options options = {});
    stream_server(address where, handler serve, stream_server_options options = {});
    /// In the program's context, for `serve()`, whoever runs that: each connection gets a strand.
    stream_server(asio::io_context& context, std::string_view where, handler serve, stream_server_options options = {});
    stream_server(asio::io_context& context, address where, handler serve, stream_server_options options = {});
    ~stream_server() override;

    void listen() override;
    bool run() override;
    [[nodiscard]] asio::awaitable<bool> serve() override;

    /// Has new connections use the certificates that the files hold now, if they are valid and fit together; those before stay
    /// in use otherwise. Without a call it happens after `tls_options::watch_interval`, on the thread that accepts.
    /// Blocks while the disk works, and for `tls_options::reload_patience` when the files do not fit together.
    certificate_reload reload_certificates();

    using socket_server::shutdown;
    /// Connections whose handlers have not ended by `deadline` are closed.
    void shutdown(time_point deadline) override;

    [[nodiscard]] std::size_t open_connections() const noexcept override;
    [[nodiscard]] bool is_running() const noexcept override;
    [[nodiscard]] bool is_gone() const noexcept override;
    [[nodiscard]] std::string local_address() const override;

private:
    class implementation;
    std::shared_ptr<implementation> implementation_;
};

}  // namespace kephas
