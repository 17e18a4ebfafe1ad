#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/command/stream_decoder.hpp>
#include <kephas/proto/json/parse.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <array>

using namespace kephas;
using namespace kephas::test;

namespace {

bytes encoded(close_code code, std::string_view reason) {
    std::array<std::byte, max_goodbye> out{};
    const std::size_t size = encode_goodbye(out, code, reason);
    CHECK(size <= max_goodbye);
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)};
}

/// What the other side reads of it.
goodbye round_trip(close_code code, std::string_view reason) {
    stream_decoder decoder{4096};
    decoder.feed(slice::copy(encoded(code, reason)));
    const auto message = decoder.next();
    REQUIRE(message);
    CHECK_FALSE(decoder.unfinished());
    const auto command = decode_command(message->view());
    REQUIRE(command);
    CHECK(command->id == command_jsonrpc_error);
    const auto parsed = parse_goodbye(command->payload);
    REQUIRE(parsed);
    return *parsed;
}

std::optional<goodbye> parsed(std::string_view text) { return parse_goodbye(as_bytes(text)); }

}  // namespace

TEST_CASE("a goodbye is an error without an id that says how the stream is closed") {
    const bytes wire = encoded(close_code::going_away, "see you");
    CHECK(to_text(bytes_view{wire}.subspan(8)) ==
          R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"see you","data":{"close":1001}},"id":null})");
    CHECK(bytes{wire.begin(), wire.begin() + 8} == "00000061 fffffffe"_hex);
    CHECK(wire.size() == 4 + 0x61);
}

TEST_CASE("the other side reads the code and the reason") {
    CHECK(round_trip(close_code::normal, "") == goodbye{close_code::normal, ""});
    CHECK(round_trip(close_code::slow_consumer, "slow consumer") == goodbye{close_code::slow_consumer, "slow consumer"});
    CHECK(round_trip(close_code{4999}, "\"quoted\" \\ back\nslash\x01 \xE2\x82\xAC") ==
          goodbye{close_code{4999}, "\"quoted\" \\ back\nslash\x01 \xE2\x82\xAC"});
    const std::string longest(123, 'r');
    CHECK(round_trip(close_code::normal, longest) == goodbye{close_code::normal, longest});
    CHECK(round_trip(close_code::normal, longest + "and more") == goodbye{close_code::normal, longest});
}

TEST_CASE("a code that must not be sent is sent as normal") {
    for (const close_code code : {close_code::no_status, close_code::abnormal, close_code::tls_handshake, close_code{0}}) {
        CHECK(round_trip(code, "x") == goodbye{close_code::normal, "x"});
    }
}

TEST_CASE("a reason of many escapes is cut where it fits, at a character") {
    const goodbye quotes = round_trip(close_code::normal, std::string(123, '"'));
    CHECK(quotes.reason.size() >= 70);
    CHECK(quotes.reason == std::string(quotes.reason.size(), '"'));
    const goodbye controls = round_trip(close_code::normal, std::string(123, '\x02'));
    CHECK(controls.reason.size() >= 20);
    CHECK(controls.reason == std::string(controls.reason.size(), '\x02'));
    for (std::size_t before = 0; before < 8; ++before) {
        std::string mixed(before, '\x02');
        while (mixed.size() < 120) mixed += "\x02\xE2\x82\xAC";
        const goodbye cut = round_trip(close_code::normal, mixed);
        CHECK(mixed.starts_with(cut.reason));
        CHECK(websocket::is_utf8(as_bytes(cut.reason)));
    }
}

TEST_CASE("a reason that is not UTF-8 is sent as text all the same") {
    CHECK(round_trip(close_code::normal, "caf\xE9") == goodbye{close_code::normal, "caf?"});
}

TEST_CASE("every other error is no goodbye") {
    CHECK(parsed(R"({"error":{"data":{"close":1000}},"id":null})") == goodbye{close_code::normal, ""});
    CHECK_FALSE(parsed(R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"x","data":{"close":1000}},"id":1})"));
    CHECK_FALSE(parsed(R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"x","data":{"close":1000}}})"));
    CHECK_FALSE(parsed(R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"x"},"id":null})"));
    CHECK_FALSE(parsed(R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"x","data":{"command":7}},"id":null})"));
    CHECK_FALSE(parsed(R"({"error":{"data":{"close":"1000"}},"id":null})"));
    CHECK_FALSE(parsed(R"({"error":{"data":{"close":1005}},"id":null})"));
    CHECK_FALSE(parsed(R"({"error":{"data":{"close":-1}},"id":null})"));
    CHECK_FALSE(parsed(R"({"error":{"data":{"close":66536}},"id":null})"));
    CHECK_FALSE(parsed(R"({"error":{"data":{"close":18446744073709551615}},"id":null})"));
    CHECK_FALSE(parsed("{"));
    CHECK_FALSE(parsed(""));
    CHECK_FALSE(parsed(R"([{"error":{"data":{"close":1000}},"id":null}])"));
    CHECK_FALSE(parsed(std::string(5000, '[')));
    CHECK_FALSE(parsed(R"({"error":{"data":{"close":1000}},"id":null,"padding":")" + std::string(5000, 'x') + "\"}"));
}

TEST_CASE("of a peer's reason no more is kept than a close frame can say") {
    const auto found = parsed(R"({"error":{"message":")" + std::string(1000, 'x') + R"(","data":{"close":4000}},"id":null})");
    REQUIRE(found);
    CHECK(found->reason == std::string(123, 'x'));
}
