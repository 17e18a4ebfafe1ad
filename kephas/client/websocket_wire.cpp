#include <kephas/proto/websocket/encoder.hpp>

#include <kephas/client/websocket_wire.hpp>

#include <array>
#include <span>
#include <utility>

namespace kephas {

websocket_wire::websocket_wire(const session_options& options, time_point now, std::uint64_t mask_seed,
                               const std::optional<websocket::deflate_parameters>& agreed, const deflate_options& deflate)
    : machine_wire{options, now, mask_seed,
                   agreed ? std::make_unique<websocket::codec_pool>(deflate.level, deflate.memory_level) : nullptr} {
    if (!agreed) return;
    machine_.use_deflate(std::make_unique<websocket::inflater>(*codecs_, !agreed->server_no_context_takeover,
                                                               agreed->server_max_window_bits));
    deflater_ = std::make_unique<websocket::deflater>(*codecs_, deflate, !agreed->client_no_context_takeover,
                                                      agreed->client_max_window_bits);
}

void websocket_wire::encode(const outgoing& message, std::vector<std::byte>& out) {
    std::array<std::byte, command_id_size> id;
    if (message.command) store_big_endian(id.data(), static_cast<std::uint32_t>(*message.command));
    std::array<bytes_view, 2> parts{bytes_view{id}.first(message.command ? id.size() : 0), message.body.view()};
    std::optional<slice> smaller;
    if (deflater_ && deflater_->wants(message.size())) {
        smaller = deflater_->deflate(parts);
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
