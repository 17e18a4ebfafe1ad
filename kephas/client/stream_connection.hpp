#pragma once

#include <kephas/client/client_connection.hpp>
#include <kephas/client/client_wire.hpp>
#include <kephas/client/event_stream.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace kephas {

/// Drives a `client_wire` over a stream. It contains no protocol.
///
/// Messages are encoded into one buffer of 64 KiB or a bit more, and are kept until the kernel has taken them: those that
/// have not left when the connection ends go back to where they came from.
class stream_connection final : public client_connection {
public:
    /// `early`: what has been read behind the handshake.
    stream_connection(std::shared_ptr<event_stream> events, std::unique_ptr<client_wire> wire, slice early,
                      std::string subprotocol, duration close_timeout);
    ~stream_connection() override;

    [[nodiscard]] asio::awaitable<connection_end> run(connection_owner& owner) override;
    void wake() override { events_->signal(); }
    [[nodiscard]] const std::string& subprotocol() const noexcept override { return subprotocol_; }

private:
    enum class phase : std::uint8_t {
        open,
        closing,   // our goodbye is encoded, theirs is awaited
        leaving,   // nothing matters but that they get what was written
        finished,
    };
    struct frame {
        std::size_t end;                  // in written_
        std::optional<outgoing> message;  // none: a control frame
        bool goodbye = false;
    };

    [[nodiscard]] bool step(time_point now);
    [[nodiscard]] bool read(time_point now);
    void look_for_acknowledgements(time_point now);
    void take_events(time_point now);
    void handle(wire_message&& message);
    void handle(wire_closed&& closed);
    void handle(wire_failed&& failed);
    void obey(time_point now);
    void flush(time_point now);
    void fill();
    bool take_controls();
    void add_frame(std::optional<outgoing> message, bool goodbye = false);
    void account(std::size_t size, time_point now);
    void drop_unbegun();
    [[nodiscard]] bool goodbye_begun() const noexcept;
    void write_failed(std::error_code why, time_point now);
    void begin_leaving(time_point now);
    void finish() noexcept;
    void give_back();
    [[nodiscard]] bool reading() const noexcept;
    [[nodiscard]] time_point deadline() const noexcept;

    std::shared_ptr<event_stream> events_;
    std::unique_ptr<client_wire> wire_;
    std::string subprotocol_;
    duration close_timeout_;
    connection_owner* owner_ = nullptr;

    slice early_;
    std::vector<std::byte> out_;
    std::size_t written_ = 0;       // of out_
    std::size_t frames_begin_ = 0;  // in out_
    std::deque<frame> frames_;    // in out_, and not written whole
    phase phase_ = phase::open;
    bool paused_ = false;
    bool input_ended_ = false;
    bool write_failed_ = false;
    bool send_ended_ = false;
    time_point deadline_ = time_point::max();  // of closing, leaving, or a connection that can no longer be written
    std::int64_t sent_bytes_ = 0;
    std::int64_t acknowledged_ = 0;  // when it was looked; below TLS there is more under way, so it may be negative
    time_point look_at_{};           // for acknowledgements
    time_point acknowledged_at_{};   // something, or everything; or the server has said something
    connection_end end_{};
};

}  // namespace kephas
