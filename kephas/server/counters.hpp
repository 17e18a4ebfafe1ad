#pragma once

#include <kephas/net/certificate_reload.hpp>

#include <kephas/server/close_info.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kephas {

/// What the clients of one shard do all the time. Only the shard's own thread writes it, if it has one, so that no cache
/// line moves between the threads for it; and not per message, but per read.
struct alignas(64) traffic_counters {
    std::atomic<std::uint64_t> messages_received{0};
    std::atomic<std::uint64_t> messages_discarded{0};  ///< Arrived while the connection was closing.
    std::atomic<std::uint64_t> jobs{0};                ///< What was handed over to handlers.
    std::atomic<std::uint64_t> bytes_received{0};
    std::atomic<std::uint64_t> bytes_sent{0};
    std::atomic<std::uint64_t> direct_messages{0};  ///< Replies and broadcasts that left without having been queued ...
    std::atomic<std::uint64_t> direct_bytes{0};     ///< ... and their bytes.
};

/// What happens at most a few times in the life of a connection. Concurrency: any thread.
struct alignas(64) connection_counters {
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> refused{0};             ///< Answered with an HTTP status instead of 101.
    std::atomic<std::uint64_t> handshake_timeouts{0};
    std::atomic<std::uint64_t> opened{0};
    std::atomic<std::uint64_t> closed{0};
    std::atomic<std::uint64_t> rate_limited{0};
    std::atomic<std::uint64_t> slow_consumers{0};
    std::atomic<std::uint64_t> internal_errors{0};
    std::atomic<std::uint64_t> tls_failures{0};        ///< TLS handshakes that failed.
    certificate_counters certificates{};
    std::array<std::atomic<std::uint64_t>, 6> http_responses{};  ///< By the first digit of the status.

    /// The codes 1000 to 1015 one by one, 3008, and the rest by range: a peer may choose any.
    static constexpr std::size_t close_classes = 20;
    [[nodiscard]] static constexpr std::size_t close_class(close_code code) noexcept {
        const auto value = static_cast<unsigned>(code);
        if (value >= 1000 && value <= 1015) return value - 1000;
        if (code == close_code::slow_consumer) return 16;
        return value >= 4000 ? 18 : value >= 3000 ? 17 : 19;
    }
    std::array<std::array<std::atomic<std::uint64_t>, close_classes>, 3> closes{};  ///< By initiator and class.
};

}  // namespace kephas
