#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/session/session_decoder.hpp>

#include <cstring>

namespace kephas {

namespace {

/// The payload of a close frame (RFC 6455 5.5.1).
slice as_close(const goodbye& said) {
    slice payload = slice::allocate(2 + said.reason.size());
    store_big_endian(payload.data(), static_cast<std::uint16_t>(said.code));
    if (!said.reason.empty()) std::memcpy(payload.data() + 2, said.reason.data(), said.reason.size());
    return payload;
}

}  // namespace

std::optional<websocket::decoded> session_decoder::next_of_stream() {
    auto& stream = *std::get_if<stream_decoder>(&decoder_);
    auto message = stream.next();
    if (!message) return std::nullopt;
    if (message->empty()) return websocket::decoded{websocket::opcode::pong, {}};
    const auto command = decode_command(message->view());
    if (command && command->id == command_jsonrpc_error) {
        if (const auto said = parse_goodbye(command->payload)) {
            stream.stop();  // nothing follows
            return websocket::decoded{websocket::opcode::close, as_close(*said)};
        }
    }
    return websocket::decoded{websocket::opcode::binary, std::move(*message)};
}

}  // namespace kephas
