#pragma once

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/jsonrpc/batch_reply.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <cstddef>
#include <mutex>
#include <optional>

namespace kephas {

/// The reply to a batch while its handlers run on several threads. Whoever gives the last answer gets the frame to send.
/// Concurrency: any thread.
class rpc_batch {
public:
    rpc_batch(const jsonrpc::document& asked, websocket::opcode op, wire_format format)
        : reply_{asked}, opcode_{op}, format_{format} {}

    [[nodiscard]] std::optional<outbound_frame> set_result(std::size_t slot, const json& result);
    [[nodiscard]] std::optional<outbound_frame> set_error(std::size_t slot, const jsonrpc::error_object& error);
    /// The frame, if everything was answered before any handler ran.
    [[nodiscard]] std::optional<outbound_frame> answered_from_the_start();

private:
    [[nodiscard]] std::optional<outbound_frame> take_locked();

    std::mutex mutex_;
    jsonrpc::batch_reply reply_;
    websocket::opcode opcode_;
    wire_format format_;
    bool taken_ = false;
};

}  // namespace kephas
