#pragma once

#include <kephas/client/machine_wire.hpp>

namespace kephas {

/// Commands over TCP, TLS or a Unix socket, as the client sees them: a length before each frame, text under the id of
/// JSON-RPC, a goodbye before the end, and a frame without anything as a sign of life.
class command_stream_wire final : public machine_wire {
public:
    /// `unix_socket`: its listener tells the protocols apart by the first bytes, so something has to be said.
    command_stream_wire(const session_options& options, time_point now, bool unix_socket);

    [[nodiscard]] std::optional<wire_event> poll_event() override;
    void handle_timeout(time_point now) override;
    [[nodiscard]] std::optional<time_point> poll_timeout() const noexcept override;
    /// The server answers no sign of life, but its system does. On one machine nothing gets lost, and what a Unix socket has
    /// not acknowledged is what the server has not read.
    [[nodiscard]] duration acknowledgement_timeout() const noexcept override {
        return unix_socket_ ? duration::zero() : options_.read_timeout;
    }

    void encode_preamble(std::vector<std::byte>& out) override;
    bool poll_control(std::vector<std::byte>& out) override;
    void encode(const outgoing& message, std::vector<std::byte>& out) override;
    void encode_goodbye(close_code code, std::string_view reason, std::vector<std::byte>& out) override;
    void goodbye_sent(time_point now) override;

private:
    time_point keep_alive_at_;
    bool keep_alive_waits_ = false;
    bool unix_socket_;
};

}  // namespace kephas
