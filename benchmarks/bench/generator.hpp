#pragma once

#include "connection.hpp"
#include "options.hpp"
#include "schedule.hpp"
#include "server_address.hpp"
#include "workload.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
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

/// The connections of one thread, on one epoll loop. Every function throws server_fault when a reply is wrong, the
/// server ends a connection, or nothing happens for ten seconds: no message is lost without being noticed.
class generator {
public:
    /// The share `index` of `options.threads`. Everything else must outlive it.
    generator(const options&, const server_address&, const tls_settings&, std::size_t index);
    generator(const generator&) = delete;
    generator& operator=(const generator&) = delete;
    ~generator();

    /// Opens connections, one after the other, until there are `count`; a server that is not up yet is given five
    /// seconds.
    void connect(std::size_t count);

    /// The connections of this thread.
    [[nodiscard]] std::size_t share() const noexcept { return share_; }

    /// Sends until the window is over, or as many messages as the options say, and returns when each was answered.
    void run(const plan&);

    /// Ends the connections and returns how many of them the server has ended properly.
    [[nodiscard]] std::size_t say_goodbye();

    /// Makes the function that runs return soon, by throwing. From any thread.
    void stop() noexcept { stop_.store(true, std::memory_order_relaxed); }

    /// Messages so far. From any thread.
    [[nodiscard]] std::uint64_t answered() const noexcept { return answered_.load(std::memory_order_relaxed); }

    [[nodiscard]] const recorder& results() const noexcept { return recorder_; }

private:
    void ask_first();
    void replace(connection&, std::size_t answered);
    void ask_one(connection&);
    void ask_scheduled(const schedule&, std::int64_t end);
    void publish();
    void flush(connection&);
    void turn(int timeout_ms);
    void on_event(connection&, std::uint32_t what);

    const options& options_;
    const server_address& server_;
    const tls_settings& tls_;
    std::size_t index_;
    std::size_t share_;
    workload workload_;
    recorder recorder_;
    int epoll_;
    std::deque<connection> connections_;
    std::vector<std::uint8_t> scratch_;
    bool sending_ = false;
    std::uint64_t budget_;           // messages that may still be asked for
    std::uint64_t scheduled_ = 0;    // messages of the open loop that were asked for
    std::uint64_t outstanding_ = 0;  // asked for and not answered
    std::size_t ended_ = 0;
    std::int64_t now_ = 0;  // of the current turn
    std::int64_t last_event_ = 0;
    std::atomic<std::uint64_t> answered_ = 0;
    std::atomic<bool> stop_ = false;
};

}  // namespace bench
