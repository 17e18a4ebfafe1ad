// Input: a byte of flags, two bytes of settings, then pieces: a byte that gives the size, and the bytes themselves.
// Either the pieces are compressed messages, cut as they come, and whatever they are: no crash, no message beyond its
// limit, no memory beyond it, no text that is not UTF-8, and the same outcome as in one piece. Or they are messages:
// what the deflater makes of them comes out of the inflater again, and is no larger than it has to be.

#include <kephas/proto/websocket/deflater.hpp>
#include <kephas/proto/websocket/inflater.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

using namespace kephas;
using websocket::inflater;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

struct settings {
    bool context_takeover = false;
    bool is_text = false;
    std::size_t limit = 0;
    int window_bits = 15;
};

struct outcome {
    inflater::status status = inflater::status::good;
    std::string message;
    bool operator==(const outcome&) const = default;
};

// The next message of `machine`, fed in pieces of `step` bytes.
outcome next(inflater& machine, bytes_view in, const settings& with, std::size_t step) {
    machine.begin(with.limit, with.is_text);
    outcome out;
    if (!machine.expect(in.size())) {
        require(in.size() > with.limit);
        out.status = inflater::status::too_big;
        return out;
    }
    while (!in.empty() && out.status == inflater::status::good) {
        const bytes_view piece = in.first(std::min(step, in.size()));
        out.status = machine.consume(piece);
        require(machine.capacity() <= with.limit);
        in = in.subspan(piece.size());
    }
    if (out.status == inflater::status::good) out.status = machine.finish();
    if (out.status != inflater::status::good) {
        machine.stop();
        return out;
    }
    const slice message = machine.take();
    out.message = as_text(message.view());
    require(machine.capacity() == 0 && message.size() <= with.limit);
    require(message.block_size() <= 2 * message.size() + 1);
    require(!with.is_text || websocket::is_utf8(message.view()));
    return out;
}

std::vector<outcome> inflate(const std::vector<bytes_view>& messages, const settings& with, std::size_t step) {
    websocket::codec_pool pool{1, 8};
    inflater machine{pool, with.context_takeover, with.window_bits};
    std::vector<outcome> out;
    for (const bytes_view each : messages) {
        out.push_back(next(machine, each, with, step));
        if (out.back().status != inflater::status::good) break;  // the connection ends
    }
    return out;
}

void inflate_anything(const std::vector<bytes_view>& messages, settings with, std::size_t step) {
    // With a smaller window, a stream that reaches beyond it may or may not be refused.
    with.window_bits = 15;
    const auto in_pieces = inflate(messages, with, step);
    require(in_pieces == inflate(messages, with, 1'000'000));
    with.window_bits = 9;
    (void)inflate(messages, with, step);
}

void there_and_back(const std::vector<bytes_view>& messages, settings with, std::size_t step, int level, int memory) {
    websocket::codec_pool pool{level, memory};
    const deflate_options options{.level = level, .memory_level = memory, .threshold = 0};
    websocket::deflater out{pool, options, with.context_takeover, with.window_bits};
    inflater in{pool, with.context_takeover, with.window_bits};
    with.is_text = false;
    for (const bytes_view each : messages) {
        const bytes_view parts[] = {each.first(each.size() / 3), each.subspan(each.size() / 3)};
        const auto compressed = out.deflate(parts);
        if (!compressed) {
            require(!with.context_takeover || each.empty() || with.window_bits == 8);
            continue;
        }
        require(with.context_takeover || compressed->size() < each.size());
        with.limit = each.size();
        const outcome result = next(in, compressed->view(), with, step);
        require(result.status == inflater::status::good && result.message == as_text(each));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return 0;
    const unsigned flags = data[0];
    bytes_view input = std::as_bytes(std::span{data, size}).subspan(3);
    const settings with{.context_takeover = (flags & 2U) != 0,
                        .is_text = (flags & 4U) != 0,
                        .limit = std::size_t{data[1]} << (data[2] & 15U),
                        .window_bits = 8 + static_cast<int>(data[1] & 7U)};
    const std::size_t step = 1 + (flags >> 4U) * (flags >> 4U);
    const std::size_t scale = (flags & 8U) != 0 ? 61 : 1;
    std::vector<bytes_view> messages;
    while (!input.empty()) {
        const std::size_t piece = std::min(std::to_integer<std::size_t>(input[0]) * scale, input.size() - 1);
        messages.push_back(input.subspan(1, piece));
        input = input.subspan(1 + piece);
    }
    if ((flags & 1U) != 0) there_and_back(messages, with, step, 1 + data[2] % 9, 1 + (data[2] >> 4U) % 9);
    else inflate_anything(messages, with, step);
    return 0;
}
