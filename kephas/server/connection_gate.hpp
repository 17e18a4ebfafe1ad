#pragma once

#include <kephas/base/log_throttle.hpp>
#include <kephas/base/logger.hpp>
#include <kephas/base/uuid.hpp>

#include <kephas/proto/http/peer_list.hpp>
#include <kephas/proto/http/response.hpp>
#include <kephas/proto/session/address_table.hpp>

#include <kephas/server/refusal_answers.hpp>
#include <kephas/server/refusal_reason.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kephas {

struct server_options;

/// The list that an option holds. Throws `std::invalid_argument` with the name of the option when it is none.
[[nodiscard]] http::peer_list parsed_peers(std::string_view option, std::span<const std::string> elements);

/// Lets connections in, or not: counts them in all the ways in which they are limited, and those that it refused.
/// Concurrency: any thread.
class connection_gate {
public:
    /// What one connection takes of the limits. Gives it back when it is destroyed; single-threaded.
    class place {
    public:
        place() = default;  ///< Takes nothing.
        place(place&& other) noexcept;
        place& operator=(place&& other) noexcept;
        ~place() { release(); }

        /// It is a WebSocket connection now: no handshake any more.
        void opened() noexcept;
        void release() noexcept;
        /// It has sent `bytes` of its request. False if all handshakes together hold too many.
        [[nodiscard]] bool hold(std::size_t bytes) noexcept;
        void let_go() noexcept;  ///< Of all that it has sent.
        /// Whether its address is that of a trusted proxy: `identify` has to find the one that counts.
        [[nodiscard]] bool behind_proxy() const noexcept { return behind_proxy_; }

    private:
        friend class connection_gate;
        connection_gate* gate_ = nullptr;
        std::uint64_t address_ = 0;
        std::uint32_t bytes_ = 0;
        bool handshake_ = false;
        bool has_address_ = false;
        bool counted_ = false;  // under its address
        bool behind_proxy_ = false;
    };

    /// Throws `std::invalid_argument` when an element of `trusted_proxies` is not understood. `options` must outlive it.
    connection_gate(const server_options& options, std::uint64_t seed);
    connection_gate(const connection_gate&) = delete;
    connection_gate& operator=(const connection_gate&) = delete;

    /// A connection from `peer` (none: over a Unix socket) takes its place, unless there is none.
    [[nodiscard]] std::optional<refusal_reason> enter(place& taken, const std::optional<http::ip_address>& peer,
                                                      time_point now);
    /// The same for one that comes from nowhere, in memory for example: only the numbers count.
    [[nodiscard]] std::optional<refusal_reason> enter(place& taken);
    /// A proxy says that `client` is behind the connection; without an address the proxy itself is.
    [[nodiscard]] std::optional<refusal_reason> identify(place& taken, const std::optional<http::ip_address>& client,
                                                         time_point now);
    /// Whether a response of `bytes` may be loaded; if so, `end_response` gives them back.
    [[nodiscard]] bool begin_response(std::size_t bytes) noexcept;
    void end_response(std::size_t bytes) noexcept;

    /// Counts a refusal and logs it: a few at once, then one line a second for each reason. `what` is what the line says instead of the
    /// usual; text of the peer's in it is escaped. `id` is that of the connection, if it has got so far as to have one.
    void refused(refusal_reason reason, std::string_view remote_address, time_point now, std::string_view what = {},
                 const std::optional<uuid>& id = {});
    /// The answer to a refused connection.
    [[nodiscard]] const refusal_answers& ready_made(refusal_reason reason) const noexcept {
        return answers_[static_cast<std::size_t>(reason)];
    }
    [[nodiscard]] http::response response(refusal_reason reason) const;

    [[nodiscard]] const http::peer_list& trusted() const noexcept { return trusted_; }
    [[nodiscard]] bool full() const noexcept { return connections_.load(std::memory_order_relaxed) >= most(); }
    /// Whether `enter` wants to know who it is.
    [[nodiscard]] bool asks_for_peer() const noexcept { return addresses_.has_value() || !trusted_.empty(); }
    /// How many refused connections may linger without taking the descriptors that are kept in reserve.
    [[nodiscard]] std::size_t most_lingering() const noexcept;

    [[nodiscard]] std::size_t connections() const noexcept { return connections_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t handshakes() const noexcept { return handshakes_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t handshake_bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t response_bytes() const noexcept { return responses_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::array<std::uint64_t, refusal_reason_count> refusals() const;

private:
    [[nodiscard]] std::size_t most() const noexcept;
    [[nodiscard]] std::optional<refusal_reason> count_address(place& taken, time_point now);

    const server_options& options_;
    logger log_;
    http::peer_list trusted_;
    std::array<refusal_answers, refusal_reason_count> answers_;
    std::atomic<std::size_t> connections_{0};
    std::atomic<std::size_t> handshakes_{0};
    std::atomic<std::size_t> bytes_{0};      // of the handshakes
    std::atomic<std::size_t> responses_{0};  // bytes

    mutable std::mutex mutex_;
    std::optional<address_table> addresses_;  // none without limits per address
    struct refusal_record {
        std::uint64_t count = 0;
        log_throttle throttle{};
    };
    std::array<refusal_record, refusal_reason_count> refusals_;
};

}  // namespace kephas
