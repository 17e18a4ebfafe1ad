#pragma once

#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/deflate_codec.hpp>

#include <kephas/client/client_wire.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace kephas {

/// What the wires over a `session_machine` have in common: all that comes in.
class machine_wire : public client_wire {
public:
    [[nodiscard]] mutable_bytes want() noexcept override { return machine_.want(); }
    void handle(slice input, time_point now) override { machine_.handle(std::move(input), now); }
    void handle_direct(std::size_t size, time_point now) override { machine_.handle_direct(size, now); }
    void handle_eof(bool in_order) override { machine_.handle_eof(in_order); }
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
    void goodbye_sent(time_point now) override { machine_.close_sent(now); }

protected:
    /// WebSocket; `mask_seed` has to be a random number that nobody can guess.
    machine_wire(const session_options& options, time_point now, std::uint64_t mask_seed,
                 std::unique_ptr<websocket::codec_lender> codecs)
        : options_{options}, codecs_{std::move(codecs)}, machine_{websocket::role::client, options_, now, mask_seed} {}
    /// A stream of commands.
    machine_wire(const session_options& options, time_point now) : options_{options}, machine_{options_, now} {}

    const session_options options_;
    std::unique_ptr<websocket::codec_lender> codecs_;  // outlives the machine, whose inflater borrows from it
    session_machine machine_;
};

}  // namespace kephas
