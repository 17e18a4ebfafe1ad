#pragma once

#include <kephas/base/clock.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace kephas {

/// What went through a connection, or through several. Bytes as the kernel gave and took them, over TLS what was in it, from the
/// end of the opening handshake on; messages are data messages, control frames and broadcasts that were dropped not among them.
struct traffic {
    std::uint64_t bytes_received = 0, bytes_sent = 0;
    std::uint64_t messages_received = 0, messages_sent = 0;

    traffic& operator+=(const traffic& other) noexcept {
        bytes_received += other.bytes_received;
        bytes_sent += other.bytes_sent;
        messages_received += other.messages_received;
        messages_sent += other.messages_sent;
        return *this;
    }
    bool operator==(const traffic&) const = default;
};

/// The same per second.
struct traffic_rates {
    double bytes_received = 0, bytes_sent = 0;
    double messages_received = 0, messages_sent = 0;

    bool operator==(const traffic_rates&) const = default;
};

/// From one look to a later one, `time` apart. All zero if no time has passed, or what is said to be later was not.
[[nodiscard]] inline traffic_rates rates_between(const traffic& before, const traffic& after, duration time) noexcept {
    const double seconds = std::chrono::duration<double>{time}.count();
    const auto rate = [seconds](std::uint64_t from, std::uint64_t to) {
        return seconds > 0 && to > from ? static_cast<double>(to - from) / seconds : 0.0;
    };
    return {rate(before.bytes_received, after.bytes_received), rate(before.bytes_sent, after.bytes_sent),
            rate(before.messages_received, after.messages_received), rate(before.messages_sent, after.messages_sent)};
}

/// The index of a listener's that connections have which were attached.
inline constexpr std::uint16_t attached_listener = 0xFFFF;

/// Where the connections of a listener are counted: those that were attached come first.
[[nodiscard]] constexpr std::size_t slot_of(std::uint16_t listener) noexcept {
    return listener == attached_listener ? 0 : std::size_t{listener} + 1;
}

/// What the clients of one listener have done, and how many there are.
struct listener_traffic {
    std::size_t clients = 0;
    kephas::traffic traffic{};
};

/// What one connection counts itself. Written by its strand, read from anywhere.
class traffic_count {
public:
    void received(std::size_t bytes) noexcept { add(bytes_received_, bytes); }
    void received_messages(std::uint64_t count) noexcept { add(messages_received_, count); }
    void sent(std::size_t bytes) noexcept { add(bytes_sent_, bytes); }
    /// Of those that the outbox knows nothing of.
    void sent_directly(std::uint64_t messages) noexcept { add(direct_messages_, messages); }

    /// `queued` are the messages that have left the outbox.
    [[nodiscard]] traffic with(std::uint64_t queued) const noexcept {
        return {bytes_received_.load(std::memory_order_relaxed), bytes_sent_.load(std::memory_order_relaxed),
                messages_received_.load(std::memory_order_relaxed), direct_messages_.load(std::memory_order_relaxed) + queued};
    }

private:
    static void add(std::atomic<std::uint64_t>& to, std::uint64_t what) noexcept {
        to.store(to.load(std::memory_order_relaxed) + what, std::memory_order_relaxed);
    }

    std::atomic<std::uint64_t> bytes_received_{0};
    std::atomic<std::uint64_t> messages_received_{0};
    std::atomic<std::uint64_t> bytes_sent_{0};
    std::atomic<std::uint64_t> direct_messages_{0};
};

}  // namespace kephas
