#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/websocket/encoder.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace kephas {

/// What a command asks for. Applications have everything but the reserved ids.
enum class command_id : std::uint32_t {};

inline constexpr command_id command_jsonrpc{0xFFFFFFFF};        ///< JSON-RPC requests, results and batch replies.
inline constexpr command_id command_jsonrpc_error{0xFFFFFFFE};  ///< JSON-RPC error responses, and those of commands.

/// Whether the framework keeps `id` for itself, so that no handler can be registered for it.
[[nodiscard]] constexpr bool is_reserved(command_id id) noexcept { return id >= command_jsonrpc_error; }

inline constexpr std::size_t command_id_size = 4;

/// A command in a message that somebody else owns.
struct command_view {
    command_id id{};
    bytes_view payload;
};

/// Reads `u32 big-endian id` and payload; none if the message is shorter than an id, which is the peer's error.
/// The payload is a part of `message` and lives as long.
[[nodiscard]] inline std::optional<command_view> decode_command(bytes_view message) noexcept {
    if (message.size() < command_id_size) return std::nullopt;
    return command_view{command_id{load_big_endian<std::uint32_t>(message.data())}, message.subspan(command_id_size)};
}

/// The message of a command: its id and a copy of its payload.
[[nodiscard]] std::vector<std::byte> encode_command(command_id id, bytes_view payload);

/// Room for the longest header that a server sends, and a command id.
inline constexpr std::size_t max_server_frame_head = 14;

/// Writes what stands before the payload of a server's frame, in one go: the WebSocket header and, if there is one,
/// the command id. `payload_size` does not include the id. Returns the size of the head.
inline std::size_t server_frame_head(std::span<std::byte, max_server_frame_head> out, websocket::opcode op,
                                     std::optional<command_id> id, std::size_t payload_size) noexcept {
    if (!id) return websocket::encode_header(out.first<10>(), op, payload_size);
    const std::size_t size = websocket::encode_header(out.first<10>(), op, command_id_size + payload_size);
    store_big_endian(out.data() + size, static_cast<std::uint32_t>(*id));
    return size + command_id_size;
}

inline constexpr std::size_t stream_frame_head_size = 8;

/// Writes what stands before the payload of a command that goes over a stream: the length of the frame, and the id.
inline void encode_stream_head(std::span<std::byte, stream_frame_head_size> out, command_id id,
                               std::size_t payload_size) noexcept {
    store_big_endian(out.data(), static_cast<std::uint32_t>(command_id_size + payload_size));
    store_big_endian(out.data() + 4, static_cast<std::uint32_t>(id));
}

}  // namespace kephas
