#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/percent.hpp>

#include <doctest/doctest.h>

using namespace kephas::http;
using namespace std::string_view_literals;

using views = std::vector<std::string_view>;

TEST_CASE("a token is made of letters, digits and fifteen signs") {  // RFC 9110 5.6.2
    CHECK(is_token("GET"));
    CHECK(is_token("!#$%&'*+-.^_`|~09azAZ"));
    CHECK_FALSE(is_token(""));
    for (const char c : "\"(),/:;<=>?@[\\]{} \t\x7f\x80\xff"sv) CHECK_FALSE(is_token(std::string{'a', c}));
    CHECK_FALSE(is_token("a\0b"sv));
}

TEST_CASE("names are compared without regard to case, and only letters have one") {
    CHECK(equal_ignoring_case("Sec-WebSocket-Key", "sec-websocket-KEY"));
    CHECK_FALSE(equal_ignoring_case("Host", "Hosts"));
    CHECK_FALSE(equal_ignoring_case("[", "{"));
    CHECK_FALSE(equal_ignoring_case("@", "`"));
    CHECK(to_lower("ExAmple.COM[") == "example.com[");
}

TEST_CASE("a list may be spread over several headers and have empty elements") {  // RFC 9110 5.6.1
    const std::vector<header> headers = {
        {"Connection", "keep-alive, , Upgrade\t,"}, {"Host", "x"}, {"connection", "a,b"}};
    CHECK(list_elements(headers, "CONNECTION") == views{"keep-alive", "Upgrade", "a", "b"});
    CHECK(list_elements(headers, "Upgrade").empty());
    CHECK(list_contains(headers, "Connection", "upgrade"));
    CHECK_FALSE(list_contains(headers, "Connection", "keep"));
    CHECK_FALSE(list_contains(headers, "Connection", "keep-alive, "));
    CHECK(count_headers(headers, "connection") == 2);
    CHECK(find_header(headers, "HOST") == "x");
    CHECK_FALSE(find_header(headers, "Hos"));
}

TEST_CASE("nothing breaks out of a header line") {
    std::string out;
    append_header(out, "X-User", "a\r\nSet-Cookie: b\0c\x7f"sv);
    append_header(out, "X: y\r\nZ", "v");
    append_header(out, "", "v");
    append_header(out, "X-Ok", "caf\xc3\xa9\tbar");
    CHECK(out == "X-User: a  Set-Cookie: b c \r\nX-Ok: caf\xc3\xa9\tbar\r\n");
}

TEST_CASE("escapes are decoded once and must be whole") {
    CHECK(percent_decode("/a%20b%2Fc%2e+") == "/a b/c.+");
    CHECK(percent_decode("%252e") == "%2e");
    CHECK(percent_decode("%00") == std::string(1, '\0'));
    CHECK(percent_decode("") == "");
    for (const char* bad : {"%", "%2", "%zz", "%2g", "%g2", "a%", "% 2"}) CHECK_FALSE(percent_decode(bad));
}

TEST_CASE("in a query a plus is a blank and a lone percent sign stands for itself") {
    CHECK(form_decode("a+b%2Bc") == "a b+c");
    CHECK(form_decode("100%") == "100%");
    CHECK(form_decode("%zz%41%4") == "%zzA%4");
}
