#pragma once

#include "channel.hpp"
#include "histogram.hpp"
#include "options.hpp"
#include "workload.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace bench {

/// What is measured, of the messages that count. All times in nanoseconds of one clock.
struct recorder {
    std::int64_t from = std::numeric_limits<std::int64_t>::min();
    std::int64_t to = std::numeric_limits<std::int64_t>::max();
    bool by_intention =
        false;  ///< Open loop: messages count that are due in [from, to), otherwise those answered then.
    histogram latencies{};
    histogram lags{};  ///< Open loop: how much later than intended this program sent.

    std::uint64_t replies = 0;  ///< In [from, to), whenever they were asked for.

    void answered(std::int64_t asked, std::int64_t now) noexcept {
        if (now >= from && now < to) ++replies;
        if (const std::int64_t time = by_intention ? asked : now; time >= from && time < to)
            latencies.add(static_cast<std::uint64_t>(now - asked));
    }
    void sent(std::int64_t intended, std::int64_t now) noexcept {
        if (intended >= from && intended < to) lags.add(static_cast<std::uint64_t>(now - intended));
    }
};

/// How a client takes its leave.
enum class farewell : std::uint8_t { close, ping_and_close };

/// One client: sends the messages that it is asked to, in order, and checks each reply. It owns no bytes of messages;
/// what it still has to send follows from their numbers.
class connection {
public:
    /// `index` is its number among all connections, for complaints. Its messages have the numbers from `first` on. The
    /// rest must outlive it.
    connection(channel, std::size_t index, const options&, workload&, recorder&, std::uint64_t first = 0);
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    [[nodiscard]] int fd() const noexcept { return channel_.fd(); }
    [[nodiscard]] std::size_t unanswered() const noexcept { return unanswered_; }
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] bool closed_cleanly() const noexcept {
        return ended_ && !lost() && got_close_ && (got_pong_ || !pinged_);
    }
    [[nodiscard]] bool lost() const noexcept { return channel_.lost(); }  ///< Ended by an error.

    /// Makes the next message due. In an open loop its latency counts from `intended`, in a closed one from its
    /// sending.
    void ask(std::int64_t intended = 0);

    /// Counts on a message that another connection has sent at that time.
    void expect(std::int64_t sent_at);

    /// What this connection sends is answered to others: it has no reply to wait for.
    void send_only() noexcept { send_only_ = true; }

    /// Reads what there is; `now` is the time of that. Returns how many messages it answered. Throws server_fault if a
    /// reply is not the echo of a message, or the server closed early.
    std::size_t receive(std::span<std::uint8_t> scratch, std::int64_t now);

    /// Writes what is due, all that fits at once.
    void flush(std::int64_t now);

    /// Whether the socket took less than the last flush() had.
    [[nodiscard]] bool blocked() const noexcept { return blocked_; }

    /// Says goodbye: a close frame, and a ping before it, which the server has to answer before it ends the connection.
    void leave(farewell = farewell::ping_and_close);

private:
    struct message {
        std::int64_t asked_at;
        bool answered;
    };
    struct header {
        std::size_t size = 0;  // 0: not whole yet
        std::uint8_t first = 0;
        bool masked = false;
        std::uint64_t length = 0;
    };

    static header parse_header(std::span<const std::uint8_t>) noexcept;
    void parse(std::span<const std::uint8_t>, std::int64_t now);
    void begin_frame(const header&);
    void take_control(std::span<const std::uint8_t>);
    void take_message(std::span<const std::uint8_t>);
    void end_message(std::int64_t now);
    void end_call(std::int64_t now);
    void count(std::uint64_t number, std::int64_t now);
    void end_control();
    [[nodiscard]] std::uint64_t answered_number() const;
    bool send_control();
    bool send_due(std::int64_t now);
    [[nodiscard]] message& at(std::uint64_t number) noexcept { return ring_[number & (ring_.size() - 1)]; }
    [[nodiscard]] const message& at(std::uint64_t number) const noexcept { return ring_[number & (ring_.size() - 1)]; }
    [[nodiscard]] bool in_flight(std::uint64_t number) const noexcept;
    void grow();
    [[noreturn]] void wrong_bytes(std::uint64_t number, std::size_t offset, std::span<const std::uint8_t> came) const;
    [[noreturn]] void fault(const std::string& what) const;

    channel channel_;
    std::size_t index_;
    workload& workload_;
    recorder& recorder_;
    bool verify_;
    bool ordered_;  // replies have to come, or are taken to come, in order
    bool open_loop_;
    bool send_only_ = false;
    bool blocked_ = false;
    bool refused_ = false;  // the last write of messages was refused as a whole: TLS wants the same bytes again
    bool leaving_ = false;
    bool pinged_ = false;
    bool ended_ = false;
    bool got_pong_ = false;
    bool got_close_ = false;

    // sending: messages [oldest_, next_sent_) wait for their replies, [next_sent_, next_due_) for being sent
    std::vector<message> ring_;  // as many as a power of two, indexed by their number
    std::uint64_t oldest_ = 0;
    std::uint64_t next_sent_ = 0;
    std::uint64_t next_due_ = 0;
    std::size_t unanswered_ = 0;         // due or sent
    std::size_t frame_offset_ = 0;       // what the socket has of the message next_sent_ already
    std::vector<std::uint8_t> control_;  // control frames, sent between messages

    // receiving
    std::array<std::uint8_t, 10> head_{};  // the start of a header that is not whole
    std::size_t head_size_ = 0;
    bool in_payload_ = false;
    bool in_message_ = false;                // between its frames, or in one of them
    std::uint8_t first_ = 0;                 // of the frame
    std::uint64_t left_ = 0;                 // of the frame's payload
    std::size_t offset_ = 0;                 // of the message
    std::array<std::uint8_t, 12> prefix_{};  // of the message
    std::string reply_{};                    // to a call, as far as it has come
    std::array<std::uint8_t, 125> control_in_{};
    std::size_t control_size_ = 0;
    std::size_t answered_ = 0;  // by this receive()
};

}  // namespace bench
