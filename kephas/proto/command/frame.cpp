#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <cstring>

namespace kephas {

std::optional<command_view> decode_command(bytes_view message) noexcept {
    if (message.size() < command_id_size) return std::nullopt;
    return command_view{command_id{load_big_endian<std::uint32_t>(message.data())}, message.subspan(command_id_size)};
}

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
