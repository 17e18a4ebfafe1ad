#include <kephas/proto/http/extensions.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace kephas;

namespace {

// One line for a list: "name;parameter=value,..."; "malformed" if it is.
std::string parsed(std::vector<std::string> values) {
    std::vector<http::header> headers;
    for (auto& value : values) headers.push_back({"Sec-WebSocket-Extensions", std::move(value)});
    headers.push_back({"Host", "a \"b"});
    const auto list = http::parse_extensions(headers);
    if (!list) return "malformed";
    std::string out;
    for (const auto& each : *list) {
        if (!out.empty()) out += ",";
        out += each.name;
        for (const auto& [name, value] : each.parameters) out += ";" + name + (value ? "=" + *value : "");
    }
    return out;
}

}  // namespace

TEST_CASE("extensions and their parameters are read in order, over several headers") {  // RFC 6455 9.1
    CHECK(parsed({}) == "");
    CHECK(parsed({""}) == "");
    CHECK(parsed({"foo"}) == "foo");
    CHECK(parsed({"foo, bar; baz=2"}) == "foo,bar;baz=2");
    CHECK(parsed({"foo", "bar; baz=2"}) == "foo,bar;baz=2");
    CHECK(parsed({" \tfoo ;\ta = 1;b ,, ,bar, "}) == "foo;a=1;b,bar");
    CHECK(parsed({"foo; a; a; A=x"}) == "foo;a;a;A=x");  // what doubles mean is for whoever knows the extension
}

TEST_CASE("a quoted value is unquoted, and a token then") {  // RFC 6455 9.1
    CHECK(parsed({R"(foo; a="10"; b="x\-y", bar)"}) == "foo;a=10;b=x-y,bar");
    CHECK(parsed({R"(foo; a="1;2")"}) == "malformed");
    CHECK(parsed({R"(foo; a="1, 2")"}) == "malformed");
    CHECK(parsed({R"(foo; a="")"}) == "malformed");
    CHECK(parsed({R"(foo; a="10)"}) == "malformed");
    CHECK(parsed({R"(foo; a="10\)"}) == "malformed");
    CHECK(parsed({R"(foo; a="10"b)"}) == "malformed");
}

TEST_CASE("a malformed list is refused as a whole") {
    for (const char* value : {";", "=", "foo;", "foo; ;a", "foo bar", "foo; a b", "foo; a=", "foo; =1", "foo; a==1",
                              "\"foo\"", "foo; \"a\"", "foo=1", "foo, b/r", "foo; a=\x80"}) {
        CAPTURE(value);
        CHECK(parsed({value}) == "malformed");
        CHECK(parsed({"good", value}) == "malformed");
    }
}
