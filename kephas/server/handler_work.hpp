#pragma once

#include <kephas/server/job.hpp>
#include <kephas/server/options.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace kephas {

class runner;

/// The handlers of one client: how many messages they hold, which runners work for it, and what waits its turn.
/// Concurrency: any thread, except what says "strand".
class handler_work {
public:
    explicit handler_work(const in_flight_options& limits) noexcept : limits_{limits} {}

    /// Strand: a message is handed over to a handler, which runs on the strand as well or somewhere else.
    void begin(std::size_t bytes, bool on_strand) noexcept {
        if (on_strand) held_on_strand_ += one_message + bytes;
        else held_elsewhere_.fetch_add(one_message + bytes);
    }
    /// Its handler has ended: called where it ran. True if somebody watches for that.
    [[nodiscard]] bool end(std::size_t bytes, bool on_strand) noexcept {
        if (on_strand) held_on_strand_ -= one_message + bytes;
        else held_elsewhere_.fetch_sub(one_message + bytes);
        return watched_.load();
    }
    /// Strand: whether `end` is of interest. Look at the limits again after having set it.
    void watch(bool on) noexcept { watched_.store(on); }

    // strand
    [[nodiscard]] std::size_t messages() const noexcept { return static_cast<std::size_t>(held() / one_message); }
    /// Whether nothing is full.
    [[nodiscard]] bool has_room() const noexcept {
        const std::uint64_t now = held();
        return now / one_message < limits_.messages && now % one_message < limits_.bytes;
    }
    [[nodiscard]] bool messages_full() const noexcept;
    [[nodiscard]] bool bytes_full() const noexcept;

    /// The runners that are inside a handler of this client; on the strand there is one at most.
    void enter(runner& who, bool on_strand);
    void leave(runner& who, bool on_strand) noexcept;
    /// Strand: the client has left. Cancels the handlers that are suspended, and the others when they suspend.
    void cancel();
    [[nodiscard]] bool cancelled() const noexcept { return cancelled_.load(); }

    /// Strand: before the first job is given to a runner that does not run there.
    void share();
    /// The queue of the serial routes, which one runner at a time works on; strand. True if none does, and one has to start.
    [[nodiscard]] bool push_serial(job&& last);
    /// The next job, which stays where it is until the next call. Null when there is none, and then no runner works on the
    /// queue any more.
    [[nodiscard]] job* take_serial();

private:
    const in_flight_options& limits_;
    static constexpr std::uint64_t one_message = std::uint64_t{1} << 40U;
    [[nodiscard]] std::uint64_t held() const noexcept { return held_on_strand_ + held_elsewhere_.load(); }

    // Each is messages * one_message + bytes, so that one operation changes both.
    std::uint64_t held_on_strand_ = 0;  // by handlers that run there: no other thread looks at it
    std::atomic<std::uint64_t> held_elsewhere_{0};
    std::atomic<bool> watched_{false};
    std::atomic<bool> cancelled_{false};

    runner* strand_runner_ = nullptr;  // only the strand looks at it
    /// What runners elsewhere need.
    struct shared_part {
        std::mutex mutex;
        std::vector<runner*> runners;  // the others
        job_queue serial;
        bool serial_active = false;
    };
    // Made by the strand before it gives away a job, and never changed then: whoever runs a job needs no lock to see it.
    std::unique_ptr<shared_part> shared_;
};

}  // namespace kephas
