#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/clock.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/command/wire_format.hpp>
#include <kephas/proto/session/session_decoder.hpp>
#include <kephas/proto/session/token_bucket.hpp>
#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/encoder.hpp>
#include <kephas/proto/websocket/inflater.hpp>
#include <kephas/proto/websocket/mask.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace kephas {

/// What one side of a connection tolerates. Zero disables a deadline or a rate, and only those.
struct session_options {
    std::size_t max_binary_message = 10 * 1024 * 1024 + 4;  ///< Bytes of payload, command id included. More: 1009.
    std::size_t max_text_message = 512 * 1024;              ///< Bytes. More: 1009.
    std::uint32_t max_fragments = 131'072;                  ///< Per message. More: 1008.
    std::uint32_t max_empty_fragments = 1'024;              ///< In a row. More: 1008.
    double messages_per_second = 100;                       ///< Of the peer's data messages. More: 1008.
    double message_burst = 200;
    double controls_per_second = 100;  ///< Of the peer's pings and pongs. More: 1008.
    double control_burst = 200;
    duration read_timeout = std::chrono::seconds{60};     ///< Renewed by any bytes. Past it: the connection is dropped.
                                                          ///< Not on streams, which may be silent.
    duration ping_interval = std::chrono::seconds{54};    ///< Between our pings, which streams do not have.
    duration write_timeout = std::chrono::seconds{10};    ///< For 64 KiB, or all that is queued, to be taken: 3008.
    duration message_timeout = std::chrono::seconds{60};  ///< For an unfinished message, plus 1 s per 16 KiB arrived.
    duration close_timeout = std::chrono::seconds{5};     ///< From our close frame to theirs.
};

/// A complete data message. The payload's bytes are unmasked and inflated, and valid UTF-8 if it is text.
struct message_received {
    websocket::opcode opcode = websocket::opcode::binary;
    slice payload;
};
/// The peer's pong; its payload is at most 125 bytes.
struct pong_received {
    slice payload;
};
/// The peer's close frame arrived, or the goodbye of a stream, or its end behind a whole message (`no_status`). If we had
/// not sent one yet, the answer is already queued as the last control frame.
struct close_received {
    close_code code = close_code::no_status;
    std::string reason;  ///< Valid UTF-8, at most 123 bytes.
};
/// The connection cannot go on: send a close frame with this code and reason, discarding what is queued, and read
/// no more. Follows every message that was complete before the violation. `send_close` is false when a close frame
/// was sent before, or when the peer is not worth one (it fell silent, or it never answered our close frame).
struct session_failed {
    close_code code = close_code::protocol_error;
    std::string reason;
    bool send_close = true;
    bool rate_limited = false;  ///< The peer has exceeded the rate of its messages or control frames.
};

using session_event = std::variant<message_received, pong_received, close_received, session_failed>;

/// The state of one established connection, without I/O: WebSocket (RFC 6455 after the opening handshake), or a stream of
/// commands, on which keep-alives are pongs and goodbyes are close frames, each side sends one before it ends its stream, and
/// there are no pings.
///
/// Bytes and time come in through `handle*`; events and control frames go out through `poll_*`, in any order of calls.
/// Data frames are not its business: they are encoded by `websocket/encoder.hpp` and ordered by `outbound_queue`.
/// Once it has failed, or both close frames have been exchanged, further input is ignored.
/// Throws nothing but `std::bad_alloc`, whatever the peer sends.
class session_machine {
public:
    /// `options` must outlive the machine. For `role::client`, `mask_seed` starts the sequence of masking keys.
    session_machine(websocket::role role, const session_options& options, time_point now, std::uint64_t mask_seed = 0);
    /// Of a stream of commands, for either side.
    session_machine(const session_options& options, time_point now);
    [[nodiscard]] wire_format format() const noexcept { return decoder_.format(); }
    /// permessage-deflate was negotiated: what comes in may be compressed. To be called before the first bytes.
    void use_deflate(std::unique_ptr<websocket::inflater> inflater) noexcept {
        decoder_.use_deflate(std::move(inflater));
    }

    /// Where the next bytes should be read to: a span inside a message that is being assembled, or, when it is empty,
    /// any buffer that is then passed to `handle`.
    [[nodiscard]] mutable_bytes want() noexcept;
    /// Bytes that were read to a buffer of the caller's. They are unmasked in place, so they must not be shared.
    /// `poll_event` should have consumed the earlier ones (`pending_input()` is false): what is left is copied.
    void handle(slice input, time_point now);
    /// `size` bytes were read to the span that `want()` gave.
    void handle_direct(std::size_t size, time_point now);
    /// The peer ended the stream, `in_order` or by a reset. Without a close frame before it, that is a failure with 1006,
    /// unless it is a stream of commands that ended in order, and not within a message.
    void handle_eof(bool in_order = true);
    /// To be called at `poll_timeout()` or later; early calls do nothing.
    void handle_timeout(time_point now);
    /// The kernel has accepted `accepted` bytes since the last call, and `still_queued` bytes wait. The slow-consumer
    /// rule: within `write_timeout` it must accept 64 KiB, or what waited when that time began if that is less.
    /// To be called when something is queued to an empty queue, and after each write.
    void handle_write_progress(std::size_t accepted, std::size_t still_queued, time_point now);
    /// While we do not read on purpose, the deadlines of what the peer sends are suspended; reading renews the
    /// read deadline.
    void pause_reading(time_point now);
    void resume_reading(time_point now);

    /// The next event, or none until more input comes or, when `pending_input()`, until `poll_control()` has taken the
    /// pong that waits: pings are answered one by one, so that a peer that only sends them costs no memory.
    /// Stops in the middle of the input when not called.
    [[nodiscard]] std::optional<session_event> poll_event();
    /// The next event if it is a message that came as one short frame, which is a shorter way to it; none says nothing.
    [[nodiscard]] std::optional<message_received> poll_whole_message() noexcept;
    /// What is left of the input, of which messages are a part.
    [[nodiscard]] const slice& input() const noexcept { return decoder_.input(); }
    /// Whether a later `poll_event()` could give something without more input.
    [[nodiscard]] bool pending_input() const noexcept;
    /// Whether the next event is a failure that does not come from the input: to be polled even by a caller that takes
    /// no more messages.
    [[nodiscard]] bool failing() const noexcept { return end_ > end::reported; }

    /// Takes tokens for `count` more messages (the elements of a batch); false: the rate is exceeded, and
    /// the failure is the next event.
    [[nodiscard]] bool charge(std::size_t count, time_point now);

    /// The next control frame (pong, ping, answer to a close frame), complete and encoded, written to `out`, which has
    /// room for `largest_control()` bytes (with less, nothing is written). Returns its size, 0 if there is none. Pongs leave in the
    /// order of the pings. The answer to a close frame is the last one.
    [[nodiscard]] std::size_t poll_control(mutable_bytes out);
    [[nodiscard]] bool pending_control() const noexcept;
    [[nodiscard]] std::size_t largest_control() const noexcept {
        return format() == wire_format::stream ? max_goodbye : websocket::max_control_frame;
    }

    /// Our own close frame has been handed to the kernel: the peer has `close_timeout` to answer.
    void close_sent(time_point now);
    /// The next masking key for a frame that a client sends; none for a server, which does not mask.
    [[nodiscard]] std::optional<websocket::mask_key> next_mask() noexcept;

    /// When `handle_timeout` should be called, were nothing else to happen; may be earlier than needed.
    [[nodiscard]] std::optional<time_point> poll_timeout() const noexcept;

    [[nodiscard]] bool close_was_sent() const noexcept { return close_sent_at_ != never; }
    [[nodiscard]] bool close_was_received() const noexcept;
    /// Both close frames have been exchanged: nothing more is to be read.
    [[nodiscard]] bool done() const noexcept;

private:
    enum class end : std::uint8_t {
        none,      // going on
        reported,  // the failure was given to poll_event()
        message_rate,
        control_rate,
        read_timeout,
        message_timeout,
        slow_consumer,
        close_timeout,
        lost,
    };

    void observe(time_point now) noexcept;
    void received(time_point now) noexcept;
    void fail(end why) noexcept;
    [[nodiscard]] bool deaf() const noexcept;
    [[nodiscard]] std::optional<session_event> convert_control(websocket::decoded&& frame);
    [[nodiscard]] close_received receive_close(close_received&& received) noexcept;
    [[nodiscard]] session_event report_failure();
    void watch_message() noexcept;
    [[nodiscard]] time_point read_deadline() const noexcept;
    [[nodiscard]] time_point message_deadline() const noexcept;
    [[nodiscard]] time_point write_deadline() const noexcept;
    [[nodiscard]] time_point close_deadline() const noexcept;
    [[nodiscard]] time_point ping_due() const noexcept;

    static constexpr time_point never = time_point::max();

    session_decoder decoder_;
    const session_options* options_;
    token_bucket messages_;
    token_bucket controls_;
    slice pong_;      // the payload of the pong that waits
    time_point now_;  // the latest that we were told
    time_point last_read_;
    time_point last_ping_;
    time_point message_started_ = never;  // never: no message is unfinished
    time_point paused_at_ = never;        // never: we read
    time_point write_started_ = never;    // never: nothing is queued
    time_point close_sent_at_ = never;    // never: it was not
    std::uint64_t mask_state_;
    std::uint32_t write_goal_ = 0;  // bytes to be accepted within write_timeout of write_started_
    std::uint32_t write_accepted_ = 0;
    close_code answer_ = close_code::no_status;  // to the peer's close frame
    websocket::role role_;
    end end_ = end::none;
    bool pong_waits_ = false;
    bool ping_waits_ = false;
    bool answer_waits_ = false;
    bool close_received_ = false;
    bool eof_ = false;
    bool cut_ = false;  // the stream has not ended in order
};

}  // namespace kephas
