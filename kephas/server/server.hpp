#pragma once

#include <kephas/net/certificate_reload.hpp>
#include <kephas/net/stream.hpp>

#include <kephas/server/clients.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/router.hpp>
#include <kephas/server/server_stats.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace kephas {

/// How a drain went.
struct drain_report {
    std::size_t left_in_time = 0;  ///< Clients whose handlers ended and that were closed before the deadline.
    std::size_t cancelled = 0;     ///< Clients whose handlers had to be cancelled.
    std::size_t cut = 0;           ///< Connections that were still open at the very end.
    bool operator==(const drain_report&) const = default;
};

/// Makes a connection that lives on that executor.
using stream_factory = std::function<std::unique_ptr<stream>(const asio::any_io_executor&)>;

/// A server: listeners, the connections that they accept, and the handlers that serve them.
///
/// Owned, it has threads of its own and `run()` blocks; embedded, it lives on an executor of the program's and `serve()`
/// is a coroutine. Either serves once. The object must outlive that call: connections of a server whose context ends before are
/// not given back, memory and descriptors.
/// Concurrency: `stop`, `clients`, `stats`, `connections`, `port`, `endpoints` and `reload_certificates` from any thread; everything
/// else from one at a time.
class server {
public:
    /// Owned. Throws `std::invalid_argument` for options that contradict each other.
    explicit server(router routes, server_options options = {});
    explicit server(std::shared_ptr<const kephas::routes> routes, server_options options = {});
    /// Embedded. The program runs the context, on as many threads as it likes.
    server(asio::io_context& context, router routes, server_options options = {});
    server(asio::io_context& context, std::shared_ptr<const kephas::routes> routes, server_options options = {});
    /// Embedded, on any executor, with an `asio::strand` over it for each client.
    server(asio::any_io_executor executor, std::shared_ptr<const kephas::routes> routes, server_options options = {});
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server();

    /// Binds the listeners, so that `port()` is known; `run` and `serve` do it if it was not done.
    /// Errors: `errc::invalid_address`, `errc::address_in_use`, `errc::invalid_certificate`, or what the system says.
    void listen();

    /// Owned: serves until SIGINT, SIGTERM or `stop()`, drains, and returns when the last thread has ended.
    /// Errors: as `listen`; `errc::already_running`.
    drain_report run();
    /// Embedded: serves until it is cancelled or `stop()` is called, drains, and completes when nothing of the server
    /// is left on the executor.
    /// Cancellation: all types mean a drain; a second time, at once.
    [[nodiscard]] asio::awaitable<drain_report> serve();
    /// Starts the drain; a second call cuts it short.
    void stop();

    /// Takes over a connection that the program accepted, as if a `ws://` listener with the path `/ws` had. While it
    /// serves. Beyond a limit on connections it is answered with 429 or 503 and closed.
    /// Errors: what the system says; the connection is closed then.
    void attach(asio::ip::tcp::socket socket);
    void attach(asio::generic::stream_protocol::socket socket);
    /// Takes over a connection of any kind, one in memory for example: `make` gets the executor on which all of it will
    /// happen. WebSocket connections are opened at `path`.
    /// Errors: what `make` throws; `errc::overloaded` beyond a limit on connections.
    void attach(const stream_factory& make, std::string path = "/ws");
    /// The same for connections that carry commands, each behind its length, as those of a `tcp://` listener do. Beyond a
    /// limit they get a goodbye.
    void attach_commands(asio::ip::tcp::socket socket);
    void attach_commands(asio::generic::stream_protocol::socket socket);
    void attach_commands(const stream_factory& make);

    /// Has new connections use the certificates that the files hold now, if they are valid and fit together; otherwise
    /// those before stay in use, which is logged and returned. Open connections go on as they are. Without a call it
    /// happens after `tls_options::watch_interval`.
    /// Blocks while the disk works, and for `tls_options::reload_patience` when the files do not fit together.
    certificate_reload reload_certificates();

    /// The port of the first TCP listener, or of the first UDP one if there is none; 0 before `listen`.
    [[nodiscard]] std::uint16_t port() const;
    /// Where each element of `listen` is bound: "127.0.0.1:8080".
    [[nodiscard]] std::vector<std::string> endpoints() const;

    [[nodiscard]] kephas::clients clients() const;
    /// `clients().broadcast(...)`
    asio::awaitable<broadcast_report> broadcast(command_id id, payload body, broadcast_options options = {}) const {
        return clients().broadcast(id, std::move(body), std::move(options));
    }
    /// Everything that is counted, now; also before it serves, and afterwards.
    [[nodiscard]] server_stats stats() const;
    /// The connections of the clients that there are now, in no particular order.
    [[nodiscard]] std::vector<connection_stats> connections() const;

private:
    class implementation;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace kephas
