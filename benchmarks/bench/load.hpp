#pragma once

#include "connection.hpp"
#include "options.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace bench {

/// Now, in nanoseconds of the clock that all times here are of.
[[nodiscard]] std::int64_t monotonic_ns() noexcept;

/// When the threads do what.
struct plan {
    std::int64_t begin = 0;
    std::int64_t from = 0;  ///< The measured window is [from, to).
    std::int64_t to = std::numeric_limits<std::int64_t>::max();
    std::function<void()> at_from{};  ///< Called by the first thread when it gets there.
    std::function<void()> at_to{};
};

/// The part of the load that one thread puts on the server, on one epoll loop. Every function throws server_fault when
/// a reply is wrong, the server ends a connection, or nothing happens for ten seconds: no message is lost without being
/// noticed.
class load {
public:
    /// The share `index` of `options.threads`. The options must outlive it.
    load(const options&, std::size_t index);
    load(const load&) = delete;
    load& operator=(const load&) = delete;
    virtual ~load();

    /// What has to be there before the first message; a server that is not up yet is given five seconds.
    virtual void prepare() = 0;

    /// Asks until the window is over, or for as many messages as the options say, and returns when each was answered.
    void run(const plan&);

    /// Ends the connections and returns how many the server has ended properly, in all.
    [[nodiscard]] virtual std::size_t say_goodbye() = 0;

    /// Makes the function that runs return soon, by throwing. From any thread.
    void stop() noexcept { stop_.store(true, std::memory_order_relaxed); }

    /// Messages so far. From any thread.
    [[nodiscard]] std::uint64_t answered() const noexcept { return answered_.load(std::memory_order_relaxed); }

    [[nodiscard]] const recorder& results() const noexcept { return recorder_; }

protected:
    virtual void begin(const plan&) = 0;   ///< The first messages.
    virtual void catch_up(const plan&) {}  ///< Called in each turn of an open loop.
    virtual void on_event(void* who, std::uint32_t what) = 0;

    /// One turn of the loop.
    void turn(int timeout_ms);
    void stop_if_told() const;
    void watch(int operation, int fd, std::uint32_t what, void* who) const;
    void count_answered(std::size_t messages) noexcept;

    static constexpr int longest_wait_ms = 100;  // until a stop is noticed

    const options& options_;
    std::size_t index_;
    std::size_t share_;  // connections of this thread
    recorder recorder_;
    std::vector<std::uint8_t> scratch_;
    bool sending_ = false;
    std::uint64_t budget_;           // messages that may still be asked for
    std::uint64_t outstanding_ = 0;  // asked for and not answered
    std::int64_t now_ = 0;           // of the current turn
    std::int64_t last_event_ = 0;

private:
    int epoll_;
    std::atomic<std::uint64_t> answered_ = 0;
    std::atomic<bool> stop_ = false;
};

}  // namespace bench
