#include <kephas/proto/websocket/decoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

using namespace kephas;
using namespace kephas::test;
using websocket::opcode;
using websocket::role;

namespace {

const websocket::decoder_options limited{.max_binary_message = 10, .max_text_message = 5};
const lines binary_refused{"failed 1009 binary message exceeds the limit of 10 bytes"};
const lines text_refused{"failed 1009 text message exceeds the limit of 5 bytes"};

}  // namespace

TEST_CASE("text and binary messages have limits of their own") {
    const auto found = [](const bytes& input) { return decode(input, role::server, limited); };
    CHECK(found(binary(std::string(10, 'x'))) == lines{"binary xxxxxxxxxx"});
    CHECK(found(binary(std::string(11, 'x'))) == binary_refused);
    CHECK(found(text("xxxxx")) == lines{"text xxxxx"});
    CHECK(found(text("xxxxxx")) == text_refused);
}

TEST_CASE("the limit holds for the sum of the fragments") {
    const auto found = [](const bytes& input) { return decode(input, role::server, limited); };
    const bytes six = frame{opcode::binary, "123456", false};
    CHECK(found(six + frame{opcode::continuation, "7890"}) == lines{"binary 1234567890"});
    CHECK(found(six + frame{opcode::continuation, "78901"}) == binary_refused);
    CHECK(found(six + ping("not counted") + frame{opcode::continuation, "7890", false} +
                frame{opcode::continuation, ""}) == lines{"ping not counted", "binary 1234567890"});
    CHECK(found(bytes{frame{opcode::text, "123", false}} + frame{opcode::continuation, "456"}) == text_refused);
}

TEST_CASE("a message that is too big is refused at its header") {
    decoder_driver driver{role::server, limited};
    driver.feed("82 8b 00000000"_hex);
    CHECK(driver.events == binary_refused);

    decoder_driver huge;  // whatever it announces
    huge.feed("82 ff 7fffffffffffffff 00000000"_hex);
    CHECK(huge.events == lines{"failed 1009 binary message exceeds the limit of 10485764 bytes"});

    decoder_driver second{role::server, limited};
    second.feed(bytes{frame{opcode::binary, "123456", false}} + "00 ff 7fffffffffffffff 00000000"_hex);
    CHECK(second.events == binary_refused);
}

TEST_CASE("the number of fragments is limited") {
    const websocket::decoder_options options{.max_fragments = 3};
    const bytes first = frame{opcode::binary, "a", false};
    const bytes more = frame{opcode::continuation, "b", false};
    const bytes last = frame{opcode::continuation, "c"};
    const auto found = [&](const bytes& input) { return decode(input, role::server, options); };
    CHECK(found(first + more + last + first + more + last) == lines{"binary abc", "binary abc"});
    CHECK(found(first + more + more + last) == lines{"failed 1008 too many fragments"});
    bytes unfragmented;
    for (int i = 0; i < 10; ++i) unfragmented = unfragmented + binary("x");
    CHECK(found(unfragmented).size() == 10);
}

TEST_CASE("empty fragments in a row are limited") {
    const websocket::decoder_options options{.max_empty_fragments = 2};
    const bytes first = frame{opcode::binary, "a", false};
    const bytes empty = frame{opcode::continuation, "", false};
    const bytes full = frame{opcode::continuation, "b", false};
    const bytes last = frame{opcode::continuation, "c"};
    const auto found = [&](const bytes& input) { return decode(input, role::server, options); };
    CHECK(found(first + empty + empty + full + empty + empty + last) == lines{"binary abc"});
    CHECK(found(first + empty + empty + empty) == lines{"failed 1008 too many empty fragments"});
    CHECK(found(first + empty + empty + ping() + empty) == lines{"ping", "failed 1008 too many empty fragments"});
    CHECK(found(binary("") + binary("") + binary("") + binary("")).size() == 4);  // messages, not fragments
}
