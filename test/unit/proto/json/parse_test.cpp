#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/json/write.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

using namespace kephas;
using reason = json_error::reason_type;

namespace {

json parsed(std::string_view text) {
    auto value = parse_json(text);
    REQUIRE_MESSAGE(value.has_value(), text);
    return std::move(*value);
}

json_error refused(std::string_view text, const json_limits& limits = {}) {
    auto value = parse_json(text, limits);
    REQUIRE_MESSAGE(!value.has_value(), text);
    return value.error();
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string nested_objects(std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) text += R"({"a":)";
    return text + "1" + std::string(depth, '}');
}

}  // namespace

TEST_CASE("every kind of value is read") {
    CHECK(parsed("null").is_null());
    CHECK(parsed(" true ") == true);
    CHECK(parsed("false") == false);
    CHECK(parsed("\t-12\r\n") == -12);
    CHECK(parsed(R"("text")") == "text");
    CHECK(parsed("[]") == json::array());
    CHECK(parsed("{}") == json::object());
    CHECK(parsed(R"({"a":[1,{"b":[[],{}]},null],"c":"d"})") ==
          json::object(
              {{"a", json::array({1, json::object({{"b", json::array({json::array(), json::object()})}}), nullptr})},
               {"c", "d"}}));
}

TEST_CASE("integers are exact within 64 bits and doubles beyond") {
    CHECK(parsed("9007199254740993").as_int64() == 9007199254740993);
    CHECK(parsed("9223372036854775807").as_int64() == std::numeric_limits<std::int64_t>::max());
    CHECK(parsed("-9223372036854775808").as_int64() == std::numeric_limits<std::int64_t>::min());
    CHECK(parsed("9223372036854775808").as_uint64() == std::uint64_t{1} << 63U);
    CHECK(parsed("18446744073709551615").as_uint64() == std::numeric_limits<std::uint64_t>::max());
    CHECK(parsed("18446744073709551616").as_double() == 0x1p64);
    CHECK(parsed("-9223372036854775809").as_double() == -0x1p63);
}

TEST_CASE("other numbers are the nearest doubles") {
    CHECK(parsed("0.1").as_double() == 0.1);
    CHECK(parsed("1.5e+3").as_double() == 1500.0);
    CHECK(parsed("1E-2").as_double() == 0.01);
    CHECK(parsed("123456789012345678e-17").as_double() == 123456789012345678e-17);
    CHECK(parsed("1e-400").as_double() == 0.0);
    CHECK(std::signbit(*parsed("-0").as_double()));
    CHECK(refused("1e400").reason == reason::number_too_big);
    CHECK(refused("[1,-1e400]") == json_error{reason::number_too_big, 3});
    CHECK(refused("17976931348623159e292").reason == reason::number_too_big);
    CHECK(refused(std::string(400, '9')).reason == reason::number_too_big);
}

TEST_CASE("what is not JSON is refused with its place") {
    CHECK(refused("") == json_error{reason::syntax, 0});
    CHECK(refused("   ").reason == reason::syntax);
    CHECK(refused("[1,x]") == json_error{reason::syntax, 3});
    for (const char* text : {"{",           "}",
                             "[",           "]",
                             "[1",          "[1,]",
                             "[,1]",        "{\"a\"}",
                             "{\"a\":}",    "{\"a\":1,}",
                             "{a:1}",       "{1:1}",
                             "nul",         "nullx",
                             "True",        "01",
                             "-",           "+1",
                             ".5",          "1.",
                             "1e",          "1e+",
                             "0x10",        "NaN",
                             "Infinity",    "-Infinity",
                             "'a'",         "\"a",
                             "\"\\x\"",     "\"\\u12\"",
                             "\"\\u12G4\"", "1 2",
                             "[] []",       "[1}",
                             "{\"a\":1]",   "// c\n1",
                             "/* c */ 1",   "\xEF\xBB\xBF{}",
                             "\x01"}) {
        CAPTURE(text);
        CHECK(refused(text).reason == reason::syntax);
    }
}

TEST_CASE("a NUL does not end the text") {
    CHECK(refused(std::string_view{"{}\0", 3}) == json_error{reason::syntax, 2});
    CHECK(refused(std::string_view{"1\0002", 3}) == json_error{reason::syntax, 1});
    CHECK(refused(std::string_view{"\0", 1}).reason == reason::syntax);
    CHECK(refused(std::string_view{"[1,\0]", 5}).reason == reason::syntax);
    CHECK_FALSE(parse_json(std::string_view{"\"a\0b\"", 5}));
    CHECK(parsed("\"a\\u0000b\"").as_string() == std::string_view{"a\0b", 3});
    CHECK(parse_json(std::string_view{"12345", 2})->as_int64() == 12);  // and nothing behind the text is read
}

TEST_CASE("escapes are decoded") {
    CHECK(parsed(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
    CHECK(parsed(R"("\u00e9\u20AC")") == "\xC3\xA9\xE2\x82\xAC");
    CHECK(parsed(R"("\ud83d\ude00")") == "\xF0\x9F\x98\x80");
    CHECK(parsed("{\"\\u0061\":1}").at("a") == 1);
}

TEST_CASE("strings that are not UTF-8 are refused") {  // RFC 3629 section 3
    for (const char* bytes : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3\x28", "\xE0\x80\x80",
                              "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x80\x80\x80",
                              "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"}) {
        const std::string text = "[\"a" + std::string{bytes} + "\"]";
        CAPTURE(text);
        CHECK(refused(text).reason == reason::invalid_string);
        CHECK(refused("{\"a" + std::string{bytes} + "\":1}").reason == reason::invalid_string);
    }
    for (const char* good : {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
                             "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
        CHECK(parsed("\"" + std::string{good} + "\"") == good);
    }
}

TEST_CASE("half a surrogate pair is refused wherever it is") {
    for (const char* text : {R"("\ud800")", R"("\udc00")", R"("\udfff")", R"("\ud800\ud800")", R"("\ud800x")",
                             R"("\ude00\ud83d")", R"({"\udc00":1})", R"("abc\uDEADdef")"}) {
        CAPTURE(text);
        CHECK(refused(text).reason == reason::invalid_string);
    }
}

TEST_CASE("control characters in strings are refused") {
    CHECK_FALSE(parse_json("\"a\nb\""));
    CHECK_FALSE(parse_json("\"\x1F\""));
    CHECK(parsed("\"\x7F\"") == "\x7F");
}

TEST_CASE("nesting is allowed to the limit and refused above it") {
    CHECK(parse_json(nested(64)));
    CHECK(refused(nested(65)) == json_error{reason::too_deep, 64});
    CHECK(parse_json(nested_objects(64)));
    CHECK(refused(nested_objects(65)).reason == reason::too_deep);
    CHECK(refused("[[1]]", {.max_depth = 1}).reason == reason::too_deep);
    CHECK(refused("[]", {.max_depth = 0}).reason == reason::too_deep);
    CHECK(parse_json("1", {.max_depth = 0}));
    CHECK(parse_json("[[],[],[]]", {.max_depth = 2}));  // beside each other is not within each other
}

TEST_CASE("half a million brackets are refused at the 65th") {
    CHECK(refused(std::string(500'000, '[')) == json_error{reason::too_deep, 64});
    std::string objects;
    for (int i = 0; i < 100'000; ++i) objects += "{\"\":";
    CHECK(refused(objects).reason == reason::too_deep);
}

TEST_CASE("elements are counted at every depth") {
    CHECK(parse_json("[1,2,3]", {.max_elements = 4}));
    CHECK(refused("[1,2,3]", {.max_elements = 3}).reason == reason::too_many_elements);
    CHECK(refused("[[],[],{}]", {.max_elements = 3}).reason == reason::too_many_elements);
    CHECK(refused(R"({"a":{"b":1}})", {.max_elements = 2}).reason == reason::too_many_elements);
    CHECK(refused("1", {.max_elements = 0}).reason == reason::too_many_elements);
}

TEST_CASE("of a key that comes twice the last value wins and members keep their order") {
    const json value = parsed(R"({"b":1,"a":2,"b":3})");
    REQUIRE(value.size() == 2);
    CHECK(write_json(value) == R"({"b":3,"a":2})");
}

TEST_CASE("an object with very many keys costs no square of them") {
    std::string text = "{";
    for (int i = 0; i < 50'000; ++i) text += "\"" + std::to_string(i % 40'000) + "\":1,";
    text.back() = '}';
    const json value = parsed(text);  // would take many seconds
    CHECK(value.size() == 40'000);
    CHECK(value == parsed(text));
}

TEST_CASE("the numbers of one member keep their text") {
    const auto value = parse_json(R"({"id":1.0,"x":1.0,"in":{"id":-0},"ids":[{"id":18446744073709551616}]})", {}, "id");
    REQUIRE(value);
    CHECK(write_json(*value) == R"({"id":1.0,"x":1,"in":{"id":-0},"ids":[{"id":18446744073709551616}]})");
    CHECK(value->at("id").as_int64() == 1);
    CHECK(value->at("ids").at(0).at("id").as_double() == 0x1p64);
    CHECK(write_json(*parse_json("[1.0]", {}, "id")) == "[1]");
    CHECK(write_json(*parse_json(R"({"id":[1.0]})", {}, "id")) == R"({"id":[1]})");  // no value of "id" itself
}
