#include <kephas/proto/websocket/encoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <array>

using namespace kephas;
using namespace kephas::test;
using websocket::opcode;

namespace {

template <class Encode>
bytes written(Encode encode) {
    std::array<std::byte, websocket::max_control_frame> out{};
    const std::size_t size = encode(std::span{out});
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)};
}

bytes header(opcode op, std::uint64_t size) {
    return written([&](auto out) { return websocket::encode_header(out.template first<10>(), op, size); });
}

const auto key_bytes = "37 fa 21 3d"_hex;
const auto key = websocket::load_mask_key(key_bytes.data());

}  // namespace

TEST_CASE("a header has the shortest length there is") {  // RFC 6455 5.2 and 5.7
    CHECK(header(opcode::text, 5) == "81 05"_hex);
    CHECK(header(opcode::binary, 0) == "82 00"_hex);
    CHECK(header(opcode::binary, 125) == "82 7d"_hex);
    CHECK(header(opcode::binary, 126) == "82 7e 007e"_hex);
    CHECK(header(opcode::binary, 256) == "82 7e 0100"_hex);
    CHECK(header(opcode::binary, 65535) == "82 7e ffff"_hex);
    CHECK(header(opcode::binary, 65536) == "82 7f 0000000000010000"_hex);
}

TEST_CASE("a client's header ends with the masking key") {
    const auto masked = [](std::uint64_t size) {
        return written([&](auto out) {
            return websocket::encode_header(out.template first<websocket::max_header_size>(), opcode::text, size, key);
        });
    };
    CHECK(masked(5) == "81 85 37fa213d"_hex);
    CHECK(masked(126) == "81 fe 007e 37fa213d"_hex);
    CHECK(masked(65536) == "81 ff 0000000000010000 37fa213d"_hex);
}

TEST_CASE("control frames are complete, masked or not") {  // RFC 6455 5.7
    const auto control = [](opcode op, std::string_view payload, std::optional<websocket::mask_key> mask = {}) {
        return written([&](auto out) { return websocket::encode_control(out, op, as_bytes(payload), mask); });
    };
    CHECK(control(opcode::ping, "Hello") == "89 05 48 65 6c 6c 6f"_hex);
    CHECK(control(opcode::pong, "Hello", key) == "8a 85 37 fa 21 3d 7f 9f 4d 51 58"_hex);
    CHECK(control(opcode::ping, "") == "89 00"_hex);
    CHECK(control(opcode::ping, std::string(125, 'x')).size() == 127);
    CHECK(control(opcode::ping, std::string(125, 'x'), key).size() == 131);
    CHECK(control(opcode::ping, std::string(126, 'x')).size() == 127);  // cut
}

TEST_CASE("a close frame has a code and a reason that fits, or nothing") {
    const auto closing = [](close_code code, std::string_view reason, std::optional<websocket::mask_key> mask = {}) {
        return written([&](auto out) { return websocket::encode_close(out, code, reason, mask); });
    };
    CHECK(closing(close_code::normal, "") == "88 02 03e8"_hex);
    CHECK(closing(close_code::slow_consumer, "slow") == "88 06 0bc0 736c6f77"_hex);
    CHECK(closing(close_code::normal, "", key) == "88 82 37fa213d 3412"_hex);
    CHECK(closing(close_code::no_status, "ignored") == "88 00"_hex);
    CHECK(closing(close_code::abnormal, "never on the wire") == "88 00"_hex);
    CHECK(closing(close_code::normal, std::string(200, 'x')).size() == 127);
}
