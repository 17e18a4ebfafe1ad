#pragma once

#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/session/connection_end.hpp>
#include <kephas/proto/websocket/close_code.hpp>

#include <kephas/client/outgoing_queue.hpp>

#include <asio/awaitable.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <system_error>

namespace kephas {

/// How a client wants its connection to end.
struct close_order {
    close_code code = close_code::normal;
    std::string reason{};
    bool at_once = false;  ///< With a reset.
};

/// Whose connection it is. Everything on the executor of the connection.
class connection_owner {
public:
    /// The next message that may leave; it is given back by one of the next two.
    [[nodiscard]] virtual std::optional<outgoing> take_outgoing() = 0;
    virtual void sent(outgoing&& message) = 0;
    /// It has not left, and the connection has ended; the last one first.
    virtual void not_sent(outgoing&& message) = 0;
    /// It can never leave.
    virtual void dropped(outgoing&& message, std::error_code why) = 0;
    /// Nobody was there for what was sent before.
    virtual void unreachable(std::error_code why) = 0;
    virtual void count_bytes(std::size_t received, std::size_t sent) = 0;
    /// Whether another message may be given to it.
    [[nodiscard]] virtual bool has_room() = 0;
    virtual void received(std::optional<command_id> command, slice payload) = 0;
    [[nodiscard]] virtual const close_order* close_ordered() = 0;

protected:
    ~connection_owner() = default;
};

/// One connection of a client, over whatever it goes.
class client_connection {
public:
    client_connection() = default;
    client_connection(const client_connection&) = delete;
    client_connection& operator=(const client_connection&) = delete;
    virtual ~client_connection() = default;

    /// The whole life of the connection. Lifetime: `owner` stays until it has completed.
    [[nodiscard]] virtual asio::awaitable<connection_end> run(connection_owner& owner) = 0;
    /// Something was queued, or ordered, or there is room again.
    virtual void wake() = 0;
    [[nodiscard]] virtual const std::string& subprotocol() const noexcept = 0;
};

}  // namespace kephas
