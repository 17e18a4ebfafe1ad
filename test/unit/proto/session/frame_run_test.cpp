#include <kephas/proto/session/frame_run.hpp>

#include <doctest/doctest.h>
#include <support/hex.hpp>

#include <string>
#include <vector>

using namespace kephas;
using namespace kephas::test::literals;

TEST_CASE("frames lie one behind the other, with the header and the id of a command") {
    std::vector<std::byte> memory(1024);
    frame_run run{memory, 10};
    CHECK(run.empty());
    CHECK(run.add(websocket::opcode::binary, command_id{0x01020304}, as_bytes("hi")));
    CHECK(run.add(websocket::opcode::text, std::nullopt, as_bytes("")));
    CHECK(run.add(websocket::opcode::text, std::nullopt, as_bytes(std::string(200, 'x'))));
    CHECK(run.frames() == 3);
    std::string expected{as_text("8206 01020304 6869  8100  817E 00C8"_hex)};
    expected += std::string(200, 'x');
    CHECK(as_text(run.bytes()) == expected);
}

TEST_CASE("a run that has no room for a frame, or holds as many as it may, is as it was") {
    std::vector<std::byte> memory(100);
    frame_run small{memory, 10};
    CHECK(small.add(websocket::opcode::text, std::nullopt, as_bytes(std::string(50, 'x'))));
    CHECK_FALSE(small.add(websocket::opcode::text, std::nullopt, as_bytes(std::string(50, 'x'))));
    CHECK(small.frames() == 1);
    CHECK(small.bytes().size() == 52);
    CHECK(small.add(websocket::opcode::text, std::nullopt, as_bytes("y")));

    frame_run few{memory, 1};
    CHECK(few.add(websocket::opcode::text, std::nullopt, {}));
    CHECK_FALSE(few.add(websocket::opcode::text, std::nullopt, {}));
    few.clear();
    CHECK(few.empty());
    CHECK(few.add(websocket::opcode::text, std::nullopt, {}));
}

TEST_CASE("a run tells where the last whole frame ends") {
    std::vector<std::byte> memory(70'000);
    frame_run run{memory, 10};
    REQUIRE(run.add(websocket::opcode::text, std::nullopt, as_bytes("abc")));                        // 5 bytes
    REQUIRE(run.add(websocket::opcode::binary, command_id{1}, as_bytes(std::string(300, 'x'))));     // 308
    REQUIRE(run.add(websocket::opcode::binary, std::nullopt, as_bytes(std::string(66'000, 'x'))));  // 66,010
    const auto whole = [&](std::size_t size) {
        std::size_t frames = 0;
        const std::size_t end = run.whole(size, frames);
        return std::pair{end, frames};
    };
    CHECK(whole(0) == std::pair{0UL, 0UL});
    CHECK(whole(4) == std::pair{0UL, 0UL});
    CHECK(whole(5) == std::pair{5UL, 1UL});
    CHECK(whole(312) == std::pair{5UL, 1UL});
    CHECK(whole(313) == std::pair{313UL, 2UL});
    CHECK(whole(66'322) == std::pair{313UL, 2UL});
    CHECK(whole(66'323) == std::pair{66'323UL, 3UL});
}
