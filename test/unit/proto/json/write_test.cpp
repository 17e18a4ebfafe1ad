#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/json/write.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

using namespace kephas;

TEST_CASE("values are written compactly and in their order") {
    CHECK(write_json(nullptr) == "null");
    CHECK(write_json(true) == "true");
    CHECK(write_json(false) == "false");
    CHECK(write_json("") == "\"\"");
    CHECK(write_json(json::array()) == "[]");
    CHECK(write_json(json::object()) == "{}");
    CHECK(write_json(json::object({{"b", json::array({1, json::object(), "x"})}, {"a", nullptr}})) ==
          R"({"b":[1,{},"x"],"a":null})");
}

TEST_CASE("text is appended to what is there") {
    std::string text = "[";
    write_json(json{1}, text);
    CHECK(text == "[1");
}

TEST_CASE("strings are escaped as RFC 8259 section 7 asks and otherwise kept") {
    CHECK(write_json("\"\\/\b\f\n\r\t") == R"("\"\\/\b\f\n\r\t")");
    CHECK(write_json(std::string_view{"\0\x01\x1F\x7F", 4}) == "\"\\u0000\\u0001\\u001f\x7F\"");
    CHECK(write_json("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80") == "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
    CHECK(write_json(json::object({{"a\"b", 1}})) == R"({"a\"b":1})");
}

TEST_CASE("bytes that are not UTF-8 are replaced, so that the text always is") {
    CHECK(write_json("a\xFF"
                     "b") ==
          "\"a\xEF\xBF\xBD"
          "b\"");
    CHECK(write_json("\xC3") == "\"\xEF\xBF\xBD\"");
    for (const char* bytes : {"\x80", "\xC0\x80", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                              "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x9F\x98", "x\xC3\"", "\xE2\x28\xA1"}) {
        CAPTURE(bytes);
        CHECK(parse_json(write_json(bytes)).has_value());
    }
}

TEST_CASE("integers are written exactly") {
    CHECK(write_json(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    CHECK(write_json(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
    CHECK(write_json(0) == "0");
}

TEST_CASE("what JSON has no number for is null") {
    CHECK(write_json(std::numeric_limits<double>::quiet_NaN()) == "null");
    CHECK(write_json(std::numeric_limits<double>::infinity()) == "null");
    CHECK(write_json(-std::numeric_limits<double>::infinity()) == "null");
}

TEST_CASE("every double reads back as itself") {
    CHECK(write_json(0.1) == "0.1");
    CHECK(write_json(3.0) == "3");
    CHECK(write_json(-0.0) == "-0");
    CHECK(write_json(1e300) == "1e+300");
    CHECK(write_json(-99'999.0) == "-99999");  // the last integer that is shorter than with an exponent
    CHECK(write_json(100'000.0) == "1e+05");
    CHECK(write_json(99'999.5) == "99999.5");
    std::mt19937_64 random{42};
    for (int i = 0; i < 20'000; ++i) {
        const auto value = std::bit_cast<double>(random());
        if (!std::isfinite(value)) continue;
        const auto read = parse_json(write_json(value));
        REQUIRE(read);
        REQUIRE(std::bit_cast<std::uint64_t>(*read->as_double()) == std::bit_cast<std::uint64_t>(value));
    }
    for (const double value :
         {-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1e23, 0x1p63, 0x1p64}) {
        CAPTURE(value);
        const double read = *parse_json(write_json(value))->as_double();
        CHECK(std::bit_cast<std::uint64_t>(read) == std::bit_cast<std::uint64_t>(value));
    }
}

TEST_CASE("what was written reads back as the same value") {
    const json value = json::object({{"text", "line\nand \xE2\x82\xAC"},
                                     {"numbers", json::array({0, -1, 2.5, std::uint64_t{1} << 63U})},
                                     {"nested", json::array({json::object({{"", json::array()}}), nullptr, false})}});
    CHECK(*parse_json(write_json(value)) == value);
}
