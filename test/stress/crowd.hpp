#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace stress {

/// What an exchange of messages took.
struct exchange_result {
    std::size_t answered = 0;
    double seconds = 0;
    double average_latency_ms = 0;
};

/// Many WebSocket clients on one thread, on plain sockets and without any code of kephas's. They bind to several
/// loopback addresses, because one has only some 28,000 ephemeral ports and those of earlier runs linger.
/// Whatever differs from what was expected, or does not come within ten seconds, throws `std::runtime_error`.
class crowd {
public:
    explicit crowd(std::uint16_t port);
    ~crowd();

    /// Opens that many more connections: handshake and the welcome message. Returns how long it took, in seconds.
    double join(std::size_t count);
    /// Every client sends `messages` echo commands, `in_flight` of them unanswered at a time, and gets each answer
    /// exactly once, with the bytes that it sent; in the order in which it sent them if `ordered`.
    exchange_result exchange(std::uint32_t command, std::size_t messages, std::size_t in_flight, bool ordered);
    /// The first client sends a command and gets its answer.
    std::string ask(std::uint32_t command, std::string_view payload);
    /// The first client has `text` broadcast to all; returns to how many the server queued it, and afterwards nobody
    /// has got it twice: an echo of everybody's comes behind it.
    std::string broadcast(const std::string& text);
    /// Everybody but the first `staying` sends a close frame, is answered with the same, and sees the stream end.
    void leave(std::size_t staying);
    /// Everybody but the first `staying` resets the connection.
    void vanish(std::size_t staying);
    /// Everybody is closed by the server with this code, and answers.
    void expect_close(std::uint16_t code);

    [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }

private:
    struct member;

    void open(member& m);
    void start_handshake(member& m);
    void turn();
    void turn_until(const std::function<bool()>& done);
    void receive(member& m);
    void take_handshake(member& m);
    void take_frame(member& m, unsigned opcode, std::string_view payload);
    void take_message(member& m, std::uint32_t command, std::string_view body);
    void take_echo(member& m, std::string_view body);
    void send(member& m, unsigned opcode, std::string_view payload);
    void send_next(member& m);
    void flush(member& m);
    void ended(member& m);
    [[nodiscard]] std::string text_of(const member& m, std::size_t number) const;

    std::uint16_t port_;
    int epoll_;
    std::vector<std::unique_ptr<member>> members_;
    std::size_t opening_ = 0;
    std::size_t welcomed_ = 0;

    std::uint32_t echo_command_ = 0;
    std::size_t messages_ = 0;  // that each one sends in this exchange
    bool ordered_ = true;
    std::size_t answered_ = 0;
    double latency_sum_ = 0;

    std::string broadcast_;
    std::size_t broadcasts_ = 0;
    std::string answer_;  // to ask()
    bool has_answer_ = false;
    std::size_t ended_ = 0;
    std::uint16_t close_code_ = 0;  // that is expected; 0: none
};

}  // namespace stress
