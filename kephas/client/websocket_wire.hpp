#pragma once

#include <kephas/proto/websocket/deflate_negotiation.hpp>
#include <kephas/proto/websocket/deflater.hpp>

#include <kephas/client/machine_wire.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace kephas {

/// A WebSocket connection after its handshake, as the client sees it (RFC 6455, 7692).
class websocket_wire final : public machine_wire {
public:
    /// `mask_seed` has to be a random number that nobody can guess. `agreed`: what was agreed on compression.
    websocket_wire(const session_options& options, time_point now, std::uint64_t mask_seed,
                   const std::optional<websocket::deflate_parameters>& agreed, const deflate_options& deflate);

    void encode(const outgoing& message, std::vector<std::byte>& out) override;
    void encode_goodbye(close_code code, std::string_view reason, std::vector<std::byte>& out) override;

private:
    std::unique_ptr<websocket::deflater> deflater_;  // borrows from `codecs_`, too
};

}  // namespace kephas
