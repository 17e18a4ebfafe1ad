#include <kephas/proto/http/request.hpp>

#include <doctest/doctest.h>

using namespace kephas::http;

TEST_CASE("query parameters are found by their decoded names") {
    request r;
    r.query_string = "token=a%2Bb+c&empty=&flag&&n%61me=1&token=second&=nameless&x=1=2&bad=%zz";
    CHECK(r.query("token") == "a+b c");
    CHECK(r.query("empty") == "");
    CHECK(r.query("flag") == "");
    CHECK(r.query("name") == "1");
    CHECK(r.query("") == "nameless");
    CHECK(r.query("x") == "1=2");
    CHECK(r.query("bad") == "%zz");
    CHECK_FALSE(r.query("toke"));
    CHECK_FALSE(r.query("Token"));
    CHECK_FALSE(request{}.query(""));
}

TEST_CASE("headers are found in any case of letters") {
    request r;
    r.headers = {{"Host", "example.com"}, {"X-Empty", ""}};
    CHECK(r.header("host") == "example.com");
    CHECK(r.header("x-EMPTY") == "");
    CHECK_FALSE(r.header("X"));
}
