#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/clock.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/connect.hpp>
#include <kephas/net/connection.hpp>

#include <asio/awaitable.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace kephas {

/// A client that knows where its server is, and connects as often as it is told to:
///
///     kephas::stream_client client{"tcp://example.org:7"};
///     co_await client.once("hello\n", 5s, [](kephas::connection& server) -> asio::awaitable<void> {
///         std::string answer = co_await server.read_until("\n");
///     });
///
/// Reading and writing are those of `connection`; without one they throw `errc::not_connected`.
/// Concurrency: everything on the executor of the coroutines that await it, one at a time, but reading beside writing.
/// Lifetime: it must stay until what was begun on it has completed, and not outlive the context of those coroutines.
class stream_client {
public:
    /// Gets the connection once the request has been written.
    using response_handler = std::function<asio::awaitable<void>(connection& server)>;

    /// Throws `error{errc::invalid_address}`: for datagrams, too.
    explicit stream_client(std::string_view where, connect_options options = {});
    explicit stream_client(address where, connect_options options = {});
    stream_client(const stream_client&) = delete;
    stream_client& operator=(const stream_client&) = delete;
    ~stream_client() = default;

    /// Connects, in place of an earlier connection, which is closed. Errors, cancellation: those of `kephas::connect`.
    [[nodiscard]] asio::awaitable<void> connect(time_point deadline);
    [[nodiscard]] asio::awaitable<void> connect(duration timeout) { return connect(later(clock::now(), timeout)); }
    /// Whether there is a connection that nobody here has closed, that has not failed, and of which the peer's end has not been read.
    [[nodiscard]] bool is_connected() const noexcept {
        return connection_ && connection_->is_open() && !connection_->at_end() && !connection_->has_failed();
    }

    /// Writes `request` and awaits `handle`, on the connection that there is, or else on one made for it, which is closed afterwards.
    /// Errors: those of `connect` and of the handler; `errc::timed_out` if all of it has not ended by the deadline, which ends
    /// what waits for the connection. After any of them the connection is closed: somebody else would read the rest of the
    /// answer. Cancellation: all types.
    /// Lifetime: the request stays until it has completed.
    [[nodiscard]] asio::awaitable<void> once(bytes_view request, time_point deadline, response_handler handle);
    [[nodiscard]] asio::awaitable<void> once(std::string_view request, duration timeout, response_handler handle) {
        return once(as_bytes(request), later(clock::now(), timeout), std::move(handle));
    }

    [[nodiscard]] asio::awaitable<std::size_t> read_some(mutable_bytes to) { return current().read_some(to); }
    [[nodiscard]] asio::awaitable<void> read_exactly(mutable_bytes to) { return current().read_exactly(to); }
    [[nodiscard]] asio::awaitable<std::string> read_until(std::string_view delimiter, std::size_t most = 64 * 1024) {
        return current().read_until(delimiter, most);
    }
    [[nodiscard]] asio::awaitable<void> write(bytes_view bytes) { return current().write(bytes); }
    [[nodiscard]] asio::awaitable<void> write(std::string_view text) { return current().write(text); }
    [[nodiscard]] asio::awaitable<void> write(std::span<const bytes_view> parts) { return current().write(parts); }
    /// Nothing more will be written: the server sees the end of the stream (FIN), and may still answer.
    void shutdown_write() { current().shutdown_write(); }
    /// Ends the connection, if there is one; it may be connected again.
    void close();

    /// The connection itself: its addresses, what TLS has agreed on, its counters. Throws `errc::not_connected`.
    [[nodiscard]] connection& current();
    [[nodiscard]] const address& server() const noexcept { return where_; }

private:
    const address where_;
    const connect_options options_;
    std::unique_ptr<connection> connection_;
};

}  // namespace kephas
