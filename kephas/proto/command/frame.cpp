#include <kephas/proto/command/frame.hpp>

#include <cstring>

namespace kephas {

std::vector<std::byte> encode_command(command_id id, bytes_view payload) {
    std::vector<std::byte> message(command_id_size + payload.size());
    store_big_endian(message.data(), static_cast<std::uint32_t>(id));
    if (!payload.empty()) std::memcpy(message.data() + command_id_size, payload.data(), payload.size());
    return message;
}

}  // namespace kephas
