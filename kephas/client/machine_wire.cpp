#include <kephas/client/machine_wire.hpp>

#include <variant>

namespace kephas {

std::optional<wire_event> machine_wire::poll_event() {
    // A deadline has passed, while a message came in or went out perhaps. A server blames its client for that; seen from here
    // it is what a network that was cut looks like, over which no goodbye gets either.
    const bool late = machine_.failing();
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
            if (late) return wire_failed{close_code::abnormal, std::move(failed->reason), false};
            return wire_failed{failed->code, std::move(failed->reason), failed->send_close};
        }
    }
    return std::nullopt;
}

bool machine_wire::poll_control(std::vector<std::byte>& out) {
    if (!machine_.pending_control()) return false;
    const std::size_t begin = out.size();
    out.resize(begin + machine_.largest_control());
    const std::size_t size = machine_.poll_control(mutable_bytes{out}.subspan(begin));
    out.resize(begin + size);
    return size > 0;
}

}  // namespace kephas
