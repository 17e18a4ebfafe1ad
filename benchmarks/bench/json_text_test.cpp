#include "json_text.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace bench;

TEST_CASE("the members of an object are found as they stand") {
    const auto members = json_members(" { \"a\" : [1, {\"b\": \"}\"}] ,\"c\\\"d\":-1.5e3,\"\":null } ");
    REQUIRE(members);
    REQUIRE(members->size() == 3);
    CHECK((*members)[0].name == "a");
    CHECK((*members)[0].value == "[1, {\"b\": \"}\"}]");
    CHECK((*members)[1].name == "c\\\"d");
    CHECK((*members)[1].value == "-1.5e3");
    CHECK((*members)[2].value == "null");
    CHECK(json_members("{}")->empty());
    CHECK((*json_members("{\"a\":[]}"))[0].value == "[]");
}

TEST_CASE("what has not the shape of an object has no members") {
    for (const char* text : {"",
                             " ",
                             "1",
                             "[]",
                             "{",
                             "}",
                             "{\"a\"}",
                             "{\"a\":}",
                             "{\"a\":1",
                             "{\"a\":1,}",
                             "{,}",
                             "{a:1}",
                             "{\"a\":1 \"b\":2}",
                             "{\"a\":1}x",
                             "{\"a\":\"}",
                             "{\"a\":\"\\\"}",
                             "{\"a\":[1}",
                             "{\"a\":[1,]}",
                             "{\"a\":{1:2}}",
                             "{\"a\"::1}",
                             "{}{}",
                             "{\"a\":1}}"}) {
        CAPTURE(text);
        CHECK_FALSE(json_members(text));
    }
    CHECK_FALSE(is_json(std::string(100'000, '[')));  // does not exhaust the stack
    CHECK(is_json("\"a b\""));
    CHECK(is_json(" [ ] "));
    CHECK_FALSE(is_json("1 2"));
}

TEST_CASE("values are the same whatever their blanks and the form of their numbers") {
    CHECK(same_json("42", "42.0"));
    CHECK(same_json("4.2e1", "42"));
    CHECK(same_json("{\"a\":[1,2]}", "{ \"a\" : [ 1 , 2.00 ] }"));
    CHECK(same_json("\"x\"", "\"x\""));
    for (const auto& [a, b] : {std::pair{"42", "43"},
                               {"42", "\"42\""},
                               {"\"a b\"", "\"ab\""},
                               {"[1,2]", "[1]"},
                               {"[1]", "[1,2]"},
                               {"null", "false"},
                               {"", "1"},
                               {"1", ""}})
        CHECK_FALSE_MESSAGE(same_json(a, b), a, " and ", b);
}

TEST_CASE("a string is quoted and escaped") { CHECK(json_string("a\"b\\\n") == "\"a\\\"b\\\\\\u000a\""); }
