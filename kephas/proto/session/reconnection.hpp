#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/proto/session/connection_end.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace kephas {

/// When a client that has lost its connection comes back.
struct reconnect_options {
    bool enabled = true;
    duration base = std::chrono::milliseconds{500};  ///< The n-th delay is random, up to `base * 2^n` ...
    duration cap = std::chrono::seconds{30};         ///< ... and never more than this: "full jitter".
    std::uint32_t max_attempts = 0;                  ///< In a row. Zero: no limit.
    duration max_elapsed = duration::zero();         ///< From the loss to the last attempt. Zero: no limit.
    duration stable_after = std::chrono::seconds{10};  ///< What has lasted so long counts: the next loss is a first one.
    duration max_retry_after = std::chrono::minutes{5};  ///< The longest wait that a server may ask for.
    /// Overrules the rule for what it answers: whether to come back after `end`. Nothing: as `worth_reconnecting` says.
    std::function<std::optional<bool>(const connection_end& end)> decide{};
};

/// The rule: after a close what `may_reconnect` says of its code; after a refused handshake if it may be different
/// next time (408, 425, 429 and 5xx but 501 and 505); never after a failed verification of a certificate, or what
/// is no WebSocket server; always if it was not reached, or was lost.
[[nodiscard]] bool worth_reconnecting(const connection_end& end) noexcept;

/// Counts attempts and chooses delays. Pure: time and chance are arguments.
class reconnection {
public:
    /// `options` must outlive it.
    explicit reconnection(const reconnect_options& options) noexcept : options_{&options} {}

    /// There is a connection, and everything that prepares it is done: from now on it lasts.
    void connected(time_point now) noexcept { connected_at_ = now; }
    /// It has ended, or an attempt has failed. How long to wait before the next attempt; nothing: give up.
    /// `random` is any of the numbers, each as likely as the others. Throws what `decide` throws.
    [[nodiscard]] std::optional<duration> ended(const connection_end& end, time_point now, std::uint64_t random);
    /// Attempts in a row that have not led to a connection that lasted.
    [[nodiscard]] std::uint32_t attempts() const noexcept { return attempts_; }

private:
    [[nodiscard]] duration next_delay(const connection_end& end, std::uint64_t random) const noexcept;

    const reconnect_options* options_;
    std::optional<time_point> connected_at_;
    std::optional<time_point> lost_at_;  // the first loss in the row
    std::uint32_t attempts_ = 0;
};

}  // namespace kephas
