// What the pure core costs per message: encoding and decoding, small and large.
#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>
#include <kephas/proto/websocket/decoder.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <vector>

using namespace kephas;

namespace {

constexpr command_id id{0x0100};

void encode_command_frame(benchmark::State& state) {
    const std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)), std::byte{'x'});
    for (auto _ : state) benchmark::DoNotOptimize(encode_command(id, payload));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(encode_command_frame)->Arg(32)->Arg(16 * 1024);

void decode_command_frame(benchmark::State& state) {
    const auto message = encode_command(id, std::vector<std::byte>(static_cast<std::size_t>(state.range(0))));
    for (auto _ : state) benchmark::DoNotOptimize(decode_command(message));
}
BENCHMARK(decode_command_frame)->Arg(32)->Arg(16 * 1024);

/// Masked frames in one slab, as a read brings them: the copy that restores the mask is a part of what is measured.
void decode_websocket_frames(benchmark::State& state) {
    constexpr std::size_t frames = 32;
    const auto size = static_cast<std::size_t>(state.range(0));
    std::vector<std::byte> input;
    for (std::size_t i = 0; i < frames; ++i) {
        std::array<std::byte, websocket::max_header_size> head;
        const std::size_t head_size =
            websocket::encode_header(head, websocket::opcode::binary, size, websocket::mask_key{0x12345678});
        input.insert(input.end(), head.begin(), head.begin() + static_cast<std::ptrdiff_t>(head_size));
        input.resize(input.size() + size);
    }
    const websocket::decoder_options options;
    websocket::decoder decoder{websocket::role::server, options};
    slice slab = slice::allocate(input.size());
    for (auto _ : state) {
        std::memcpy(slab.data(), input.data(), input.size());
        decoder.feed(slab.sub(0, slab.size()));
        while (auto message = decoder.next()) benchmark::DoNotOptimize(message->payload.data());
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(frames));
}
BENCHMARK(decode_websocket_frames)->Arg(32)->Arg(4 * 1024);

void parse_jsonrpc_request(benchmark::State& state) {
    const std::string text = R"({"jsonrpc":"2.0","method":"math.add","params":[1,2],"id":1})";
    for (auto _ : state) benchmark::DoNotOptimize(jsonrpc::parse(text));
}
BENCHMARK(parse_jsonrpc_request);

}  // namespace

BENCHMARK_MAIN();
