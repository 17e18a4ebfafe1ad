#include <kephas/proto/session/deflate_frame.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <algorithm>
#include <utility>

namespace kephas {

namespace {

constexpr auto rsv1_bit = std::byte{0x40};
constexpr auto opcode_bits = std::byte{0x0F};

/// RFC 6455 5.2, without a mask.
std::size_t header_size(bytes_view frame) noexcept {
    const auto length = std::to_integer<unsigned>(frame[1]);
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

}  // namespace

outbound_frame deflate_frame(outbound_frame&& frame, websocket::deflater& deflater) {
    bytes_view head = bytes_view{frame.head}.first(frame.head_size);
    bytes_view body = frame.body.view();
    bytes_view& first = head.empty() ? body : head;
    if (first.size() < 2) return std::move(frame);
    const auto op = static_cast<websocket::opcode>(first[0] & opcode_bits);
    first = first.subspan(std::min(header_size(first), first.size()));
    if (!deflater.wants(head.size() + body.size())) return std::move(frame);

    const bytes_view parts[] = {head, body};
    auto compressed = deflater.deflate(parts);
    if (!compressed) return std::move(frame);
    outbound_frame result;
    result.head_size = static_cast<std::uint8_t>(
        websocket::encode_header(std::span{result.head}.first<10>(), op, compressed->size()));
    result.head[0] |= rsv1_bit;
    result.as_is = true;
    result.body = payload{*std::move(compressed)};
    return result;
}

}  // namespace kephas
