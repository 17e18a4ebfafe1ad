// Input: a byte of flags, then pieces: a byte that gives the size, and the bytes themselves.
// Whatever the bytes and however they are cut: no crash, no message beyond its limit, no text that is not UTF-8, no
// buffer larger than what has arrived allows, and the same events as if they had come in one piece.

#include <kephas/proto/websocket/decoder.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

struct outcome {
    std::vector<std::pair<websocket::opcode, std::vector<std::byte>>> events;
    std::string failure;
    bool operator==(const outcome&) const = default;
};

void drain(websocket::decoder& machine, const websocket::decoder_options& options, outcome& out) {
    while (const auto event = machine.next()) {
        const bytes_view payload = event->payload.view();
        if (event->op == websocket::opcode::text) {
            require(payload.size() <= options.max_text_message);
            require(websocket::is_utf8(payload));
        } else if (event->op == websocket::opcode::binary) {
            require(payload.size() <= options.max_binary_message);
        } else {
            require(payload.size() <= 125);
        }
        out.events.emplace_back(event->op, std::vector<std::byte>(payload.begin(), payload.end()));
    }
    require(machine.capacity() <= std::max<std::size_t>(256, 2 * machine.arrived()));
    if (machine.failed()) out.failure = machine.failure().reason;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const unsigned flags = data[0];
    bytes_view input = std::as_bytes(std::span{data, size}).subspan(1);
    const auto role = (flags & 1U) != 0 ? websocket::role::client : websocket::role::server;
    const websocket::decoder_options options{.max_binary_message = (flags & 2U) != 0 ? 1'000'000U : 300U,
                                             .max_text_message = (flags & 4U) != 0 ? 1'000'000U : 200U,
                                             .max_fragments = 20,
                                             .max_empty_fragments = 5};
    const std::size_t scale = (flags & 16U) != 0 ? 97 : 1;

    outcome in_pieces;
    websocket::decoder machine{role, options};
    std::vector<std::byte> all;
    while (!input.empty()) {
        std::size_t piece = std::min(std::to_integer<std::size_t>(input[0]) * scale, input.size() - 1);
        input = input.subspan(1);
        if (const mutable_bytes span = machine.want(); !span.empty() && piece > 0) {
            piece = std::min(piece, span.size());
            std::memcpy(span.data(), input.data(), piece);
            machine.commit(piece);
        } else {
            machine.feed(slice::copy(input.first(piece)));
        }
        const bytes_view taken = input.first(piece);
        all.insert(all.end(), taken.begin(), taken.end());
        input = input.subspan(piece);
        drain(machine, options, in_pieces);
    }

    outcome at_once;
    websocket::decoder other{role, options};
    other.feed(slice::copy(all));
    drain(other, options, at_once);
    require(in_pieces == at_once);
    return 0;
}
