// What compression costs a connection: figures that docs/running.md gives.
#include "counting_malloc.hpp"

#include <kephas/proto/websocket/decoder.hpp>
#include <kephas/proto/websocket/deflater.hpp>

#include <support/deflate.hpp>
#include <support/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

using namespace kephas;
using namespace kephas::test;

TEST_CASE("context takeover costs what the options say, from the first compressed message on") {
    for (const auto& [bits, memory] : {std::pair{15, 8}, {12, 5}, {9, 1}}) {
        websocket::codec_pool pool{1, memory};
        const deflate_options options{.memory_level = memory, .threshold = 0};
        const std::string text = sample_json(100'000);
        const std::size_t before = counts::live_bytes();
        const auto out = std::make_unique<websocket::deflater>(pool, options, true, bits);
        const auto in = std::make_unique<websocket::inflater>(pool, true, bits);
        CHECK(counts::live_bytes() - before <= 300);

        const bytes_view parts[] = {as_bytes(text)};
        auto compressed = out->deflate(parts);
        REQUIRE(compressed);
        const std::size_t sending = counts::live_bytes() - before - compressed->block_size();
        const std::string wire = to_text(compressed->view());
        const std::size_t start = counts::live_bytes();
        in->begin(1'000'000, false);
        REQUIRE(in->consume(as_bytes(wire)) == websocket::inflater::status::good);
        REQUIRE(in->finish() == websocket::inflater::status::good);
        CHECK(in->take().size() == text.size());
        const std::size_t receiving = counts::live_bytes() - start;
        fmt::print("context takeover with {} bits: {} bytes to send (memory level {}), {} to receive\n", bits, sending,
                   memory, receiving);
        CHECK(sending <= (std::size_t{1} << (bits + 2)) + (std::size_t{1} << (memory + 9)) + 7 * 1024);
        CHECK(receiving <= (std::size_t{1} << bits) + 10 * 1024);
    }
}

TEST_CASE("a bomb allocates the message limit and a context, in one frame or in fragments, and gives it back") {
    constexpr std::size_t limit = 1'000'000;
    constexpr std::size_t more = 64 * 1024;
    const std::string bomb = peer_deflater{15, 9}.message(std::string(50'000'000, '\0'));
    REQUIRE(50'000'000 / bomb.size() >= 1000);
    {
        websocket::codec_pool pool{1, 8};
        const std::size_t before = counts::live_bytes();
        websocket::inflater machine{pool, false, 15};
        machine.begin(limit, false);
        CHECK(machine.consume(as_bytes(bomb)) == websocket::inflater::status::too_big);
        const std::size_t most = counts::live_bytes() - before;  // it has let go of nothing yet
        fmt::print("a bomb in one piece: {} bytes\n", most);
        CHECK(most >= limit);
        CHECK(most <= limit + more);
    }
    for (const std::size_t step : {std::size_t{400}, std::size_t{1}}) {
        websocket::codec_pool pool{1, 8};
        websocket::decoder machine{websocket::role::server, {.max_binary_message = limit}};
        machine.use_deflate(std::make_unique<websocket::inflater>(pool, false, 15));
        const std::size_t before = counts::live_bytes();
        const std::size_t blocks = counts::allocations();
        std::size_t most = 0;
        std::size_t sent = 0;
        for (; sent < bomb.size() && !machine.failed(); sent += step) {
            const bytes input = frame{sent == 0 ? websocket::opcode::binary : websocket::opcode::continuation,
                                      bomb.substr(sent, step), sent + step >= bomb.size(), true, sent == 0 ? 4U : 0U};
            machine.feed(slice::copy(input));
            const std::size_t own = input.capacity();
            while (machine.next()) {}
            most = std::max(most, counts::live_bytes() - before - own);
        }
        REQUIRE(machine.failed());
        CHECK(machine.failure().code == close_code::message_too_big);
        fmt::print("a bomb in pieces of {} bytes, refused after {}: at most {} bytes seen, {} allocations in all\n", step,
                   std::min(sent, bomb.size()), most, counts::allocations() - blocks);
        CHECK(most <= limit + more);
        CHECK(counts::live_bytes() - before <= more);  // the context that the pool keeps
    }
}
