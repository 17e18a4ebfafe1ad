// A session over a stream of commands: what is other than on a WebSocket connection.
#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/session/frame_run.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/session/session_machine.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <array>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

bytes message(std::uint32_t id, std::string_view payload) {
    bytes out(8);
    store_big_endian(out.data(), static_cast<std::uint32_t>(4 + payload.size()));
    store_big_endian(out.data() + 4, id);
    return out + to_bytes(payload);
}

bytes goodbye_of(unsigned code, std::string_view reason) {
    return message(0xFFFFFFFE, R"({"jsonrpc":"2.0","error":{"code":-32000,"message":")" + std::string{reason} +
                                   R"(","data":{"close":)" + std::to_string(code) + R"(}},"id":null})");
}

const bytes keep_alive(4);

struct side {
    explicit side(session_options with = {}) : options{with}, machine{options, now} {}

    lines events() {
        lines out;
        do {
            while (const auto event = machine.poll_event()) out.push_back(describe(*event));
        } while (machine.pending_input());
        return out;
    }
    lines events(const bytes& input) {
        machine.handle(slice::copy(input), now);
        return events();
    }
    lines end(bool in_order = true) {
        machine.handle_eof(in_order);
        return events();
    }
    lines advance(duration by) {
        const time_point until = now + by;
        lines out;
        while (const auto next = machine.poll_timeout()) {
            if (*next > until) break;
            REQUIRE(*next > now);
            now = *next;
            machine.handle_timeout(now);
            const lines some = events();
            out.insert(out.end(), some.begin(), some.end());
        }
        now = until;
        machine.handle_timeout(now);
        const lines some = events();
        out.insert(out.end(), some.begin(), some.end());
        return out;
    }
    bytes control() {
        std::array<std::byte, max_goodbye> out{};
        const std::size_t size = machine.poll_control(out);
        return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)};
    }

    static std::string describe(const session_event& event) {
        if (const auto* got = std::get_if<message_received>(&event)) {
            CHECK(got->opcode == websocket::opcode::binary);
            const auto command = decode_command(got->payload.view());
            return command ? std::to_string(static_cast<std::uint32_t>(command->id)) + " " + to_text(command->payload) : "short";
        }
        if (std::holds_alternative<pong_received>(event)) return "keep-alive";
        if (const auto* got = std::get_if<close_received>(&event)) {
            return "close " + std::to_string(static_cast<unsigned>(got->code)) + " " + got->reason;
        }
        const auto& failure = std::get<session_failed>(event);
        return "failed " + std::to_string(static_cast<unsigned>(failure.code)) + " " + failure.reason +
               (failure.send_close ? "" : " (silently)");
    }

    session_options options;
    time_point now{1000s};
    session_machine machine;
};

}  // namespace

TEST_CASE("over a stream, commands come as binary messages do") {
    side server;
    CHECK(server.machine.format() == wire_format::stream);
    CHECK(server.events(message(1, "hello") + message(2, "") + keep_alive + message(3, "x")) ==
          lines{"1 hello", "2 ", "keep-alive", "3 x"});
    CHECK_FALSE(server.machine.poll_whole_message());
    CHECK_FALSE(server.machine.pending_control());
}

TEST_CASE("keep-alives have the rate of control frames, messages that of messages") {
    side server{{.messages_per_second = 1, .message_burst = 2, .controls_per_second = 1, .control_burst = 3}};
    CHECK(server.events(keep_alive + keep_alive + keep_alive + message(1, "a") + message(2, "b")) ==
          lines{"keep-alive", "keep-alive", "keep-alive", "1 a", "2 b"});
    SUBCASE("one keep-alive too many") {
        CHECK(server.events(keep_alive) == lines{"failed 1008 Control frame rate limit exceeded"});
    }
    SUBCASE("one message too many") { CHECK(server.events(message(3, "c")) == lines{"failed 1008 Rate limit exceeded"}); }
}

TEST_CASE("a length that says nothing, or too much, ends the session with the code of a WebSocket connection") {
    side first{{.max_binary_message = 100}};
    CHECK(first.events(message(1, "a") + "00000003"_hex) == lines{"1 a", "failed 1002 Invalid message format"});
    side second{{.max_binary_message = 100}};
    CHECK(second.events("00000065"_hex) == lines{"failed 1009 binary message exceeds the limit of 100 bytes"});
}

TEST_CASE("the peer's goodbye is its close frame, and is answered by one with the same code") {
    side server;
    CHECK(server.events(message(1, "a") + goodbye_of(4001, "done") + message(2, "ignored")) == lines{"1 a", "close 4001 done"});
    CHECK(server.machine.close_was_received());
    CHECK(server.machine.pending_control());
    std::array<std::byte, max_goodbye - 1> small{};
    CHECK(server.machine.poll_control(small) == 0);  // no room, nothing lost
    CHECK(server.control() == goodbye_of(4001, ""));
    CHECK(server.control().empty());
    server.machine.close_sent(server.now);
    CHECK(server.machine.done());
    CHECK(server.end().empty());
}

TEST_CASE("other errors of the peer are messages: the answers to our calls") {
    side server;
    const std::string error = R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"no"},"id":1})";
    CHECK(server.events(message(0xFFFFFFFE, error)) == lines{"4294967294 " + error});
}

TEST_CASE("an end behind a whole message is a close without a status, and is answered as a normal one") {
    side server;
    CHECK(server.events(message(1, "a")) == lines{"1 a"});
    CHECK(server.end() == lines{"close 1005 "});
    CHECK(server.control() == goodbye_of(1000, ""));
}

TEST_CASE("an end within a message, and a reset, are a lost connection") {
    const bytes whole = message(1, "abc");
    for (std::size_t size = 1; size < whole.size(); ++size) {
        side server;
        CHECK(server.events(bytes{whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}).empty());
        CHECK(server.end() == lines{"failed 1006 connection lost (silently)"});
    }
    side reset;
    CHECK(reset.end(false) == lines{"failed 1006 connection lost (silently)"});
}

TEST_CASE("after our goodbye the peer's, or its end, closes in order") {
    for (const bool says_so : {true, false}) {
        side server;
        server.machine.close_sent(server.now);
        CHECK(server.events(message(1, "too late")).empty());
        CHECK((says_so ? server.events(goodbye_of(1000, "")) : server.end()) ==
              lines{says_so ? "close 1000 " : "close 1005 "});
        CHECK_FALSE(server.machine.pending_control());
        CHECK(server.machine.done());
    }
}

TEST_CASE("a peer that does not answer our goodbye has close_timeout to do so") {
    side server{{.close_timeout = 5s}};
    server.machine.close_sent(server.now);
    CHECK(server.advance(4999ms).empty());
    CHECK(server.advance(1ms) == lines{"failed 1006 close timeout (silently)"});
}

TEST_CASE("without a close_timeout a peer that does not answer our goodbye has read_timeout, from then on") {
    side server{{.read_timeout = 60s, .close_timeout = 0s}};
    CHECK(server.advance(240h).empty());
    server.machine.close_sent(server.now);
    CHECK(server.advance(59'999ms).empty());
    CHECK(server.advance(1ms) == lines{"failed 1006 read timeout (silently)"});
}

TEST_CASE("an idle stream may be silent for ever, and nothing is sent on it") {
    side server;
    CHECK_FALSE(server.machine.poll_timeout());
    CHECK(server.advance(240h).empty());
    CHECK_FALSE(server.machine.pending_control());
    CHECK(server.events(message(1, "still here")) == lines{"1 still here"});
    CHECK_FALSE(server.machine.poll_timeout());
}

TEST_CASE("an unfinished message has its deadline, from the first byte of its length on") {
    for (const std::size_t size : {1U, 4U, 9U}) {
        side server{{.message_timeout = 60s}};
        const bytes whole = message(1, "hello");
        CHECK(server.events(bytes{whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}).empty());
        CHECK(server.advance(59s).empty());
        CHECK(server.advance(1s) == lines{"failed 1008 message timeout"});
    }
}

TEST_CASE("a slow consumer is one over a stream too") {
    side server{{.write_timeout = 10s}};
    server.machine.handle_write_progress(0, 1000, server.now);
    CHECK(server.advance(10s) == lines{"failed 3008 slow consumer"});
}

TEST_CASE("what a server sends over a stream has a length, and text goes under the id of JSON-RPC") {
    const auto head = [](websocket::opcode op, std::optional<command_id> id, std::size_t size) {
        std::array<std::byte, max_server_frame_head> out{};
        const std::size_t used = server_frame_head(out, op, id, size, wire_format::stream);
        return bytes(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(used));
    };
    using websocket::opcode;
    CHECK(head(opcode::binary, command_id{1}, 5) == "00000009 00000001"_hex);
    CHECK(head(opcode::binary, command_id{0x0200}, 0) == "00000004 00000200"_hex);
    CHECK(head(opcode::binary, command_id{1}, 65532) == "00010000 00000001"_hex);
    CHECK(head(opcode::text, std::nullopt, 2) == "00000006 ffffffff"_hex);
    CHECK(head(opcode::binary, std::nullopt, 9) == "00000009"_hex);           // a frame already
    CHECK(head(opcode::binary, std::nullopt, 3) == "00000007 ffffffff"_hex);  // no room for an id
}

TEST_CASE("short replies that leave past the queue, and what is left of them, know the wire") {
    std::array<std::byte, 256> memory{};
    frame_run run{memory, 10, wire_format::stream};
    REQUIRE(run.add(websocket::opcode::binary, command_id{1}, as_bytes("one")));
    REQUIRE(run.add(websocket::opcode::binary, command_id{2}, as_bytes("three")));
    const bytes all = message(1, "one") + message(2, "three");
    CHECK(bytes(run.bytes().begin(), run.bytes().end()) == all);
    std::size_t frames = 0;
    CHECK(run.whole(all.size() - 1, frames) == 11);
    CHECK(frames == 1);

    const outbound_limits limits;
    outbound_queue queue{limits};
    queue.put_back(run.bytes(), 5, wire_format::stream);
    CHECK(queue.messages() == 2);
    CHECK(queue.bytes() == all.size() - 5);
    std::array<bytes_view, 4> out;
    std::array<std::byte, 256> scratch{};
    REQUIRE(queue.gather(out, scratch) == 1);
    CHECK(bytes(out[0].begin(), out[0].end()) == bytes(all.begin() + 5, all.end()));
    queue.written(all.size() - 5);
    CHECK(queue.counters().written_messages == 2);
}

TEST_CASE("a goodbye of any size passes the queue as our close frame") {
    const outbound_limits limits;
    for (const std::string& reason : {std::string{}, std::string(123, 'x'), std::string(123, '"')}) {
        std::array<std::byte, max_goodbye> wire{};
        const std::size_t size = encode_goodbye(wire, close_code::slow_consumer, reason);
        for (const std::size_t step : {1U, 100U, 254U, 255U}) {
            outbound_queue queue{limits};
            CHECK(queue.push_close(bytes_view{wire}.first(size)));
            bytes left;
            while (!queue.empty()) {
                std::array<bytes_view, 4> out;
                std::array<std::byte, 512> scratch{};
                REQUIRE(queue.gather(out, scratch) == 1);
                const std::size_t taken = std::min(step, out[0].size());
                left.insert(left.end(), out[0].begin(), out[0].begin() + static_cast<std::ptrdiff_t>(taken));
                queue.written(taken);
            }
            CHECK(queue.close_written());
            CHECK(left == bytes(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(size)));
        }
    }
}
