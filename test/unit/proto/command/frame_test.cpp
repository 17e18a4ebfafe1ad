#include <kephas/proto/command/frame.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <array>

using namespace kephas;
using namespace kephas::test;

TEST_CASE("a command is its id in network byte order and its payload") {
    CHECK(encode_command(command_id{1}, as_bytes("hello")) == "00 00 00 01 68 65 6c 6c 6f"_hex);
    CHECK(encode_command(command_id{0x01020304}, {}) == "01 02 03 04"_hex);

    const auto message = "00 00 00 01 68 65 6c 6c 6f"_hex;
    const auto command = decode_command(message);
    REQUIRE(command);
    CHECK(command->id == command_id{1});
    CHECK(as_text(command->payload) == "hello");
    CHECK(command->payload.data() == message.data() + 4);  // a part of the message, not a copy
}

TEST_CASE("a command may have no payload") {
    const auto message = "00 00 02 00"_hex;
    const auto command = decode_command(message);
    REQUIRE(command);
    CHECK(command->id == command_id{0x0200});
    CHECK(command->payload.empty());
}

TEST_CASE("a message shorter than an id is no command") {
    const auto message = "00 00 00"_hex;
    for (std::size_t size = 0; size < 4; ++size) CHECK_FALSE(decode_command(bytes_view{message}.first(size)));
}

TEST_CASE("what is encoded is decoded as it was, and encoding leaves it alone") {
    for (const std::uint32_t id : {0U, 1U, 0xFFU, 0x0100U, 0x80000000U, 0xFFFFFFFDU, 0xFFFFFFFFU}) {
        for (const std::size_t size : {0U, 1U, 4U, 1000U}) {
            const bytes payload(size, std::byte{0xA5});
            const bytes message = encode_command(command_id{id}, payload);
            CHECK(payload == bytes(size, std::byte{0xA5}));
            const auto command = decode_command(message);
            REQUIRE(command);
            CHECK(command->id == command_id{id});
            CHECK(bytes(command->payload.begin(), command->payload.end()) == payload);
        }
    }
}

TEST_CASE("two ids are kept by the framework") {
    CHECK(command_jsonrpc == command_id{0xFFFFFFFF});
    CHECK(command_jsonrpc_error == command_id{0xFFFFFFFE});
    CHECK(is_reserved(command_jsonrpc));
    CHECK(is_reserved(command_jsonrpc_error));
    CHECK_FALSE(is_reserved(command_id{0xFFFFFFFD}));
    CHECK_FALSE(is_reserved(command_id{0}));
}

TEST_CASE("the head of a server's frame is the WebSocket header and the command id in one go") {
    const auto head = [](websocket::opcode op, std::optional<command_id> id, std::size_t size) {
        std::array<std::byte, max_server_frame_head> out{};
        const std::size_t used = server_frame_head(out, op, id, size);
        return bytes(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(used));
    };
    using websocket::opcode;
    CHECK(head(opcode::binary, command_id{1}, 5) == "82 09 00000001"_hex);
    CHECK(head(opcode::binary, command_id{0x0200}, 0) == "82 04 00000200"_hex);
    CHECK(head(opcode::binary, command_id{1}, 121) == "82 7d 00000001"_hex);
    CHECK(head(opcode::binary, command_id{1}, 122) == "82 7e 007e 00000001"_hex);
    CHECK(head(opcode::binary, command_id{1}, 65531) == "82 7e ffff 00000001"_hex);
    CHECK(head(opcode::binary, command_id{1}, 65532) == "82 7f 0000000000010000 00000001"_hex);
    CHECK(head(opcode::text, std::nullopt, 5) == "81 05"_hex);
    CHECK(head(opcode::text, std::nullopt, 65536) == "81 7f 0000000000010000"_hex);
}

TEST_CASE("what a server sends is what a client's decoder reads") {
    std::array<std::byte, max_server_frame_head> head{};
    const std::size_t used = server_frame_head(head, websocket::opcode::binary, command_id{1}, 5);
    const bytes wire = bytes(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(used)) + to_bytes("hello");
    decoder_driver client{websocket::role::client};
    client.decoder.feed(slice::copy(wire));
    const auto message = client.decoder.next();
    REQUIRE(message);
    const auto command = decode_command(message->payload.view());
    REQUIRE(command);
    CHECK(command->id == command_id{1});
    CHECK(as_text(command->payload) == "hello");
}
