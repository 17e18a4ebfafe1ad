#pragma once

#include <kephas/base/payload.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/failures.hpp>
#include <kephas/proto/websocket/close_code.hpp>

#include <kephas/client/client_message.hpp>
#include <kephas/client/handshake_refused.hpp>
#include <kephas/client/link_state.hpp>
#include <kephas/client/options.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kephas {

class client_core;

/// A connection that was opened just now, in the hands of `on_connected`: what is sent here leaves before everything that
/// waits in the client, and belongs to this connection. Concurrency: any thread. After the connection has gone everything
/// ends with `errc::closed`.
class fresh_link {
public:
    fresh_link(std::shared_ptr<client_core> core, std::uint64_t generation) noexcept
        : core_{std::move(core)}, generation_{generation} {}

    /// Whether there was another one before it.
    [[nodiscard]] bool reconnected() const noexcept { return generation_ > 1; }
    /// As those of `command_client`.
    [[nodiscard]] asio::awaitable<void> send(command_id id, payload body) const;
    [[nodiscard]] asio::awaitable<void> send_text(payload text) const;
    [[nodiscard]] asio::awaitable<json> call(std::string method, json params = {}) const;
    [[nodiscard]] asio::awaitable<client_message> request(command_id id, payload body) const;

private:
    std::shared_ptr<client_core> core_;
    std::uint64_t generation_;
};

/// A client of a kephas server, on any of its transports, that comes back when it has lost its connection:
///
///     kephas::command_client client{executor, "wss://example.org/ws", {.reconnect = {.max_attempts = 20}}};
///     client.on(kephas::command_id{0x0200}, [](kephas::client_message news) -> asio::awaitable<void> { ... });
///     co_await client.connect();
///     co_await client.send(kephas::command_id{0x0100}, "hello");
///     kephas::json sum = co_await client.call("math.add", kephas::json::array({1, 2}));
///
/// It lives on its executor, which runs one thing at a time: a strand, or an `io_context` with one thread. Handlers and
/// callbacks run there, and must not block: those of commands and text one at a time, in the order of arrival, those of
/// calls concurrently. An exception of theirs goes no further than the log and a counter, or the error reply of a call.
///
/// Errors: `errc::closed` once it has been closed, and for what waits when a connection is lost; `errc::not_connected`
/// before `connect`, and while it reconnects if messages are refused then.
/// Cancellation: all types, of every awaitable; of `connect` it ends the client if it was the one to begin.
/// Concurrency: any thread, but for what is registered (before `connect`) and the destructor (on the executor, or when that
/// does not run).
/// Lifetime: the destructor ends everything at once: no handler begins after it, those that wait are cancelled and unwind on
/// the executor later. After `co_await closed()` nothing is left that could run.
class command_client {
public:
    /// `url`: `ws://`, `wss://`, `tcp://`, `tls://`, `unix://`, `udp://` or `unixgram://`; docs/client.md has the forms.
    /// Errors: `errc::invalid_address`; `std::invalid_argument` for options that make no sense.
    command_client(asio::any_io_executor executor, std::string_view url, command_client_options options = {});
    command_client(const command_client&) = delete;
    command_client& operator=(const command_client&) = delete;
    ~command_client();

    // Before `connect`. A command, a method or a callback twice, and reserved ids, throw `std::invalid_argument`; too late is
    // `std::logic_error`.

    /// What the server sends under `id`. The handler returns an `awaitable<std::optional<payload>>`, whose payload is sent under
    /// the same id, or an `awaitable<void>`.
    template <class F>
    void on(command_id id, F handler) {
        add_command(id, to_handler(std::move(handler)));
    }
    /// Text that is not JSON-RPC.
    template <class F>
    void on_text(F handler) {
        add_text(to_handler(std::move(handler)));
    }
    /// A method that the server calls. `request_error` is sent as it is, any other exception as -32603.
    template <class F>
    void rpc(std::string method, F handler) {
        static_assert(std::is_invocable_r_v<asio::awaitable<json>, F&, json>,
                      "the handler of a call looks like [](kephas::json params) -> asio::awaitable<kephas::json>");
        add_method(std::move(method), std::move(handler));
    }
    /// Runs when a connection has been opened, before `connected`, and before anything else is sent on it: to sign in, to join
    /// again. If it throws, or takes too long, the connection is given up as if it had been lost.
    template <class F>
    void on_connected(F hook) {
        static_assert(std::is_invocable_r_v<asio::awaitable<void>, F&, fresh_link>,
                      "on_connected looks like [](kephas::fresh_link) -> asio::awaitable<void>");
        add_hook(false, std::move(hook));
    }
    /// The same for every connection but the first one; it runs after `on_connected`.
    template <class F>
    void on_reconnected(F hook) {
        static_assert(std::is_invocable_r_v<asio::awaitable<void>, F&, fresh_link>,
                      "on_reconnected looks like [](kephas::fresh_link) -> asio::awaitable<void>");
        add_hook(true, std::move(hook));
    }
    /// Called at each change of state; must not block.
    void on_state(std::function<void(const link_change&)> callback);

    /// Completes once it is connected, at once if it is. After `closed` it begins anew.
    /// Errors: of the first attempt, unless that is repeated: `handshake_refused`, `errc::timed_out`, `errc::invalid_handshake`,
    /// those of `kephas::connect`; `errc::closed` if it is closed meanwhile.
    [[nodiscard]] asio::awaitable<void> connect();

    /// Queues a command when there is room; what one coroutine sends leaves in that order.
    [[nodiscard]] asio::awaitable<void> send(command_id id, payload body);
    [[nodiscard]] asio::awaitable<void> send_text(payload text);
    /// The same at once: no error, or `errc::full`, `errc::not_connected`, `errc::closed`.
    [[nodiscard]] std::error_code try_send(command_id id, payload body);
    [[nodiscard]] std::error_code try_send_text(payload text);
    /// Waits until everything that was queued has left, or was dropped. Errors: `errc::closed` if the client ends before.
    [[nodiscard]] asio::awaitable<void> drained();

    /// Calls a method of the server's. Any number may wait at the same time; the deadline counts from here.
    /// Errors: `rpc_failure`, `errc::timed_out`, `errc::overloaded`; `errc::closed` if the connection is lost: nobody knows
    /// whether the server has done it, and it is not repeated.
    [[nodiscard]] asio::awaitable<json> call(std::string method, json params = {});
    [[nodiscard]] asio::awaitable<json> call(std::string method, json params, duration timeout);
    /// Nobody answers.
    [[nodiscard]] asio::awaitable<void> notify(std::string method, json params = {});
    /// Sends a command and waits for what comes under the same id: the oldest request for it gets the next one, so a server that
    /// answers late or never is better called.
    /// Errors: as `call`; `rpc_failure` if the server answers with the error of that command.
    [[nodiscard]] asio::awaitable<client_message> request(command_id id, payload body);
    [[nodiscard]] asio::awaitable<client_message> request(command_id id, payload body, duration timeout);

    /// The next message that no handler took; nothing once the client is closed and all has been received. While too much waits
    /// the socket is not read, so call it, or set `drop_unhandled`.
    [[nodiscard]] asio::awaitable<std::optional<client_message>> receive();

    /// Ends it for good: behind what is queued if it is connected, at once otherwise. The reason is cut to 123 bytes.
    void close(close_code code = close_code::normal, std::string_view reason = {});
    /// At once and with a reset; what is queued is dropped.
    void abort();
    /// Waits until the client is closed, and none of its handlers runs any more. Of one that was never connected: at once.
    [[nodiscard]] asio::awaitable<connection_end> closed();

    [[nodiscard]] link_state state() const;
    /// What the server has chosen for the present connection; empty for none.
    [[nodiscard]] std::string subprotocol() const;
    [[nodiscard]] client_stats stats() const;

private:
    using message_handler = std::function<asio::awaitable<std::optional<payload>>(client_message)>;

    template <class F>
    static message_handler to_handler(F handler) {
        if constexpr (std::is_invocable_r_v<asio::awaitable<void>, F&, client_message>) {
            return [handler = std::move(handler)](client_message message) mutable { return no_reply(handler(std::move(message))); };
        } else {
            static_assert(std::is_invocable_r_v<asio::awaitable<std::optional<payload>>, F&, client_message>,
                          "a handler looks like [](kephas::client_message) -> asio::awaitable<void>, "
                          "or -> asio::awaitable<std::optional<kephas::payload>>");
            return handler;
        }
    }
    [[nodiscard]] static asio::awaitable<std::optional<payload>> no_reply(asio::awaitable<void> handler);
    void add_command(command_id id, message_handler handler);
    void add_text(message_handler handler);
    void add_method(std::string method, std::function<asio::awaitable<json>(json)> handler);
    void add_hook(bool later_ones, std::function<asio::awaitable<void>(fresh_link)> hook);

    std::shared_ptr<client_core> core_;
};

}  // namespace kephas
