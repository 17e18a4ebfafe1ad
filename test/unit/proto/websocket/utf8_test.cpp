#include <kephas/proto/websocket/utf8.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

using namespace kephas;
using namespace kephas::test;
using websocket::utf8_checker;

namespace {

/// The number of bytes after which a checker fed byte by byte refuses; the size if it never does.
std::size_t refused_at(const bytes& input) {
    utf8_checker checker;
    for (std::size_t i = 0; i < input.size(); ++i)
        if (!checker.consume(bytes_view{input}.subspan(i, 1))) return i;
    return input.size();
}

}  // namespace

TEST_CASE("valid text is accepted at every split") {
    const std::string sample =
        "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5 plain ASCII that is long enough \xE2\x82\xAC\xF0\x9F\x98\x80 end";
    const auto view = as_bytes(sample);
    for (std::size_t split = 0; split <= view.size(); ++split) {
        utf8_checker checker;
        CHECK(checker.consume(view.first(split)));
        CHECK(checker.consume(view.subspan(split)));
        CHECK(checker.complete());
    }
    for (const auto& edge : {"7f"_hex, "c280"_hex, "dfbf"_hex, "e0a080"_hex, "ed9fbf"_hex, "ee8080"_hex, "efbfbf"_hex,
                             "f0908080"_hex, "f48fbfbf"_hex, "00"_hex, ""_hex})
        CHECK(websocket::is_utf8(edge));
}

TEST_CASE("the first impossible byte is refused, not a later one") {
    CHECK(refused_at("80"_hex) == 0);
    CHECK(refused_at("c0 80"_hex) == 0);  // overlong
    CHECK(refused_at("c1 bf"_hex) == 0);
    CHECK(refused_at("e0 80 80"_hex) == 1);     // overlong
    CHECK(refused_at("f0 80 80 80"_hex) == 1);  // overlong
    CHECK(refused_at("ed a0 80"_hex) == 1);     // surrogate
    CHECK(refused_at("f4 90 80 80"_hex) == 1);  // above U+10FFFF
    CHECK(refused_at("f5 80 80 80"_hex) == 0);
    CHECK(refused_at("ff"_hex) == 0);
    CHECK(refused_at("e2 82 41"_hex) == 2);
    CHECK(refused_at("cf cf"_hex) == 1);
}

TEST_CASE("an invalid byte is found wherever it stands, and for good") {
    for (std::size_t at = 0; at < 70; ++at) {
        std::string sample(70, 'a');
        sample[at] = '\xFF';
        utf8_checker checker;
        CHECK_FALSE(checker.consume(as_bytes(sample)));
        CHECK_FALSE(checker.consume(as_bytes("fine")));
        CHECK_FALSE(checker.complete());
        checker.reset();
        CHECK(checker.consume(as_bytes("fine")));
    }
}

TEST_CASE("text that ends inside a character is not complete") {
    const auto character = "f0 9f 98 80"_hex;
    for (std::size_t size = 1; size < 4; ++size) {
        utf8_checker checker;
        CHECK(checker.consume(bytes_view{character}.first(size)));
        CHECK_FALSE(checker.complete());
        CHECK_FALSE(websocket::is_utf8(bytes_view{character}.first(size)));
    }
}
