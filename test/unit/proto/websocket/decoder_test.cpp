#include <kephas/proto/websocket/decoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

using namespace kephas;
using namespace kephas::test;
using websocket::opcode;
using websocket::role;

TEST_CASE("the examples of RFC 6455 5.7 are read as it says") {
    CHECK(decode("81 05 48 65 6c 6c 6f"_hex, role::client) == lines{"text Hello"});
    CHECK(decode("81 85 37 fa 21 3d 7f 9f 4d 51 58"_hex) == lines{"text Hello"});
    CHECK(decode("01 03 48 65 6c 80 02 6c 6f"_hex, role::client) == lines{"text Hello"});
    CHECK(decode("89 05 48 65 6c 6c 6f"_hex, role::client) == lines{"ping Hello"});
    CHECK(decode("8a 85 37 fa 21 3d 7f 9f 4d 51 58"_hex) == lines{"pong Hello"});
    const std::string small(256, 'x');
    CHECK(decode("82 7e 01 00"_hex + to_bytes(small), role::client) == lines{"binary " + small});
    const std::string large(65536, 'y');
    CHECK(decode("82 7f 00 00 00 00 00 01 00 00"_hex + to_bytes(large), role::client) == lines{"binary " + large});
}

TEST_CASE("lengths of 7, 16 and 64 bits are read by either role") {
    for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 65535U, 65536U}) {
        std::string payload(size, ' ');
        for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 31);
        const lines expected{size == 0 ? "binary" : "binary " + payload, "ping"};
        CHECK(decode(binary(payload) + ping()) == expected);
        const bytes unmasked = frame{opcode::binary, payload, true, false};
        CHECK(decode(unmasked + frame{opcode::ping, "", true, false}, role::client) == expected);
    }
}

TEST_CASE("many messages in one read come out in order") {
    bytes input;
    lines expected;
    for (int i = 0; i < 20; ++i) {
        input = input + text("message " + std::to_string(i)) + binary("");
        expected.push_back("text message " + std::to_string(i));
        expected.emplace_back("binary");
    }
    CHECK(decode(input) == expected);
}

TEST_CASE("fragments become one message, and control frames between them come first") {  // RFC 6455 5.4
    const bytes input = bytes{frame{opcode::text, "Hel", false}} + ping("1") + frame{opcode::continuation, "", false} +
                        pong("2") + frame{opcode::continuation, "lo", false} + ping("3") +
                        frame{opcode::continuation, " world"} + binary("next");
    CHECK(decode(input) == lines{"ping 1", "pong 2", "ping 3", "text Hello world", "binary next"});
    CHECK(decode(bytes{frame{opcode::binary, "", false}} + frame{opcode::continuation, ""}) == lines{"binary"});
    CHECK(decode(bytes{frame{opcode::binary, "", false}} + frame{opcode::continuation, "x"}) == lines{"binary x"});
    CHECK(decode(bytes{frame{opcode::binary, "x", false}} + frame{opcode::continuation, ""}) == lines{"binary x"});
}

TEST_CASE("a fragmented message of many sizes keeps its bytes") {
    std::string whole;
    bytes input;
    for (std::size_t size : {1U, 300U, 5000U, 0U, 70000U, 3U}) {
        const std::string piece(size, static_cast<char>('a' + whole.size() % 26));
        input = input + frame{whole.empty() ? opcode::binary : opcode::continuation, piece, false} + ping();
        whole += piece;
    }
    input = input + frame{opcode::continuation, "end"};
    const lines pings(6, "ping");
    lines expected = pings;
    expected.push_back("binary " + whole + "end");
    CHECK(decode(input) == expected);
}

TEST_CASE("a character may be cut by frames") {
    const std::string euro = "\xE2\x82\xAC";
    for (std::size_t split = 0; split <= 3; ++split)
        CHECK(decode(bytes{frame{opcode::text, euro.substr(0, split), false}} +
                     frame{opcode::continuation, euro.substr(split)}) == lines{"text " + euro});
}

TEST_CASE("text that is not UTF-8 is refused") {  // RFC 6455 8.1
    const lines refused{"text fine", "failed 1007 text is not UTF-8"};
    for (const std::string bad : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "\xE2\x82", "\x80"}) {
        for (const std::size_t before : {0U, 1U, 20U, 200U}) {
            const std::string payload = std::string(before, 'a') + bad;
            CHECK(decode(text("fine") + text(payload)) == refused);
            for (std::size_t split = 0; split <= payload.size(); split += split < before ? before : 1)
                CHECK(decode(text("fine") + frame{opcode::text, payload.substr(0, split), false} +
                             frame{opcode::continuation, payload.substr(split)}) == refused);
        }
    }
    CHECK(decode(binary("\xFF")) == lines{"binary \xFF"});
}

TEST_CASE("text is refused at its first impossible byte, while its frame still arrives") {
    const bytes input = text("abc\xF4\x90" + std::string(100, 'x'));
    const std::size_t bad = 6 + 4;
    decoder_driver driver;
    driver.feed(bytes_view{input}.first(bad));
    CHECK(driver.events.empty());
    driver.feed(bytes_view{input}.subspan(bad, 1));
    CHECK(driver.events == lines{"failed 1007 text is not UTF-8"});
}

TEST_CASE("an unfinished character is refused at the end of the message and not before") {
    decoder_driver driver;
    driver.feed(bytes{frame{opcode::text, "\xE2\x82", false}});
    CHECK(driver.events.empty());
    driver.feed(bytes{frame{opcode::continuation, ""}});
    CHECK(driver.events == lines{"failed 1007 text is not UTF-8"});
}

TEST_CASE("the next text starts afresh") {
    CHECK(decode(text("\xE2\x82\xAC") + text("\x24")) == lines{"text \xE2\x82\xAC", "text $"});
}

TEST_CASE("frames that break the protocol are refused, and what was complete before comes first") {
    const auto after_a_message = [](const bytes& bad, role self = role::server) {
        const bytes good = frame{opcode::binary, "good", true, self == role::server};
        const lines found = decode(good + bad, self);
        REQUIRE(found.size() == 2);
        CHECK(found[0] == "binary good");
        return found[1];
    };
    for (unsigned rsv = 1; rsv <= 7; ++rsv)
        CHECK(after_a_message(frame{opcode::text, "", true, true, rsv}) == "failed 1002 reserved bits are set");
    for (const unsigned op : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U})
        CHECK(after_a_message(frame{opcode{static_cast<std::uint8_t>(op)}}) == "failed 1002 reserved opcode");
    CHECK(after_a_message(frame{opcode::text, "x", true, false}) == "failed 1002 frame is not masked");
    CHECK(after_a_message(frame{opcode::text, "x", true, true}, role::client) == "failed 1002 frame is masked");
    CHECK(after_a_message("82 fe 007d 00000000"_hex) == "failed 1002 length is not minimal");
    CHECK(after_a_message("82 ff 000000000000ffff 00000000"_hex) == "failed 1002 length is not minimal");
    CHECK(after_a_message("82 ff 8000000000000000 00000000"_hex) == "failed 1002 length is out of range");
    CHECK(after_a_message("82 ff ffffffffffffffff 00000000"_hex) == "failed 1002 length is out of range");
    for (const opcode op : {opcode::close, opcode::ping, opcode::pong}) {
        CHECK(after_a_message(frame{op, "", false}) == "failed 1002 control frame is fragmented");
        CHECK(after_a_message(frame{op, std::string(126, 'x')}) == "failed 1002 control frame is too long");
    }
    CHECK(after_a_message(frame{opcode::continuation, "x"}) == "failed 1002 continuation without a message");
    CHECK(after_a_message(frame{opcode::continuation, "x", false}) == "failed 1002 continuation without a message");
    CHECK(after_a_message(bytes{frame{opcode::text, "x", false}} + text("y")) ==
          "failed 1002 new message inside a fragmented one");
    CHECK(after_a_message(bytes{frame{opcode::text, "x", false}} + frame{opcode::binary, "", false}) ==
          "failed 1002 new message inside a fragmented one");
}

TEST_CASE("a violation in the first two bytes is seen when they are there") {
    decoder_driver driver;
    driver.feed("83 80"_hex);
    CHECK(driver.events == lines{"failed 1002 reserved opcode"});
}

TEST_CASE("close frames are checked") {  // RFC 6455 5.5.1 and 7.4
    CHECK(decode(frame{opcode::close, ""}) == lines{"close"});
    CHECK(decode(close_frame(1000)) == lines{"close \x03\xE8"});
    CHECK(decode(close_frame(4999, "r\xC3\xA9sum\xC3\xA9")) == lines{"close \x13\x87r\xC3\xA9sum\xC3\xA9"});
    CHECK(decode(close_frame(1000, std::string(123, 'x'))) == lines{"close \x03\xE8" + std::string(123, 'x')});
    CHECK(decode(frame{opcode::close, "\x03"}) == lines{"failed 1002 close frame is too short"});
    for (const unsigned code : {0U, 999U, 1004U, 1005U, 1006U, 1015U, 1016U, 2999U, 5000U, 65535U})
        CHECK(decode(close_frame(code)) == lines{"failed 1002 invalid close code"});
    CHECK(decode(close_frame(1000, "\xFF")) == lines{"failed 1007 close reason is not UTF-8"});
    CHECK(decode(close_frame(1000, "\xE2\x82")) == lines{"failed 1007 close reason is not UTF-8"});
}

TEST_CASE("nothing is read behind a close frame") {
    CHECK(decode(text("before") + close_frame(1000) + text("behind") + "ff ff ff"_hex) ==
          lines{"text before", "close \x03\xE8"});
    CHECK(decode(bytes{frame{opcode::text, "unfinished", false}} + close_frame(1000) +
                 frame{opcode::continuation, ""}) == lines{"close \x03\xE8"});
}

TEST_CASE("after a violation nothing more is read") {
    decoder_driver driver;
    driver.feed("83 80 00000000"_hex);
    driver.feed(text("more"));
    CHECK(driver.events == lines{"failed 1002 reserved opcode"});
    CHECK_FALSE(driver.decoder.pending());
    CHECK_FALSE(driver.decoder.unfinished());
    CHECK(driver.decoder.want().empty());
}
