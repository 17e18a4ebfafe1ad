#pragma once

#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/deflate_codec.hpp>
#include <kephas/proto/websocket/deflate_negotiation.hpp>
#include <kephas/proto/websocket/deflater.hpp>

#include <kephas/client/client_wire.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace kephas {

/// A WebSocket connection after its handshake, as the client sees it (RFC 6455, 7692).
class websocket_wire final : public client_wire {
public:
    /// `mask_seed` has to be a random number that nobody can guess. `agreed`: what was agreed on compression.
    websocket_wire(session_options options, time_point now, std::uint64_t mask_seed,
                   const std::optional<websocket::deflate_parameters>& agreed, const deflate_options& deflate);

    [[nodiscard]] mutable_bytes want() noexcept override { return machine_.want(); }
    void handle(slice input, time_point now) override { machine_.handle(std::move(input), now); }
    void handle_direct(std::size_t size, time_point now) override { machine_.handle_direct(size, now); }
    void handle_eof() override { machine_.handle_eof(); }
    void handle_timeout(time_point now) override { machine_.handle_timeout(now); }
    void handle_write_progress(std::size_t accepted, std::size_t still_queued, time_point now) override {
        machine_.handle_write_progress(accepted, still_queued, now);
    }
    void pause_reading(time_point now) override { machine_.pause_reading(now); }
    void resume_reading(time_point now) override { machine_.resume_reading(now); }
    [[nodiscard]] std::optional<wire_event> poll_event() override;
    [[nodiscard]] bool failing() const noexcept override { return machine_.failing(); }
    [[nodiscard]] std::optional<time_point> poll_timeout() const noexcept override { return machine_.poll_timeout(); }

    bool poll_control(std::vector<std::byte>& out) override;
    void encode(const outgoing& message, std::vector<std::byte>& out) override;
    void encode_goodbye(close_code code, std::string_view reason, std::vector<std::byte>& out) override;
    void goodbye_sent(time_point now) override { machine_.close_sent(now); }

private:
    struct compression {
        compression(const deflate_options& options, const websocket::deflate_parameters& agreed)
            : codecs{options.level, options.memory_level},
              deflater{codecs, options, !agreed.client_no_context_takeover, agreed.client_max_window_bits} {}
        websocket::codec_pool codecs;
        websocket::deflater deflater;
    };
    session_options options_;
    std::unique_ptr<compression> compression_;  // outlives the machine, whose inflater borrows from it
    session_machine machine_;
};

}  // namespace kephas
