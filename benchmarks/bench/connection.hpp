#pragma once

#include "histogram.hpp"
#include "options.hpp"
#include "workload.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// The server did something that an echo server does not do.
class server_fault : public std::runtime_error {
public:
    using runtime_error::runtime_error;
};

/// Connects to 127.0.0.1 from `source` (host byte order) and completes the WebSocket handshake, blocking. Returns the
/// socket, non-blocking. Throws std::system_error, or server_fault if the answer is not the right one.
[[nodiscard]] int open_websocket(const options&, std::uint32_t source);

/// One client: keeps `in_flight` messages unanswered and checks each reply. It owns no buffers; what it still has to
/// send follows from its numbers.
class connection {
public:
    connection(int fd, const options&, workload&);
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection();

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] std::size_t unanswered() const noexcept { return unanswered_; }
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] bool closed_cleanly() const noexcept { return ended_ && got_pong_ && got_close_; }

    /// Makes the first `in_flight` messages due.
    void start();

    /// Reads once into `scratch`; `now` is the time of that. Throws server_fault if a reply is not the echo that is
    /// due, or the server closed early.
    void receive(std::span<std::uint8_t> scratch, std::int64_t now, histogram& latencies);

    /// Makes a new message due for each that was answered since.
    void replace_answered();

    /// Writes what is due, all that fits at once.
    void flush(std::int64_t now);

    /// Whether the socket took less than the last flush() had.
    [[nodiscard]] bool blocked() const noexcept { return blocked_; }

    /// Says goodbye: a ping and a close, both of which the server has to answer before it ends the connection.
    void leave();

private:
    struct slot {
        std::uint64_t number;  // the message's; number % in_flight is the index of the slot
        std::int64_t sent_at;
    };
    struct header {
        std::size_t size = 0;  // 0: not whole yet
        std::uint8_t first = 0;
        std::uint64_t length = 0;
    };

    static header parse_header(std::span<const std::uint8_t>) noexcept;
    void begin_frame(const header&);
    void take_payload(std::span<const std::uint8_t>);
    void end_frame(std::int64_t now, histogram&);
    void end_message(std::int64_t now, histogram&);
    void end_control();
    void message_due(std::uint32_t index);
    bool send_control();
    bool send_due(std::int64_t now);
    [[noreturn]] void fault(const std::string& what) const;

    workload& workload_;
    int fd_;
    bool ordered_;
    bool blocked_ = false;
    bool leaving_ = false;
    bool ended_ = false;
    bool got_pong_ = false;
    bool got_close_ = false;

    // sending
    std::vector<slot> slots_;
    std::vector<std::uint32_t> due_;  // a ring of slots, oldest first
    std::size_t due_begin_ = 0;
    std::size_t due_count_ = 0;
    std::size_t unanswered_ = 0;           // due or sent
    std::size_t frame_offset_ = 0;         // what the socket has of the oldest one already
    std::vector<std::uint8_t> control_;    // control frames, sent between messages
    std::vector<std::uint32_t> answered_;  // and not yet replaced

    // receiving
    std::array<std::uint8_t, 10> head_{};  // the start of a header that is not whole
    std::size_t head_size_ = 0;
    bool in_payload_ = false;
    std::uint8_t first_ = 0;
    std::uint64_t length_ = 0;
    std::uint64_t received_ = 0;             // of the payload
    std::array<std::uint8_t, 125> start_{};  // the prefix of a message, or a control frame's payload
    std::uint32_t next_reply_ = 0;           // the slot whose turn it is, if ordered
};

}  // namespace bench
