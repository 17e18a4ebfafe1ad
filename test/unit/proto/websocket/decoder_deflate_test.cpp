#include <kephas/proto/websocket/decoder.hpp>

#include <doctest/doctest.h>
#include <support/deflate.hpp>
#include <support/websocket.hpp>

#include <memory>
#include <string>

using namespace kephas;
using namespace kephas::test;
using websocket::opcode;
using websocket::role;

namespace {

websocket::codec_pool pool{6, 8};

preparation with_deflate(bool takeover = true) {
    return [takeover](websocket::decoder& machine) {
        machine.use_deflate(std::make_unique<websocket::inflater>(pool, takeover, 15));
    };
}

lines found(const bytes& input, websocket::decoder_options options = {}, bool takeover = true) {
    return decode(input, role::server, options, with_deflate(takeover));
}

constexpr unsigned rsv1 = 4;

bytes compressed(opcode op, std::string payload, bool fin = true) { return frame{op, std::move(payload), fin, true, rsv1}; }

}  // namespace

TEST_CASE("the examples of RFC 7692 7.2.3 are read as it says") {
    const auto read = [](const bytes& input) { return decode(input, role::client, {}, with_deflate()); };
    CHECK(read("c1 07 f2 48 cd c9 c9 07 00"_hex) == lines{"text Hello"});
    CHECK(read("41 03 f2 48 cd 80 04 c9 c9 07 00"_hex) == lines{"text Hello"});
    CHECK(read("c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00"_hex) == lines{"text Hello", "text Hello"});
    CHECK(read("c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"_hex) == lines{"text Hello"});
    CHECK(read("c1 08 f3 48 cd c9 c9 07 00 00"_hex) == lines{"text Hello"});
    CHECK(read("c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"_hex) == lines{"text Hello"});
    CHECK(read("c1 01 00 c1 00 c2 00"_hex) == lines{"text", "text", "binary"});
}

TEST_CASE("compressed and uncompressed messages alternate, with fragments and control frames between") {
    peer_deflater peer;
    const std::string first = peer.message("one two three");
    const std::string second = peer.message("one two three four");
    CHECK(found(compressed(opcode::text, first) + text("plain") + ping("p") + compressed(opcode::binary, second)) ==
          lines{"text one two three", "text plain", "ping p", "binary one two three four"});
    bytes in_fragments = compressed(opcode::text, first.substr(0, 3), false) + ping("1") +
                         frame{opcode::continuation, first.substr(3, 5), false} + pong("2") +
                         frame{opcode::continuation, "", false} + frame{opcode::continuation, first.substr(8)} +
                         compressed(opcode::binary, second);
    CHECK(found(in_fragments) == lines{"ping 1", "pong 2", "text one two three", "binary one two three four"});
    CHECK(found(in_fragments + close_frame(1000))[4].starts_with("close"));
}

TEST_CASE("RSV1 stands on the first frame of a data message, after it was negotiated, and nowhere else") {  // RFC 7692 6.1
    const lines refused{"failed 1002 reserved bits are set"};
    CHECK(decode(compressed(opcode::text, "x")) == refused);
    for (const opcode op : {opcode::continuation, opcode::close, opcode::ping, opcode::pong}) CHECK(found(compressed(op, "")) == refused);
    for (const unsigned rsv : {1U, 2U, 3U, 5U, 6U, 7U}) CHECK(found(frame{opcode::text, "", true, true, rsv}) == refused);
    const std::string hello = to_text("f2 48 cd c9 c9 07 00"_hex);
    CHECK(found(compressed(opcode::text, hello.substr(0, 2), false) + compressed(opcode::continuation, hello.substr(2))) == refused);
    CHECK(found(bytes{frame{opcode::text, "a", false}} + compressed(opcode::continuation, "b")) == refused);
    CHECK(found(compressed(opcode::text, hello) + bytes{frame{opcode::text, "a", false}} + bytes{frame{opcode::continuation, "b"}}) ==
          lines{"text Hello", "text ab"});
}

TEST_CASE("invalid compressed data closes with 1007, after everything that came before it") {
    CHECK(found(text("before") + compressed(opcode::binary, "\xFF\xFF") + text("after")) ==
          lines{"text before", "failed 1007 compressed message is invalid"});
    CHECK(found(compressed(opcode::binary, "\xF2\x48")) == lines{"failed 1007 compressed message is invalid"});
    // a message too short: what it refers to was in a context that is no longer there
    CHECK(found(compressed(opcode::text, to_text("f2 48 cd c9 c9 07 00"_hex)) + compressed(opcode::text, to_text("f2 00 11 00 00"_hex)),
                {}, false) == lines{"text Hello", "failed 1007 compressed message is invalid"});
    CHECK(found(compressed(opcode::text, peer_deflater{}.message("a\xFF"))) == lines{"failed 1007 text is not UTF-8"});
    CHECK(found(compressed(opcode::text, peer_deflater{}.message("a\xC3"))) == lines{"failed 1007 text is not UTF-8"});
    CHECK(found(compressed(opcode::binary, peer_deflater{}.message("a\xC3"))) == lines{"binary a\xC3"});
}

TEST_CASE("compressed text is refused at its first impossible byte, while its frame is still arriving") {
    const std::string bad = peer_deflater{15, 0}.message("good \xFF" + std::string(200, 'x'));
    const bytes input = compressed(opcode::text, bad);
    decoder_driver driver{role::server, {}, with_deflate()};
    driver.feed(bytes_view{input}.first(40));
    CHECK(driver.events == lines{"failed 1007 text is not UTF-8"});
}

TEST_CASE("the limits are those of what a message inflates to") {
    const websocket::decoder_options options{.max_binary_message = 3000, .max_text_message = 2000};
    const auto message = [](opcode op, std::size_t size) { return compressed(op, peer_deflater{}.message(std::string(size, 'x'))); };
    CHECK(found(message(opcode::binary, 3000), options) == lines{"binary " + std::string(3000, 'x')});
    CHECK(found(message(opcode::binary, 3001), options) == lines{"failed 1009 binary message exceeds the limit of 3000 bytes"});
    CHECK(found(message(opcode::text, 2000), options) == lines{"text " + std::string(2000, 'x')});
    CHECK(found(text("a") + message(opcode::text, 2001), options) ==
          lines{"text a", "failed 1009 text message exceeds the limit of 2000 bytes"});
    // decided at the header when it is already clear there
    CHECK(found("82 7f 00 00 00 00 00 01 00 00"_hex, options, true) == lines{"failed 1002 frame is not masked"});
    CHECK(found("c2 ff 00 00 00 00 00 01 00 00 00 00 00 00"_hex, options) ==
          lines{"failed 1009 binary message exceeds the limit of 3000 bytes"});
    // fragments add up
    const std::string bomb = peer_deflater{}.message(std::string(1'000'000, 'x'));
    bytes nested = compressed(opcode::binary, "", false);
    for (const char each : bomb) nested = nested + bytes{frame{opcode::continuation, std::string(1, each), false}} + ping();
    decoder_driver driver{role::server, options, with_deflate()};
    driver.feed(nested);
    CHECK(driver.events.back() == "failed 1009 binary message exceeds the limit of 3000 bytes");
    CHECK(driver.events.size() < 30);
}

TEST_CASE("a compressed message that is being read holds at most the limit") {
    const websocket::decoder_options options{.max_binary_message = 1'000'000};
    const bytes input = compressed(opcode::binary, peer_deflater{}.message(std::string(2'000'000, 'x')));
    decoder_driver driver{role::server, options, with_deflate()};
    for (const std::byte each : input) {
        driver.feed({&each, 1});
        CHECK(driver.decoder.capacity() <= 1'000'000);
        CHECK(driver.decoder.want().empty());
        CHECK(driver.decoder.arrived() <= input.size());
    }
    CHECK(driver.events == lines{"failed 1009 binary message exceeds the limit of 1000000 bytes"});
    CHECK(driver.decoder.capacity() == 0);
}

TEST_CASE("large messages of either kind take turns") {
    const std::string large = sample_json(300'000);
    peer_deflater peer;
    const std::string first = peer.message(large);
    const std::string second = peer.message(noise(100'000));
    CHECK(found(compressed(opcode::text, first) + binary(noise(80'000)) + compressed(opcode::binary, second) + text(large)) ==
          lines{"text " + large, "binary " + noise(80'000), "binary " + noise(100'000), "text " + large});
}
