#include <kephas/proto/websocket/decoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <algorithm>

using namespace kephas;
using namespace kephas::test;
using websocket::decoder;
using websocket::opcode;
using websocket::role;

namespace {

std::string pattern(std::size_t size) {
    std::string out(size, ' ');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
    return out;
}

/// What the assembly buffer may hold when `arrived` bytes of a message have come.
std::size_t allowed(std::size_t arrived) { return std::max<std::size_t>(256, 2 * arrived); }

}  // namespace

TEST_CASE("a message that arrived complete is a part of the input, unmasked where it lies") {
    const slice input = slice::copy(text("Hello") + ping("p") + binary("last"));
    const std::byte* const begin = input.data();
    decoder machine{role::server};
    machine.feed(slice{input});
    const auto first = machine.next();
    REQUIRE(first);
    CHECK(first->payload.data() == begin + 6);
    const auto second = machine.next();
    REQUIRE(second);
    CHECK(second->payload.data() == begin + 11 + 6);
    const auto third = machine.next();
    REQUIRE(third);
    CHECK(third->payload.data() == begin + 11 + 7 + 6);
    CHECK(to_text(third->payload.view()) == "last");
    CHECK_FALSE(machine.next());
}

TEST_CASE("the input is let go as soon as it is consumed") {
    SUBCASE("in the middle of a header") {
        const slice input = slice::copy(bytes_view{binary("message")}.first(3));
        decoder machine{role::server};
        machine.feed(slice{input});
        CHECK_FALSE(input.unique());
        CHECK_FALSE(machine.next());
        CHECK(input.unique());
    }
    SUBCASE("in the middle of a payload") {
        const slice input = slice::copy(bytes_view{binary("message")}.first(9));
        decoder machine{role::server};
        machine.feed(slice{input});
        CHECK_FALSE(machine.next());
        CHECK(input.unique());
    }
    SUBCASE("in the middle of a control frame") {
        const slice input = slice::copy(bytes_view{ping("message")}.first(9));
        decoder machine{role::server};
        machine.feed(slice{input});
        CHECK_FALSE(machine.next());
        CHECK(input.unique());
    }
    SUBCASE("with the last message, before next() says that there is none") {
        const slice input = slice::copy(binary("message"));
        decoder machine{role::server};
        machine.feed(slice{input});
        {
            const auto message = machine.next();
            REQUIRE(message);
            CHECK_FALSE(input.unique());
        }
        CHECK(input.unique());
    }
    SUBCASE("by a message without payload") {
        const slice input = slice::copy(binary(""));
        decoder machine{role::server};
        machine.feed(slice{input});
        const auto message = machine.next();
        REQUIRE(message);
        CHECK(input.unique());
    }
    SUBCASE("by a violation") {
        const slice input = slice::copy("83 80 00000000 ffff"_hex);
        decoder machine{role::server};
        machine.feed(slice{input});
        CHECK_FALSE(machine.next());
        CHECK(machine.failed());
        CHECK(input.unique());
    }
}

TEST_CASE("input that comes before the earlier was consumed is not lost") {
    decoder machine{role::server};
    machine.feed(slice::copy(text("one") + text("two")));
    CHECK(machine.next());
    machine.feed(slice::copy(text("three")));
    const auto two = machine.next();
    REQUIRE(two);
    CHECK(line(*two) == "text two");
    const auto three = machine.next();
    REQUIRE(three);
    CHECK(line(*three) == "text three");
}

TEST_CASE("a header that announces 10 MiB costs what has arrived of them") {
    const bytes input = binary(pattern(10 * 1024 * 1024));
    for (const std::size_t arrived : {0U, 1U, 100U, 4096U, 5000U, 100'000U}) {
        decoder machine{role::server};
        machine.feed(slice::copy(bytes_view{input}.first(14 + arrived)));
        CHECK_FALSE(machine.next());
        CHECK(machine.unfinished());
        CHECK(machine.arrived() == arrived);
        CHECK(machine.capacity() <= (arrived == 0 ? 0 : allowed(arrived)));
        CHECK(machine.want().size() <= arrived);
    }
}

TEST_CASE("10 MiB are read straight to where they will live") {
    const std::string payload = pattern(10 * 1024 * 1024);
    const bytes input = binary(payload) + binary("next");
    decoder machine{role::server};
    bytes_view rest = input;
    std::size_t direct = 0;
    std::optional<websocket::decoded> message;
    const std::byte* last_span = nullptr;
    while (!message) {
        REQUIRE_FALSE(rest.empty());
        std::size_t size = std::min<std::size_t>(rest.size(), 64 * 1024);
        const mutable_bytes span = machine.want();
        if (span.empty()) {
            machine.feed(slice::copy(rest.first(size)));
        } else {
            size = std::min(size, span.size());
            std::memcpy(span.data(), rest.data(), size);
            machine.commit(size);
            direct += size;
            last_span = span.data();
        }
        rest = rest.subspan(size);
        message = machine.next();
        if (!message) CHECK(machine.capacity() <= allowed(machine.arrived()));
    }
    CHECK(direct > payload.size() - 128 * 1024);
    REQUIRE(message->payload.size() == payload.size());
    CHECK(as_text(message->payload.view()) == payload);
    // the last span lies inside the message: it left without a copy
    CHECK(last_span > message->payload.data());
    CHECK(last_span < message->payload.data() + message->payload.size());
    CHECK(message->payload.block_size() == payload.size());
    CHECK(machine.capacity() == 0);

    lines after;
    while (auto event = machine.next()) after.push_back(line(*event));
    if (!rest.empty()) machine.feed(slice::copy(rest));
    while (auto event = machine.next()) after.push_back(line(*event));
    CHECK(after == lines{"binary next"});
}

TEST_CASE("a wanted span never reaches beyond the frame") {
    const bytes input = bytes{frame{opcode::text, pattern(40'000), false}} + ping("between") +
                        frame{opcode::continuation, pattern(30'000)} + text("next");
    decoder_driver driver;
    bytes_view rest = input;
    while (!rest.empty()) {  // as much as there is room for, at every turn
        const mutable_bytes span = driver.decoder.want();
        const std::size_t size = std::min(rest.size(), span.empty() ? 5'000 : span.size());
        driver.feed(rest.first(size));
        rest = rest.subspan(size);
    }
    CHECK(driver.direct_bytes > 40'000);
    CHECK(driver.events == lines{"ping between", "text " + pattern(40'000) + pattern(30'000), "text next"});
}

TEST_CASE("text that is read directly is checked as it arrives") {
    std::string payload = pattern(100'000);
    payload[60'000] = '\xFF';
    const bytes input = text(payload);
    decoder_driver driver;
    driver.feed(bytes_view{input}.first(60'000));
    CHECK(driver.events.empty());
    CHECK(driver.direct_bytes == 0);
    REQUIRE(driver.decoder.want().size() > 100);
    driver.feed(bytes_view{input}.subspan(60'000, 100));
    CHECK(driver.direct_bytes > 0);
    CHECK(driver.events == lines{"failed 1007 text is not UTF-8"});
    CHECK(driver.decoder.capacity() == 0);
}

TEST_CASE("more is never committed than was wanted") {
    decoder machine{role::server};
    machine.commit(100);
    CHECK_FALSE(machine.next());
    CHECK_FALSE(machine.unfinished());
    machine.feed(slice::copy(binary("fine")));
    CHECK(machine.next());
}

TEST_CASE("small payloads in pieces get a buffer of their size") {
    const bytes input = binary(pattern(100));
    decoder machine{role::server};
    machine.feed(slice::copy(bytes_view{input}.first(50)));
    CHECK_FALSE(machine.next());
    CHECK(machine.capacity() == 100);
    machine.feed(slice::copy(bytes_view{input}.subspan(50)));
    const auto message = machine.next();
    REQUIRE(message);
    CHECK(message->payload.block_size() == 100);
    CHECK(to_text(message->payload.view()) == pattern(100));
}

TEST_CASE("many small fragments cost twice their bytes at most") {
    decoder machine{role::server};
    machine.feed(slice::copy(bytes{frame{opcode::binary, "x", false}}));
    CHECK_FALSE(machine.next());
    for (int i = 0; i < 3000; ++i) {
        machine.feed(slice::copy(bytes{frame{opcode::continuation, "x", false}}));
        REQUIRE_FALSE(machine.next());
        REQUIRE(machine.capacity() <= allowed(machine.arrived()));
    }
    CHECK(machine.arrived() == 3001);
}
