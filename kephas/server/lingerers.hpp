#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/net/parked.hpp>
#include <kephas/net/steady_timer.hpp>

#include <kephas/server/refusal_answers.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace kephas {

/// Connections that were refused and answered, until the peer has taken the answer: a descriptor that is closed with
/// unread input sends a reset, which may take the answer from the peer. They cost a descriptor and 32 bytes each: no read
/// is started for them, one timer looks after all.
/// Concurrency: `answer` and `stop` from any thread.
class lingerers {
public:
    lingerers(asio::any_io_executor executor, duration patience);
    lingerers(const lingerers&) = delete;
    lingerers& operator=(const lingerers&) = delete;
    ~lingerers();

    /// Sends what fits, ends our side, and keeps the descriptor for a while; `most` are kept, then the oldest one goes.
    /// Without a `format` the peer's first bytes tell what it is. Answers in HTTP are counted in `responses`.
    /// Lifetime: `answers` and `responses` stay.
    void answer(int fd, const refusal_answers& answers, std::optional<wire_format> format, std::size_t most,
                std::atomic<std::uint64_t>& responses);
    /// Looks after them until `stop`.
    [[nodiscard]] asio::awaitable<void> run();
    void stop();
    [[nodiscard]] asio::any_io_executor executor() { return timer_.get_executor(); }

private:
    struct entry {
        int fd;
        time_point until;
        const refusal_answers* answers;  // null once it is answered
        std::atomic<std::uint64_t>* responses;
    };
    void sweep();

    steady_timer timer_;
    duration patience_;
    std::mutex mutex_;
    std::vector<entry> entries_;  // the oldest first
    parked_ptr idle_;
    bool stopped_ = false;
};

}  // namespace kephas
