#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <cstring>

namespace kephas {

std::vector<std::byte> encode_command(command_id id, bytes_view payload) {
    std::vector<std::byte> message(command_id_size + payload.size());
    store_big_endian(message.data(), static_cast<std::uint32_t>(id));
    if (!payload.empty()) std::memcpy(message.data() + command_id_size, payload.data(), payload.size());
    return message;
}

std::size_t server_frame_head(std::span<std::byte, max_server_frame_head> out, websocket::opcode op,
                              std::optional<command_id> id, std::size_t payload_size) noexcept {
    if (!id) return websocket::encode_header(out.first<10>(), op, payload_size);
    const std::size_t size = websocket::encode_header(out.first<10>(), op, command_id_size + payload_size);
    store_big_endian(out.data() + size, static_cast<std::uint32_t>(*id));
    return size + command_id_size;
}

}  // namespace kephas
