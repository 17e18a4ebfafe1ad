#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/stream_decoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <algorithm>

using namespace kephas;
using namespace kephas::test;

namespace {

constexpr std::size_t limit = 10 * 1024 * 1024 + 4;

std::string pattern(std::size_t size) {
    std::string out(size, ' ');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
    return out;
}

/// A message by the book: the length, the id, the payload.
bytes message(std::uint32_t id, std::string_view payload) {
    bytes out(8);
    store_big_endian(out.data(), static_cast<std::uint32_t>(4 + payload.size()));
    store_big_endian(out.data() + 4, id);
    return out + to_bytes(payload);
}

/// "id payload", "keep-alive", "failed 1002 why"
class driver {
public:
    explicit driver(std::size_t max_message = limit) : decoder{max_message} {}

    void feed(bytes_view input) {
        while (!input.empty()) {
            std::size_t size = input.size();
            if (const mutable_bytes span = decoder.want(); !span.empty()) {
                size = std::min(size, span.size());
                std::memcpy(span.data(), input.data(), size);
                decoder.commit(size);
                direct_bytes += size;
            } else {
                decoder.feed(slice::copy(input));
            }
            input = input.subspan(size);
            drain();
            CHECK(decoder.capacity() <= std::max<std::size_t>(256, 2 * decoder.arrived()));
        }
    }

    stream_decoder decoder;
    lines events;
    std::size_t direct_bytes = 0;

private:
    void drain() {
        while (const auto next = decoder.next()) {
            if (const auto command = decode_command(next->view())) {
                events.push_back(std::to_string(static_cast<std::uint32_t>(command->id)) + " " + to_text(command->payload));
            } else {
                CHECK(next->empty());
                events.emplace_back("keep-alive");
            }
        }
        if (decoder.failed() && !reported_) {
            reported_ = true;
            const auto why = decoder.failure();
            events.push_back("failed " + std::to_string(static_cast<unsigned>(why.code)) + " " + why.reason);
        }
    }

    bool reported_ = false;
};

/// The same whole, in steps and at every split.
lines decode_stream(const bytes& input, std::size_t max_message = limit) {
    driver whole{max_message};
    whole.feed(input);
    for (const std::size_t step : {1U, 2U, 3U, 5U, 7U, 1000U}) {
        driver in_steps{max_message};
        for (bytes_view rest = input; !rest.empty(); rest = rest.subspan(std::min(step, rest.size()))) {
            in_steps.feed(rest.first(std::min(step, rest.size())));
        }
        CHECK(in_steps.events == whole.events);
    }
    const std::size_t stride = std::max<std::size_t>(1, input.size() / 400);
    for (std::size_t split = 0; split < input.size(); split += split < 64 ? 1 : stride) {
        driver in_two{max_message};
        in_two.feed(bytes_view{input}.first(split));
        in_two.feed(bytes_view{input}.subspan(split));
        CHECK(in_two.events == whole.events);
    }
    return whole.events;
}

}  // namespace

TEST_CASE("a message is a length in network byte order and a command frame") {
    CHECK(decode_stream("00000009 00000001 68656c6c6f"_hex) == lines{"1 hello"});
    CHECK(decode_stream("00000004 00000200"_hex) == lines{"512 "});
    CHECK(decode_stream("00000005 ffffffff 7b"_hex) == lines{"4294967295 {"});
}

TEST_CASE("many messages in one read come out in order") {
    bytes input;
    lines expected;
    for (std::uint32_t i = 0; i < 20; ++i) {
        input = input + message(i, "message " + std::to_string(i)) + message(i, "");
        expected.push_back(std::to_string(i) + " message " + std::to_string(i));
        expected.push_back(std::to_string(i) + " ");
    }
    CHECK(decode_stream(input) == expected);
}

TEST_CASE("a length of zero is a keep-alive, wherever it stands") {
    CHECK(decode_stream("00000000"_hex) == lines{"keep-alive"});
    CHECK(decode_stream("00000000 00000000"_hex + message(7, "x") + "00000000"_hex) ==
          lines{"keep-alive", "keep-alive", "7 x", "keep-alive"});
}

TEST_CASE("a length without room for an id is a violation, behind what was complete before it") {
    for (const auto& bad : {"00000001"_hex, "00000002"_hex, "00000003"_hex}) {
        CHECK(decode_stream(message(7, "good") + bad + message(8, "ignored")) ==
              lines{"7 good", "failed 1002 Invalid message format"});
    }
}

TEST_CASE("a length above the limit is decided when it is there, before anything is kept") {
    const std::string reason = "failed 1009 binary message exceeds the limit of 100 bytes";
    CHECK(decode_stream(message(1, pattern(96)), 100) == lines{"1 " + pattern(96)});
    CHECK(decode_stream(message(1, pattern(97)), 100) == lines{reason});
    CHECK(decode_stream("00000065"_hex, 100) == lines{reason});
    CHECK(decode_stream("ffffffff"_hex, 100) == lines{reason});
    CHECK(decode_stream(message(1, "good") + to_bytes("GET / HTTP/1.1\r\n\r\n"), 100) == lines{"1 good", reason});
    driver hostile;
    hostile.feed("ffffffff"_hex);
    CHECK(hostile.decoder.failed());
    CHECK(hostile.decoder.capacity() == 0);
}

TEST_CASE("after a violation nothing more is read") {
    driver stream;
    stream.feed("00000003"_hex);
    stream.feed(message(1, "late"));
    CHECK(stream.events == lines{"failed 1002 Invalid message format"});
    CHECK_FALSE(stream.decoder.pending());
    CHECK_FALSE(stream.decoder.unfinished());
    CHECK(stream.decoder.want().empty());
}

TEST_CASE("a message that arrived complete is a part of the input") {
    const slice input = slice::copy(message(1, "Hello") + "00000000"_hex + message(2, "last"));
    stream_decoder decoder{limit};
    decoder.feed(slice{input});
    const auto first = decoder.next();
    REQUIRE(first);
    CHECK(first->data() == input.data() + 4);
    CHECK(decoder.pending());
    const auto second = decoder.next();
    REQUIRE(second);
    CHECK(second->empty());
    const auto third = decoder.next();
    REQUIRE(third);
    CHECK(third->data() == input.data() + 13 + 4 + 4);
    CHECK_FALSE(decoder.pending());
    CHECK_FALSE(decoder.next());
}

TEST_CASE("the input is let go as soon as it is consumed") {
    const auto let_go = [](const bytes& wire) {
        const slice input = slice::copy(wire);
        stream_decoder decoder{limit};
        decoder.feed(slice{input});
        CHECK_FALSE(input.unique());
        (void)decoder.next();
        return input.unique();
    };
    CHECK(let_go("000000"_hex));
    CHECK(let_go("00000000"_hex));
    CHECK(let_go(bytes{"00000009 00000001 68"_hex}));
    CHECK(let_go("00000001"_hex));
    CHECK(let_go(message(1, "whole")));  // with the message, which is gone
}

TEST_CASE("input that comes before the earlier was consumed is not lost") {
    stream_decoder decoder{limit};
    decoder.feed(slice::copy(message(1, "one") + message(2, "two")));
    CHECK(decoder.next());
    decoder.feed(slice::copy(message(3, "three")));
    const auto two = decoder.next();
    REQUIRE(two);
    CHECK(to_text(two->view().subspan(4)) == "two");
    const auto three = decoder.next();
    REQUIRE(three);
    CHECK(to_text(three->view().subspan(4)) == "three");
}

TEST_CASE("a length that announces 10 MiB costs what has arrived of them") {
    const bytes input = message(1, pattern(10 * 1024 * 1024));
    for (const std::size_t arrived : {0U, 1U, 100U, 4096U, 5000U, 100'000U}) {
        stream_decoder decoder{limit};
        decoder.feed(slice::copy(bytes_view{input}.first(4 + arrived)));
        CHECK_FALSE(decoder.next());
        CHECK(decoder.unfinished());
        CHECK(decoder.arrived() == arrived);
        CHECK(decoder.capacity() <= (arrived == 0 ? 0 : std::max<std::size_t>(256, 2 * arrived)));
        CHECK(decoder.want().size() <= arrived);
    }
}

TEST_CASE("10 MiB are read straight to where they will live") {
    const std::string payload = pattern(10 * 1024 * 1024);
    driver stream;
    const bytes input = message(1, payload) + message(2, "next");
    for (bytes_view rest = input; !rest.empty();) {
        const std::size_t size = std::min<std::size_t>(rest.size(), 64 * 1024);
        stream.feed(rest.first(size));
        rest = rest.subspan(size);
    }
    CHECK(stream.direct_bytes > payload.size() - 128 * 1024);
    REQUIRE(stream.events.size() == 2);
    CHECK(stream.events[0] == "1 " + payload);
    CHECK(stream.events[1] == "2 next");
    CHECK(stream.decoder.capacity() == 0);
}

TEST_CASE("a wanted span never reaches beyond the message") {
    const bytes input = message(1, pattern(40'000)) + message(2, "next");
    driver stream;
    for (bytes_view rest = input; !rest.empty();) {  // as much as there is room for, at every turn
        const mutable_bytes span = stream.decoder.want();
        const std::size_t size = std::min(rest.size(), span.empty() ? 5'000 : span.size());
        stream.feed(rest.first(size));
        rest = rest.subspan(size);
    }
    CHECK(stream.direct_bytes > 20'000);
    CHECK(stream.events == lines{"1 " + pattern(40'000), "2 next"});
}

TEST_CASE("more is never committed than was wanted") {
    stream_decoder decoder{limit};
    decoder.commit(100);
    CHECK_FALSE(decoder.next());
    CHECK_FALSE(decoder.unfinished());
    decoder.feed(slice::copy(message(1, "fine")));
    CHECK(decoder.next());
}

TEST_CASE("a stream is unfinished between the first byte of a length and the last of its message") {
    const bytes input = message(1, "x");
    stream_decoder decoder{limit};
    CHECK_FALSE(decoder.unfinished());
    for (std::size_t i = 0; i < input.size(); ++i) {
        decoder.feed(slice::copy(bytes_view{input}.subspan(i, 1)));
        CHECK(decoder.next().has_value() == (i + 1 == input.size()));
        CHECK(decoder.unfinished() == (i + 1 < input.size()));
    }
}

TEST_CASE("a stopped decoder lets go of everything and reads no more") {
    stream_decoder decoder{limit};
    decoder.feed(slice::copy(bytes_view{message(1, pattern(20'000))}.first(9'000)));
    CHECK_FALSE(decoder.next());
    CHECK(decoder.capacity() > 0);
    decoder.stop();
    CHECK(decoder.capacity() == 0);
    CHECK_FALSE(decoder.failed());
    decoder.feed(slice::copy(message(1, "late")));
    CHECK_FALSE(decoder.next());
}
