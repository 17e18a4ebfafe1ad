#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/command/wire_format.hpp>
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

inline constexpr std::size_t stream_frame_head_size = 8;

/// Writes what stands before the payload of a command that goes over a stream: the length of the frame, and the id.
inline void encode_stream_head(std::span<std::byte, stream_frame_head_size> out, command_id id,
                               std::size_t payload_size) noexcept {
    store_big_endian(out.data(), static_cast<std::uint32_t>(command_id_size + payload_size));
    store_big_endian(out.data() + 4, static_cast<std::uint32_t>(id));
}

/// Room for the longest head that a server sends, on any wire.
inline constexpr std::size_t max_server_frame_head = 14;

/// Writes what stands before the payload of a server's message, in one go: the WebSocket header, or the length of a
/// stream's frame, and the command id, if there is one. `payload_size` does not include the id. Returns the size of the head.
/// Streams and datagrams have no text: that goes under `command_jsonrpc`, and so does what has neither an id nor room for one.
inline std::size_t server_frame_head(std::span<std::byte, max_server_frame_head> out, websocket::opcode op,
                                     std::optional<command_id> id, std::size_t payload_size,
                                     wire_format format = wire_format::websocket) noexcept {
    if (format != wire_format::websocket) [[unlikely]] {
        const bool whole = !id && op == websocket::opcode::binary && payload_size >= command_id_size;  // a frame already
        if (format == wire_format::datagram) {
            if (whole) return 0;
            store_big_endian(out.data(), static_cast<std::uint32_t>(id.value_or(command_jsonrpc)));
            return command_id_size;
        }
        if (whole) {
            store_big_endian(out.data(), static_cast<std::uint32_t>(payload_size));
            return 4;
        }
        encode_stream_head(out.first<stream_frame_head_size>(), id.value_or(command_jsonrpc), payload_size);
        return stream_frame_head_size;
    }
    if (!id) return websocket::encode_header(out.first<10>(), op, payload_size);
    const std::size_t size = websocket::encode_header(out.first<10>(), op, command_id_size + payload_size);
    store_big_endian(out.data() + size, static_cast<std::uint32_t>(*id));
    return size + command_id_size;
}

/// The size of the message that `bytes` begins with, its head included: one of a server's, whole.
[[nodiscard]] inline std::size_t server_frame_size(bytes_view bytes, wire_format format) noexcept {
    if (format == wire_format::stream) return 4 + std::size_t{load_big_endian<std::uint32_t>(bytes.data())};
    return websocket::frame_size(bytes);
}

}  // namespace kephas
