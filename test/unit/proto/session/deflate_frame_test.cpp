#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/session/deflate_frame.hpp>

#include <doctest/doctest.h>
#include <support/deflate.hpp>
#include <support/websocket.hpp>

#include <optional>
#include <string>
#include <utility>

using namespace kephas;
using namespace kephas::test;
using websocket::opcode;

namespace {

websocket::codec_pool pool{6, 8};

outbound_frame make(opcode op, std::optional<command_id> id, const std::string& body, bool in_one_piece) {
    outbound_frame out;
    out.head_size = static_cast<std::uint8_t>(server_frame_head(out.head, op, id, body.size()));
    out.body = payload{body};
    if (in_one_piece) {
        out.body = payload{std::string{as_text(bytes_view{out.head}.first(out.head_size))} + body};
        out.head_size = 0;
    }
    return out;
}

bytes wire(const outbound_frame& frame) {
    bytes out(frame.head.begin(), frame.head.begin() + frame.head_size);
    const bytes_view body = frame.body.view();
    out.insert(out.end(), body.begin(), body.end());
    return out;
}

lines read(const bytes& input) {
    return decode(input, websocket::role::client, {}, [](websocket::decoder& machine) {
        machine.use_deflate(std::make_unique<websocket::inflater>(pool, true, 15));
    });
}

}  // namespace

TEST_CASE("a compressed frame is read as what it was") {
    for (const bool in_one_piece : {false, true}) {
        for (const std::size_t size : {10U, 120U, 121U, 125U, 126U, 5000U, 65'535U, 65'536U, 300'000U}) {
            CAPTURE(size);
            websocket::deflater deflater{pool, {.level = 6, .threshold = 0}, true, 15};
            const std::string body = sample_json(size);
            const outbound_frame first = deflate_frame(make(opcode::text, {}, body, in_one_piece), deflater);
            const outbound_frame second = deflate_frame(make(opcode::binary, command_id{0x41424344}, body, in_one_piece), deflater);
            CHECK(first.as_is);
            CHECK(second.as_is);
            CHECK(std::to_integer<int>(first.head[0]) == 0xC1);
            CHECK(std::to_integer<int>(second.head[0]) == 0xC2);
            CHECK((read(wire(first) + wire(second)) == lines{"text " + body, "binary ABCD" + body}));
        }
    }
}

TEST_CASE("a frame that is small, or does not become smaller, stays as it is") {
    websocket::deflater deflater{pool, {.threshold = 50}, false, 15};
    for (const std::string& body : {std::string(49, 'x'), noise(5000), std::string{}}) {
        const auto before = wire(make(opcode::text, {}, body, false));
        const outbound_frame after = deflate_frame(make(opcode::text, {}, body, false), deflater);
        CHECK_FALSE(after.as_is);
        CHECK((wire(after) == before));
    }
    CHECK(deflate_frame(make(opcode::text, {}, std::string(50, 'x'), true), deflater).as_is);
    CHECK_FALSE(deflate_frame(outbound_frame{}, deflater).as_is);
}
