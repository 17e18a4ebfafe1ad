#include <kephas/proto/websocket/encoder.hpp>

#include <kephas/client/websocket_wire.hpp>

#include <array>
#include <span>
#include <utility>

namespace kephas {

websocket_wire::websocket_wire(session_options options, time_point now, std::uint64_t mask_seed,
                               const std::optional<websocket::deflate_parameters>& agreed, const deflate_options& deflate)
    : options_{options},
      compression_{agreed ? std::make_unique<compression>(deflate, *agreed) : nullptr},
      machine_{websocket::role::client, options_, now, mask_seed} {
    if (!agreed) return;
    machine_.use_deflate(std::make_unique<websocket::inflater>(
        compression_->codecs, !agreed->server_no_context_takeover, agreed->server_max_window_bits));
}

std::optional<wire_event> websocket_wire::poll_event() {
    while (auto event = machine_.poll_event()) {
        if (auto* message = std::get_if<message_received>(&*event)) {
            if (message->opcode == websocket::opcode::text) return wire_message{std::nullopt, std::move(message->payload)};
            const auto command = decode_command(message->payload.view());
            if (!command) return wire_failed{close_code::protocol_error, "Invalid message format", true};
            message->payload.remove_prefix(command_id_size);
            return wire_message{command->id, std::move(message->payload)};
        }
        if (auto* closed = std::get_if<close_received>(&*event)) return wire_closed{closed->code, std::move(closed->reason)};
        if (auto* failed = std::get_if<session_failed>(&*event)) {
            return wire_failed{failed->code, std::move(failed->reason), failed->send_close};
        }
    }
    return std::nullopt;
}

bool websocket_wire::poll_control(std::vector<std::byte>& out) {
    std::array<std::byte, websocket::max_control_frame> frame;
    const std::size_t size = machine_.poll_control(frame);
    out.insert(out.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
    return size > 0;
}

void websocket_wire::encode(const outgoing& message, std::vector<std::byte>& out) {
    std::array<std::byte, command_id_size> id;
    if (message.command) store_big_endian(id.data(), static_cast<std::uint32_t>(*message.command));
    std::array<bytes_view, 2> parts{bytes_view{id}.first(message.command ? id.size() : 0), message.body.view()};
    std::optional<slice> smaller;
    if (compression_ && compression_->deflater.wants(message.size())) {
        smaller = compression_->deflater.deflate(parts);
        if (smaller) parts = {smaller->view(), {}};
    }
    const websocket::mask_key key = *machine_.next_mask();
    std::array<std::byte, websocket::max_header_size> header;
    const auto op = message.command ? websocket::opcode::binary : websocket::opcode::text;
    const std::size_t header_size = websocket::encode_header(header, op, parts[0].size() + parts[1].size(), key);
    static constexpr std::byte rsv1{0x40};
    if (smaller) header[0] |= rsv1;
    out.insert(out.end(), header.begin(), header.begin() + static_cast<std::ptrdiff_t>(header_size));
    const std::size_t begin = out.size();
    for (const bytes_view part : parts) out.insert(out.end(), part.begin(), part.end());
    websocket::apply_mask(std::span{out}.subspan(begin), key);
}

void websocket_wire::encode_goodbye(close_code code, std::string_view reason, std::vector<std::byte>& out) {
    std::array<std::byte, websocket::max_control_frame> frame;
    const std::size_t size = websocket::encode_close(frame, code, reason, machine_.next_mask());
    out.insert(out.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
}

}  // namespace kephas
