#pragma once

#include <kephas/base/payload.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/jsonrpc/encode.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <kephas/server/options.hpp>

#include <optional>
#include <utility>

namespace kephas {

/// A message of ours as one frame: the head is written here, the body is kept as it is.
[[nodiscard]] inline outbound_frame make_frame(wire_format format, websocket::opcode op, std::optional<command_id> id,
                                               payload&& body) {
    outbound_frame frame{.head = {}, .body = std::move(body)};
    frame.head_size = static_cast<std::uint8_t>(server_frame_head(frame.head, op, id, frame.body.size(), format));
    return frame;
}

[[nodiscard]] inline outbound_frame make_command(wire_format format, command_id id, payload&& body) {
    return make_frame(format, websocket::opcode::binary, id, std::move(body));
}

[[nodiscard]] inline outbound_frame make_text(wire_format format, payload&& body) {
    return make_frame(format, websocket::opcode::text, std::nullopt, std::move(body));
}

/// A JSON-RPC reply, on the opcode of what it answers; `channel` is where it goes on binary.
[[nodiscard]] inline outbound_frame make_rpc_reply(wire_format format, websocket::opcode op, command_id channel,
                                                   payload&& body) {
    return op == websocket::opcode::text ? make_text(format, std::move(body)) : make_command(format, channel, std::move(body));
}

/// Whether errors go where the request came. Never in datagrams: two servers could be made to send each other errors for ever.
[[nodiscard]] inline bool errors_on_same_channel(wire_format format, const server_options& options) noexcept {
    return options.command_errors == error_replies::same_channel && format != wire_format::datagram;
}

/// The error of a request that came alone: not of one in a batch.
[[nodiscard]] inline outbound_frame make_rpc_error(wire_format format, websocket::opcode op, const jsonrpc::request_id& id,
                                                   const jsonrpc::error_object& error, const server_options& options) {
    const bool same_channel = errors_on_same_channel(format, options);
    return make_rpc_reply(format, op, same_channel ? command_jsonrpc : command_jsonrpc_error,
                          payload{jsonrpc::encode_error(id, error)});
}

/// Head and body in one slice that any number of outboxes share.
[[nodiscard]] inline slice encode_shared(wire_format format, websocket::opcode op, std::optional<command_id> id,
                                         bytes_view body) {
    std::array<std::byte, max_server_frame_head> head;
    const std::size_t head_size = server_frame_head(head, op, id, body.size(), format);
    slice frame = slice::allocate(head_size + body.size());
    std::memcpy(frame.data(), head.data(), head_size);
    if (!body.empty()) std::memcpy(frame.data() + head_size, body.data(), body.size());
    return frame;
}

[[nodiscard]] inline outbound_frame make_shared_frame(slice encoded) {
    outbound_frame frame;
    frame.head_size = 0;
    frame.body = payload{std::move(encoded)};
    return frame;
}

}  // namespace kephas
