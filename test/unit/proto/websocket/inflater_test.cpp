#include <kephas/proto/websocket/inflater.hpp>

#include <doctest/doctest.h>
#include <support/deflate.hpp>
#include <support/hex.hpp>
#include <support/websocket.hpp>

#include <algorithm>
#include <array>
#include <string>

using namespace kephas;
using namespace kephas::test;
using websocket::inflater;

namespace {

constexpr std::size_t no_limit = 100'000'000;

std::string name(inflater::status status) {
    switch (status) {
        case inflater::status::good: return "good";
        case inflater::status::too_big: return "too big";
        case inflater::status::invalid: return "invalid";
        case inflater::status::not_utf8: return "not UTF-8";
    }
    return "?";
}

// What the next message of `machine` is, or why it is none, fed in pieces of `step` bytes.
std::string next(inflater& machine, bytes_view compressed, std::size_t step, std::size_t limit = no_limit,
                 bool is_text = false) {
    machine.begin(limit, is_text);
    if (!machine.expect(compressed.size())) return "announced too big";
    std::size_t largest = 0;
    while (!compressed.empty()) {
        const bytes_view piece = compressed.first(std::min(step, compressed.size()));
        if (const auto status = machine.consume(piece); status != inflater::status::good) return name(status);
        compressed = compressed.subspan(piece.size());
        largest = std::max(largest, machine.capacity());
    }
    CHECK(largest <= limit);
    if (const auto status = machine.finish(); status != inflater::status::good) return name(status);
    return "= " + to_text(machine.take().view());
}

// The same for messages of one connection, however they are cut.
lines inflate(const std::vector<bytes>& messages, bool takeover = true, std::size_t limit = no_limit,
              bool is_text = false, int window_bits = 15) {
    lines expected;
    for (const std::size_t step : {std::size_t{1'000'000'000}, std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{1000}}) {
        websocket::codec_pool pool{6, 8};
        inflater machine{pool, takeover, window_bits};
        lines found;
        for (const bytes& each : messages) found.push_back(next(machine, each, step, limit, is_text));
        if (expected.empty()) expected = found;
        else if (found != expected) return {"differs in steps of " + std::to_string(step), found.front()};
    }
    return expected;
}

std::string inflate(const bytes& message, std::size_t limit = no_limit, bool is_text = false) {
    return inflate(std::vector<bytes>{message}, false, limit, is_text).front();
}

}  // namespace

TEST_CASE("the examples of RFC 7692 7.2.3 are inflated as it says") {
    CHECK(inflate("f2 48 cd c9 c9 07 00"_hex) == "= Hello");                             // 7.2.3.1
    CHECK(inflate({"f2 48 cd c9 c9 07 00"_hex, "f2 00 11 00 00"_hex}) == lines{"= Hello", "= Hello"});  // 7.2.3.2
    CHECK(inflate("00 05 00 fa ff 48 65 6c 6c 6f 00"_hex) == "= Hello");                 // 7.2.3.3: not compressed
    CHECK(inflate("f3 48 cd c9 c9 07 00 00"_hex) == "= Hello");                          // 7.2.3.4: BFINAL
    CHECK(inflate("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"_hex) == "= Hello");           // 7.2.3.5: two blocks
    CHECK(inflate("00"_hex) == "= ");                                                    // 7.2.3.6: empty
}

TEST_CASE("without context takeover no message sees what another one left") {
    CHECK(inflate({"f2 48 cd c9 c9 07 00"_hex, "f2 00 11 00 00"_hex}, false) == lines{"= Hello", "invalid"});
    const bytes each = to_bytes(peer_deflater{}.message(sample_json(5000)));
    const lines expected(3, "= " + sample_json(5000));
    CHECK(inflate({each, each, each}, false) == expected);
}

TEST_CASE("a final block in the middle ends nothing, and what came before it may be referred to") {  // RFC 7692 7.2.3.4
    // final block, non-final block, final block
    CHECK(inflate("f3 48 cd c9 c9 07 00 f2 48 cd c9 c9 07 00 00 00 ff ff f3 48 cd c9 c9 07 00 00"_hex) ==
          "= HelloHelloHello");
    CHECK(inflate({"f3 48 cd c9 c9 07 00 00"_hex, "f2 00 11 00 00"_hex}) == lines{"= Hello", "= Hello"});
    CHECK(inflate("01"_hex) == "= ");  // the tail completes a final block

    // zlib that finishes each message and starts again: RFC 7692 lets it add an empty block
    peer_deflater peer;
    std::vector<bytes> messages;
    lines expected;
    for (unsigned i = 0; i < 4; ++i) {
        const std::string text = sample_json(3000, i);
        messages.push_back(to_bytes(peer.write(text, Z_FINISH) + std::string(1, '\0')));
        peer.reset();
        expected.push_back("= " + text);
    }
    CHECK(inflate(messages) == expected);
    CHECK(inflate(messages, false) == expected);
}

TEST_CASE("a message without a single byte is empty, as a compressor with nothing to flush writes it") {
    CHECK(inflate({""_hex, "f2 48 cd c9 c9 07 00"_hex, ""_hex, "f2 00 11 00 00"_hex}) ==
          lines{"= ", "= Hello", "= ", "= Hello"});
    peer_deflater peer;
    const std::string first = peer.message("Hello");
    CHECK(peer.message("") == "");
    CHECK(inflate({to_bytes(first), bytes{}, to_bytes(peer.message("Hello"))}) == lines{"= Hello", "= ", "= Hello"});
}

TEST_CASE("messages share a window of any size") {
    for (int bits = 8; bits <= 15; ++bits) {
        CAPTURE(bits);
        peer_deflater peer{std::max(bits, 9)};  // zlib takes 9 for 8, and refers no further than 8 bits reach
        std::vector<bytes> messages;
        lines expected;
        for (unsigned i = 0; i < 20; ++i) {
            const std::string text = i % 5 == 4 ? noise(40'000, i) : sample_json(i * 400, i / 2);
            messages.push_back(to_bytes(peer.message(text)));
            expected.push_back("= " + text);
        }
        CHECK(inflate(messages, true, no_limit, false, bits) == expected);
    }
}

TEST_CASE("what no other compressor wrote is inflated too: flushes in the middle, fixed codes, stored blocks") {
    for (const int strategy : {Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE, Z_FILTERED}) {
        const std::string text = sample_json(70'000);
        peer_deflater peer{15, 9, strategy};
        std::string message;
        for (std::size_t at = 0; at < text.size(); at += 9000)
            message += peer.write(std::string_view{text}.substr(at, 9000), at % 2 == 0 ? Z_FULL_FLUSH : Z_PARTIAL_FLUSH);
        message += peer.message("the end");
        CHECK(inflate(to_bytes(message)) == "= " + text + "the end");
    }
    CHECK(inflate(to_bytes(peer_deflater{15, 0}.message(noise(100'000)))) == "= " + noise(100'000));
}

TEST_CASE("what is not DEFLATE, or ends in the middle, is invalid") {
    CHECK(inflate("07"_hex) == "invalid");                                    // a reserved type of block
    CHECK(inflate("ff ff ff"_hex) == "invalid");
    CHECK(inflate("f2 00 11 00 00"_hex) == "invalid");                        // refers to what there never was
    CHECK(inflate("00 05 00 fb ff 48 65 6c 6c 6f 00"_hex) == "invalid");      // the length and its complement differ
    CHECK(inflate("f2 48 cd c9"_hex) == "invalid");                           // cut off
    CHECK(inflate("f3 48 cd c9 c9 07"_hex) == "invalid");                     // final, but not at the end of a byte
    CHECK(inflate("f2 48 cd c9 c9 07 00 00 00 ff ff"_hex) == "invalid");      // the tail was not left out
    CHECK(inflate("00 05 00 fa ff 48 65"_hex) == "invalid");                  // less than the block announces
    // every other way to cut a message short
    const bytes whole = to_bytes(peer_deflater{}.message(sample_json(300)));
    for (std::size_t size = 1; size < whole.size(); ++size)
        CHECK(inflate(bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))) == "invalid");
}

TEST_CASE("the limit is what a message inflates to, to the byte") {
    for (const std::size_t size : {0U, 1U, 127U, 128U, 129U, 5000U, 100'000U, 3'000'000U}) {
        CAPTURE(size);
        const std::string text(size, 'x');
        const bytes compressed = to_bytes(size == 0 ? std::string(1, '\0') : peer_deflater{}.message(text));
        CHECK((inflate(compressed, size) == "= " + text));
        if (size > 0) CHECK(inflate(compressed, size - 1) == "too big");
        CHECK((inflate(compressed, size + 1) == "= " + text));
    }
    CHECK(inflate(to_bytes(peer_deflater{}.message(noise(50'000))), 50'000) == "= " + noise(50'000));
}

TEST_CASE("a compressed message that is too large for anything within the limit is refused when it is announced") {
    websocket::codec_pool pool{6, 8};
    inflater machine{pool, false, 15};
    machine.begin(8000, false);
    CHECK(machine.expect(9000));  // an eighth more than the limit
    CHECK(machine.expect(1024));
    CHECK_FALSE(machine.expect(1));
    machine.begin(8000, false);
    CHECK_FALSE(machine.expect(0x7FFF'FFFF'FFFF'FFFF));
    machine.begin(static_cast<std::size_t>(-1), false);
    CHECK(machine.expect(1'000'000'000));
    // the worst that zlib makes of what it cannot compress
    for (const std::size_t size : {1U, 100U, 10'000U, 1'000'000U})
        CHECK(inflate(to_bytes(peer_deflater{15, 9, Z_FIXED}.message(noise(size))), size) == "= " + noise(size));
}

TEST_CASE("text is refused at its first impossible byte, before the rest has arrived") {
    CHECK(inflate(to_bytes(peer_deflater{}.message("h\xC3\xA9llo \xF0\x9F\x99\x82")), no_limit, true) ==
          "= h\xC3\xA9llo \xF0\x9F\x99\x82");
    CHECK(inflate(to_bytes(peer_deflater{}.message("hello \xFF")), no_limit, true) == "not UTF-8");
    CHECK(inflate(to_bytes(peer_deflater{}.message("hello \xC3")), no_limit, true) == "not UTF-8");
    CHECK(inflate(to_bytes(peer_deflater{}.message("hello \xFF"))) == "= hello \xFF");  // not text

    websocket::codec_pool pool{6, 8};
    inflater machine{pool, false, 15};
    machine.begin(no_limit, true);
    peer_deflater peer;
    CHECK(machine.consume(as_bytes(peer.write("\xC3"))) == inflater::status::good);
    CHECK(machine.consume(as_bytes(peer.write("\xC3"))) == inflater::status::not_utf8);
    CHECK(inflate(to_bytes(peer_deflater{}.write("hello \xFF") + "\xFF"), no_limit, true) == "not UTF-8");  // then invalid
    // and it counts what came first: here the text is wrong before it is too much
    CHECK(inflate(to_bytes(peer_deflater{}.message(std::string(100, '\xFF') + std::string(100'000, 'x'))), 200, true) ==
          "not UTF-8");
}

TEST_CASE("a bomb costs no more than the limit, and a message of any size about what it is") {
    constexpr std::size_t limit = 1'000'000;
    const std::string bomb = peer_deflater{15, 9}.message(std::string(50'000'000, '\0'));
    CHECK(bomb.size() < 50'100);  // 1000:1
    for (const std::size_t step : {std::size_t{1}, std::size_t{100}, bomb.size()}) {
        websocket::codec_pool pool{6, 8};
        inflater machine{pool, false, 15};
        machine.begin(limit, false);
        auto status = inflater::status::good;
        std::size_t fed = 0;
        for (; status == inflater::status::good && fed < bomb.size(); fed += step) {
            status = machine.consume(as_bytes(std::string_view{bomb}.substr(fed, step)));
            CHECK(machine.capacity() <= limit);
        }
        CHECK(status == inflater::status::too_big);
        CHECK(fed < 1200 + step);  // as soon as the byte came that says so
    }
    websocket::codec_pool pool{6, 8};
    inflater machine{pool, false, 15};
    machine.begin(no_limit, false);
    const std::string compressed = peer_deflater{}.message(sample_json(300'000));
    std::size_t too_much = 0;
    for (std::size_t at = 0; at < compressed.size(); ++at) {
        if (machine.consume(as_bytes(std::string_view{compressed}.substr(at, 1))) != inflater::status::good) FAIL("refused");
        too_much += machine.capacity() > 1024 + 12 * 2 * machine.arrived() ? 1U : 0U;
    }
    CHECK(too_much == 0);
    CHECK(machine.finish() == inflater::status::good);
    const slice message = machine.take();
    CHECK(as_text(message.view()) == sample_json(300'000));
    CHECK(message.block_size() == 300'000);
    CHECK(machine.capacity() == 0);
}

TEST_CASE("a small message does not keep a large buffer") {
    websocket::codec_pool pool{6, 8};
    inflater machine{pool, false, 15};
    for (const std::size_t size : {1U, 50U, 100U, 1000U, 10'000U, 50'000U}) {
        machine.begin(no_limit, false);
        const std::string compressed = peer_deflater{}.message(sample_json(size));
        REQUIRE(machine.consume(as_bytes(compressed)) == inflater::status::good);
        REQUIRE(machine.finish() == inflater::status::good);
        const slice message = machine.take();
        CHECK(message.size() == size);
        CHECK(message.block_size() <= 2 * size + 1);
    }
}
