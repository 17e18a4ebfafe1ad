// The command codec: what is encoded is read again, and the head of a frame says what a decoder of the other side reads.
// Input: four bytes of an id, then the payload.

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/websocket/decoder.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check_frame(websocket::opcode op, std::optional<command_id> id, bytes_view payload) {
    std::array<std::byte, max_server_frame_head> head{};
    const std::size_t size = server_frame_head(head, op, id, payload.size());
    require(size >= 2 && size <= head.size());
    std::vector<std::byte> frame(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(size));
    frame.insert(frame.end(), payload.begin(), payload.end());

    websocket::decoder peer{websocket::role::client, {.max_binary_message = payload.size() + command_id_size,
                                                      .max_text_message = payload.size() + command_id_size}};
    peer.feed(slice::copy(frame));
    const auto message = peer.next();
    require(message.has_value() && message->op == op && !peer.pending() && !peer.unfinished());
    if (!id) return require(std::ranges::equal(message->payload.view(), payload));
    const auto command = decode_command(message->payload.view());
    require(command && command->id == *id && std::ranges::equal(command->payload, payload));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const bytes_view input = std::as_bytes(std::span{data, size});
    const auto command = decode_command(input);
    require(command.has_value() == (size >= command_id_size));
    if (!command) return 0;
    require(command->payload.size() == size - command_id_size && command->payload.data() == input.data() + command_id_size);
    require(is_reserved(command->id) == (static_cast<std::uint32_t>(command->id) >= 0xFFFFFFFEU));
    require(std::ranges::equal(encode_command(command->id, command->payload), input));
    check_frame(websocket::opcode::binary, command->id, command->payload);
    check_frame(websocket::opcode::binary, std::nullopt, input);
    // the sizes at which the length changes its form, without an input that long
    static constexpr std::array<std::size_t, 6> sizes{120, 121, 122, 65'531, 65'532, 70'000};
    const std::size_t longer = sizes[(size + std::to_integer<std::size_t>(input[0])) % (size > 100 ? sizes.size() : 3)];
    check_frame(websocket::opcode::binary, command->id, std::vector<std::byte>(longer, std::byte{data[0]}));
    return 0;
}
