#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/clock.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/websocket/close_code.hpp>

#include <kephas/client/outgoing_queue.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kephas {

/// A complete message of the server's.
struct wire_message {
    std::optional<command_id> command;  ///< None: text.
    slice payload;
};
/// The server has said goodbye. Our answer, where there has to be one, is the last control frame.
struct wire_closed {
    close_code code = close_code::no_status;
    std::string reason;
};
/// The connection cannot go on: say goodbye with this code, unless the server is not worth it, and read no more.
struct wire_failed {
    close_code code = close_code::protocol_error;
    std::string reason;
    bool say_goodbye = true;
};
using wire_event = std::variant<wire_message, wire_closed, wire_failed>;

/// What a client speaks over a stream: bytes and time come in, messages come out, and the other way round. No I/O.
class client_wire {
public:
    client_wire() = default;
    client_wire(const client_wire&) = delete;
    client_wire& operator=(const client_wire&) = delete;
    virtual ~client_wire() = default;

    // As those of `session_machine`.
    [[nodiscard]] virtual mutable_bytes want() noexcept = 0;
    virtual void handle(slice input, time_point now) = 0;
    virtual void handle_direct(std::size_t size, time_point now) = 0;
    virtual void handle_eof(bool in_order) = 0;
    virtual void handle_timeout(time_point now) = 0;
    virtual void handle_write_progress(std::size_t accepted, std::size_t still_queued, time_point now) = 0;
    virtual void pause_reading(time_point now) = 0;
    virtual void resume_reading(time_point now) = 0;
    [[nodiscard]] virtual std::optional<wire_event> poll_event() = 0;
    [[nodiscard]] virtual bool failing() const noexcept = 0;
    [[nodiscard]] virtual std::optional<time_point> poll_timeout() const noexcept = 0;

    /// How long bytes may be on their way without an acknowledgement by the server's system, before the connection counts as
    /// lost: for protocols in which the server may be silent. Zero: for ever.
    [[nodiscard]] virtual duration acknowledgement_timeout() const noexcept { return duration::zero(); }

    /// What is said before the first message.
    virtual void encode_preamble(std::vector<std::byte>& /*out*/) {}
    /// Appends the next control frame, if there is one.
    virtual bool poll_control(std::vector<std::byte>& out) = 0;
    virtual void encode(const outgoing& message, std::vector<std::byte>& out) = 0;
    virtual void encode_goodbye(close_code code, std::string_view reason, std::vector<std::byte>& out) = 0;
    /// Our goodbye has left: the server has its time to answer.
    virtual void goodbye_sent(time_point now) = 0;
};

}  // namespace kephas
