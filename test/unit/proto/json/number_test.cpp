#include <kephas/proto/json/number.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <string>

using namespace kephas;

TEST_CASE("a number is read as the nearest double") {
    CHECK(to_double("0.1") == 0.1);
    CHECK(to_double("-2.5E+3") == -2500.0);
    CHECK(to_double("9007199254740993") == 9007199254740992.0);
    CHECK(to_double("1.7976931348623157e308") == 1.7976931348623157e308);
    CHECK(to_double("5e-324") == 5e-324);
    CHECK(to_double("2.2250738585072011e-308") == 2.2250738585072011e-308);
}

TEST_CASE("what is too small for a double is a zero of its sign") {
    for (const std::string& text : {std::string{"1e-400"}, "0." + std::string(400, '0') + "1",
                                    "0." + std::string(400, '0') + "1e10", std::string{"1e-99999999999999999999"}}) {
        CAPTURE(text);
        REQUIRE(to_double(text));
        CHECK(*to_double(text) == 0);
        CHECK_FALSE(std::signbit(*to_double(text)));
        CHECK(std::signbit(*to_double("-" + text)));
    }
}

TEST_CASE("what is too big for a double is no number") {
    CHECK_FALSE(to_double("1e309"));
    CHECK_FALSE(to_double("-1e309"));
    CHECK_FALSE(to_double("17976931348623159e292"));
    CHECK_FALSE(to_double("1" + std::string(400, '0')));
    CHECK_FALSE(to_double("1e99999999999999999999"));
    CHECK_FALSE(to_double("0." + std::string(400, '0') + "1e800"));
    CHECK(to_double("0e999") == 0.0);
}
