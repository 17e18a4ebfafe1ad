#pragma once

#include <kephas/base/payload.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/websocket/deflate_codec.hpp>
#include <kephas/proto/websocket/deflate_options.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <kephas/server/client.hpp>
#include <kephas/server/deflate_totals.hpp>

#include <asio/awaitable.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

namespace kephas {

class shard;

/// The shards of a server, by which its clients are found.
struct client_registry {
    std::vector<std::shared_ptr<shard>> shards;
    deflate_options deflate{};
    std::unique_ptr<websocket::codec_lender> codecs;  ///< For broadcasts, which run on any thread.
    mutable deflate_totals deflated;                  ///< Compressed broadcasts, each once per window size.
    mutable std::atomic<std::uint64_t> dropped{0};  ///< What broadcasts could not deliver: to a full or closed outbox.
};

/// A few clients: `{a, b}`. Trivially copyable, because g++ 12 destroys the temporaries of an aggregate twice when it
/// stands inside a `co_await`, and cannot keep the array of an `initializer_list` in a coroutine at all.
class client_ids {
public:
    static constexpr std::size_t capacity = 8;

    template <std::same_as<client_id>... Ids>
        requires(sizeof...(Ids) <= capacity)
    client_ids(Ids... ids) noexcept : ids_{ids...}, size_{sizeof...(Ids)} {}

    [[nodiscard]] bool contains(const client_id& id) const noexcept {
        return std::find(ids_.begin(), ids_.begin() + size_, id) != ids_.begin() + size_;
    }

private:
    std::array<client_id, capacity> ids_;
    std::ptrdiff_t size_;
};

struct broadcast_options {
    client_ids except{};                                 ///< Who does not get it.
    overflow_policy overflow = overflow_policy::close;   ///< What happens to a client whose outbox is full; a
                                                         ///< broadcast never waits: `wait` counts as `drop_newest`.
};

static_assert(std::is_trivially_copyable_v<broadcast_options>, "see client_ids");

struct broadcast_report {
    std::size_t queued = 0;   ///< For how many clients it has left, or is in the outbox.
    std::size_t dropped = 0;  ///< For how many clients it was dropped; those with `close` are being closed with 3008.
    bool operator==(const broadcast_report&) const = default;
};

/// The clients of a server: a value that any thread may copy, keep and use; after the server has gone it is empty.
class clients {
public:
    clients() = default;
    explicit clients(std::weak_ptr<const client_registry> registry) noexcept : registry_{std::move(registry)} {}

    /// Sends a command to everybody. Encoded once; each outbox holds a reference, or none if it could leave at once. When this
    /// completes, it has left, or is queued, or is counted as dropped, for each: what the caller sends next comes after it.
    /// Cancellation: none; it does not wait.
    asio::awaitable<broadcast_report> broadcast(command_id id, payload body, broadcast_options options = {}) const;
    /// The same for a text message.
    asio::awaitable<broadcast_report> broadcast_text(payload text, broadcast_options options = {}) const;

    [[nodiscard]] std::optional<client> find(const client_id& id) const;
    /// Sends a command to the client of that id, as `client::send`.
    /// Errors: `errc::client_not_found`, `errc::closed`.
    [[nodiscard]] asio::awaitable<void> send(client_id id, command_id command, payload body) const;
    [[nodiscard]] std::vector<client> all() const;
    [[nodiscard]] std::size_t size() const;

private:
    static asio::awaitable<broadcast_report> deliver_later(clients self, websocket::opcode op,
                                                           std::optional<command_id> id, payload body,
                                                           broadcast_options options);
    [[nodiscard]] broadcast_report deliver(websocket::opcode op, std::optional<command_id> id, const payload& body,
                                           const broadcast_options& options) const;

    std::weak_ptr<const client_registry> registry_;
};

}  // namespace kephas
