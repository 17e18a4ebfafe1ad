#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/payload.hpp>
#include <kephas/base/peer_credentials.hpp>
#include <kephas/base/uuid.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/failures.hpp>
#include <kephas/proto/session/outbound_queue.hpp>

#include <kephas/server/close_info.hpp>
#include <kephas/server/connection_stats.hpp>

#include <asio/awaitable.hpp>

#include <any>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace kephas {

class client_state;
class clients;

using client_id = uuid;

/// A handle to a connected client: a value that any thread may copy, keep and use. After the connection has gone,
/// sending answers `closed` and the facts about it can still be read. Two handles are equal if they mean the same
/// connection. Concurrency: everything may be called from any thread.
class client {
public:
    client() = default;  ///< Nobody: behaves as one that has left.
    explicit client(std::shared_ptr<client_state> state) noexcept : state_{std::move(state)} {}

    /// A version 4 UUID, constant for the life of the connection.
    [[nodiscard]] client_id id() const noexcept;
    /// What `authorize` said that the client is; empty without it.
    [[nodiscard]] const std::string& identity() const noexcept;
    /// "IP:port", "[IPv6]:port" or "unix".
    [[nodiscard]] const std::string& remote_address() const noexcept;
    /// The subprotocol that was selected; empty for none.
    [[nodiscard]] const std::string& subprotocol() const noexcept;
    /// A header of the handshake: any inside `on_connect`, and those of `server_options::keep_headers` later.
    [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
    /// A parameter of the query of the handshake's target, decoded.
    [[nodiscard]] std::optional<std::string> query(std::string_view name) const;

    /// Which process has opened its Unix socket; nothing on other transports.
    [[nodiscard]] std::optional<kephas::peer_credentials> peer_credentials() const;

    /// All clients of the server, this one among them.
    [[nodiscard]] kephas::clients clients() const;

    /// What went through the connection so far; nothing but zeros for nobody.
    [[nodiscard]] connection_stats stats() const;

    [[nodiscard]] bool is_alive() const noexcept;
    /// Why the connection ended; nothing while it lives.
    [[nodiscard]] std::optional<kephas::close_info> close_info() const;

    /// Queues a command and answers at once. `when_full` says what happens without room; with `latest` the message
    /// takes the place of one that was sent with the same `key`, with `close` the client is closed with 3008.
    send_status try_send(command_id id, payload body, overflow_policy when_full = overflow_policy::wait,
                         std::uint64_t key = 0) const;
    /// The same for a text message.
    send_status try_send_text(payload text, overflow_policy when_full = overflow_policy::wait,
                              std::uint64_t key = 0) const;

    /// Queues a command as soon as the client's outbox has room. What one coroutine sends leaves in that order.
    /// Errors:       `errc::closed`.
    /// Cancellation: all types; the message is then not sent.
    [[nodiscard]] asio::awaitable<void> send(command_id id, payload body) const;
    /// The same for a text message.
    [[nodiscard]] asio::awaitable<void> send_text(payload text) const;

    /// Waits until nothing is queued for the client any more: the kernel has taken all that was sent to it.
    /// Errors:       `errc::closed` when it leaves before.
    /// Cancellation: all types.
    [[nodiscard]] asio::awaitable<void> drained() const;

    /// Calls a JSON-RPC method of the client's and waits for the result.
    /// Errors:       `rpc_failure` if the client answered with an error; `errc::timed_out`; `errc::closed` when it
    ///               leaves; `errc::overloaded` when too many calls are pending, or its messages fill
    ///               `in_flight.bytes` before it answers; `errc::not_reading` in `on_connect`.
    /// Cancellation: all types; an answer that comes later is ignored.
    [[nodiscard]] asio::awaitable<json> call(std::string method, json params = {}) const;
    [[nodiscard]] asio::awaitable<json> call(std::string method, json params, duration timeout) const;
    /// A JSON-RPC notification: nobody answers.
    [[nodiscard]] asio::awaitable<void> notify(std::string method, json params = {}) const;

    /// Orders the end of the connection behind what is queued, and returns at once. The reason is cut to 123 bytes.
    void close(close_code code = close_code::normal, std::string_view reason = {}) const;
    /// Ends the connection with a reset, at once.
    void abort() const;
    /// Waits until the connection has gone.
    /// Cancellation: all types.
    [[nodiscard]] asio::awaitable<kephas::close_info> closed() const;

    /// Keeps a value with the connection, in the place of an earlier one. It lives as long as any handle to the client
    /// does: a value that holds a handle to its own client would keep both for ever, so let it hold the `id()`.
    template <class T>
    void attach(std::shared_ptr<T> value) const {
        attach_any(std::move(value));
    }
    template <class T, class... Args>
    std::shared_ptr<T> emplace_attachment(Args&&... args) const {
        auto value = std::make_shared<T>(std::forward<Args>(args)...);
        attach(value);
        return value;
    }
    /// What was attached, if it is a `T`; otherwise null.
    template <class T>
    [[nodiscard]] std::shared_ptr<T> attachment() const {
        const std::any value = attachment_any();
        const auto* found = std::any_cast<std::shared_ptr<T>>(&value);
        return found == nullptr ? nullptr : *found;
    }

    friend bool operator==(const client& a, const client& b) noexcept { return a.state_ == b.state_; }

private:
    friend class server;
    friend struct std::hash<client>;

    void attach_any(std::any value) const;
    [[nodiscard]] std::any attachment_any() const;

    std::shared_ptr<client_state> state_;
};

}  // namespace kephas

template <>
struct std::hash<kephas::client> {
    [[nodiscard]] std::size_t operator()(const kephas::client& who) const noexcept {
        return std::hash<kephas::client_id>{}(who.id());
    }
};
