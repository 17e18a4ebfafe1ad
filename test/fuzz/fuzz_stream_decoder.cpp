// Input: a byte of flags, then pieces: a byte that gives the size, and the bytes themselves.
// Whatever the bytes and however they are cut: no crash, no message beyond the limit or shorter than an id, no buffer
// larger than what has arrived allows, and the same messages as if they had come in one piece. Each payload is read as a
// goodbye, and what is one is encoded and read again.

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/command/stream_decoder.hpp>
#include <kephas/proto/websocket/utf8.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

struct outcome {
    std::vector<std::vector<std::byte>> messages;
    std::string failure;
    bool operator==(const outcome&) const = default;
};

void check_goodbye(bytes_view payload) {
    const auto said = parse_goodbye(payload);
    if (!said) return;
    require(is_valid_on_wire(said->code) && said->reason.size() <= 123);
    std::array<std::byte, max_goodbye> wire{};
    const std::size_t size = encode_goodbye(wire, said->code, said->reason);
    require(size > stream_frame_head_size && size <= wire.size());
    const auto again = parse_goodbye(bytes_view{wire}.first(size).subspan(stream_frame_head_size));
    require(again && again->code == said->code && websocket::is_utf8(as_bytes(again->reason)));
    require(said->reason.starts_with(again->reason));
}

void drain(stream_decoder& decoder, std::size_t limit, outcome& out) {
    while (const auto message = decoder.next()) {
        require(message->empty() || message->size() >= command_id_size);
        require(message->size() <= limit);
        out.messages.emplace_back(message->view().begin(), message->view().end());
        if (!message->empty()) check_goodbye(message->view().subspan(command_id_size));
    }
    require(decoder.capacity() <= std::max<std::size_t>(256, 2 * decoder.arrived()));
    require(!decoder.pending());
    if (decoder.failed()) out.failure = decoder.failure().reason;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const unsigned flags = data[0];
    bytes_view input = std::as_bytes(std::span{data, size}).subspan(1);
    const std::size_t limit = (flags & 1U) != 0 ? 1'000'000 : 300;
    const std::size_t scale = (flags & 2U) != 0 ? 97 : 1;

    outcome in_pieces;
    stream_decoder decoder{limit};
    std::vector<std::byte> all;
    while (!input.empty()) {
        std::size_t piece = std::min(std::to_integer<std::size_t>(input[0]) * scale, input.size() - 1);
        input = input.subspan(1);
        if (const mutable_bytes span = decoder.want(); !span.empty() && piece > 0) {
            piece = std::min(piece, span.size());
            std::memcpy(span.data(), input.data(), piece);
            decoder.commit(piece);
        } else {
            decoder.feed(slice::copy(input.first(piece)));
        }
        const bytes_view taken = input.first(piece);
        all.insert(all.end(), taken.begin(), taken.end());
        input = input.subspan(piece);
        drain(decoder, limit, in_pieces);
    }

    outcome at_once;
    stream_decoder other{limit};
    other.feed(slice::copy(all));
    drain(other, limit, at_once);
    require(in_pieces == at_once);
    return 0;
}
