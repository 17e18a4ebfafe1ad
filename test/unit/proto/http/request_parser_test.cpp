#include <kephas/proto/http/request_parser.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace kephas;
using namespace kephas::http;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

constexpr std::string_view valid =
    "GET /chat%20room/%C3%A9?token=a%2Fb&x HTTP/1.1\r\n"
    "Host: server.example.com:8080\r\n"
    "upgrade: websocket\r\n"
    "Connection:Upgrade\r\n"
    "X-Twice: one\r\n"
    "Sec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== \t\r\n"
    "x-twice: two\r\n"
    "X-Empty:\r\n"
    "\r\n";

request expected() {
    return {.method = "GET",
            .target = "/chat%20room/%C3%A9?token=a%2Fb&x",
            .path = "/chat room/\xC3\xA9",
            .query_string = "token=a%2Fb&x",
            .version = "HTTP/1.1",
            .headers = {{"Host", "server.example.com:8080"},
                        {"upgrade", "websocket"},
                        {"Connection", "Upgrade"},
                        {"X-Twice", "one, two"},
                        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                        {"X-Empty", ""}},
            .content_length = 0};
}

/// The head of a request whose second line is `line`.
std::string with(std::string_view line) {
    return "GET / HTTP/1.1\r\n" + std::string{line} + "\r\nHost: example.com\r\n\r\n";
}

std::string get(std::string_view target) {
    return "GET " + std::string{target} + " HTTP/1.1\r\nHost: example.com\r\n\r\n";
}

/// 0 when it is accepted. Whole and byte by byte must agree.
int status_of(std::string_view text, head_limits limits = {}) {
    request_parser whole{limits};
    whole.handle(as_bytes(text));
    request_parser bytewise{limits};
    for (const char& c : text) bytewise.handle(as_bytes({&c, 1}));
    CHECK(whole.failure() == bytewise.failure());
    CHECK(whole.complete() == bytewise.complete());
    if (!whole.failure()) {
        CHECK(whole.complete());
        return 0;
    }
    CHECK_FALSE(whole.complete());
    CHECK_FALSE(whole.failure()->reason.empty());
    CHECK(whole.handle(as_bytes(valid)) == 0);
    return static_cast<int>(whole.failure()->status);
}

}  // namespace

TEST_CASE("a request is read as it came") {
    request_parser parser;
    CHECK(parser.handle(as_bytes(valid)) == valid.size());
    REQUIRE(parser.complete());
    CHECK(parser.request() == expected());
    CHECK(parser.request().query("token") == "a/b");
    CHECK(parser.handle(as_bytes("more")) == 0);
    const request taken = std::move(parser).request();
    CHECK(taken == expected());
}

TEST_CASE("a request may be cut anywhere, and what follows it is left over") {
    const std::string text = std::string{valid} + "\x81\x85 frames";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        request_parser parser;
        const auto first = parser.handle(as_bytes(std::string_view{text}.substr(0, cut)));
        CHECK(parser.complete() == (cut >= valid.size()));
        CHECK(first == std::min(cut, valid.size()));
        const auto second = parser.handle(as_bytes(std::string_view{text}.substr(cut)));
        CHECK(first + second == valid.size());
        REQUIRE(parser.complete());
        CHECK(parser.request() == expected());
    }
    request_parser parser;
    std::size_t taken = 0;
    for (const char& c : text) taken += parser.handle(as_bytes({&c, 1}));
    CHECK(taken == valid.size());
    REQUIRE(parser.complete());
    CHECK(parser.request() == expected());
}

TEST_CASE("nothing is decided before there is a reason") {
    request_parser parser;
    CHECK(parser.handle({}) == 0);
    CHECK(parser.handle(as_bytes(valid.substr(0, valid.size() - 1))) == valid.size() - 1);
    CHECK_FALSE(parser.complete());
    CHECK_FALSE(parser.failure());
}

TEST_CASE("only HTTP/1.1 is spoken") {
    for (const char* version : {"HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9"}) {
        CHECK(status_of("GET / "s + version + "\r\nHost: a\r\n\r\n") == 505);
    }
    for (const char* version :
         {"HTTP/1.1 ", "HTTP/1.1 x", "HTTP/1", "HTTP/11", "HTTP/1.10", "http/1.1", "FOO", "", "HTTP/a.b"}) {
        CAPTURE(version);
        CHECK(status_of("GET / "s + version + "\r\nHost: a\r\n\r\n") == 400);
    }
}

TEST_CASE("malformed request lines are refused") {
    for (const auto line : {"GET"sv, "GET /"sv, "GET  / HTTP/1.1"sv, " GET / HTTP/1.1"sv, "G(T / HTTP/1.1"sv,
                            "/ HTTP/1.1"sv, "GET\t/\tHTTP/1.1"sv, "GET / HTTP/1.1\0"sv, "\x16\x03\x01"sv,
                            "GET / / HTTP/1.1"sv, "G\xC3\x89T / HTTP/1.1"sv}) {
        CAPTURE(line);
        CHECK(status_of(std::string{line} + "\r\nHost: a\r\n\r\n") == 400);
    }
    CHECK(status_of("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
    CHECK(status_of("\r\n\r\n") == 400);
    CHECK(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 400);
}

TEST_CASE("a target is a path in visible ASCII with whole escapes") {
    CHECK(status_of(get("/")) == 0);
    CHECK(status_of(get("/a?b=%zz")) == 0);  // a query is no path: see form_decode
    CHECK(status_of(get("//a")) == 0);
    for (const char* target : {"*", "http://example.com/", "example.com:443", "a", "?x", "/a#b", "/\xC3\xA9", "/a\x7f",
                               "/%", "/%4", "/%zz", "/a%00b"}) {
        CAPTURE(target);
        CHECK(status_of(get(target)) == 400);
    }
}

TEST_CASE("a request names exactly one host") {
    CHECK(status_of("GET / HTTP/1.1\r\n\r\n") == 400);
    CHECK(status_of("GET / HTTP/1.1\r\nHost:\r\n\r\n") == 400);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: a b\r\n\r\n") == 400);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n") == 400);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n") == 400);
    CHECK(status_of(with("Host: example.com")) == 400);
    CHECK(status_of(with("hOST: other.com")) == 400);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n") == 0);
}

TEST_CASE("malformed header lines are refused") {
    for (const auto line : {"Name : value"sv, " Host: evil"sv, "\tfolded"sv, "X: 1\r\n folded"sv, ": value"sv,
                            "no colon"sv, "Na me: v"sv, "N\xC3\xA4me: v"sv, "X: a\0b"sv, "X: a\x01"sv, "X: a\x7f"sv,
                            "X: a\nY: b"sv, "X: a\rY: b"sv, "X: a\r\r"sv, "X: a\n"sv}) {
        CAPTURE(line);
        CHECK(status_of(with(line)) == 400);
    }
    CHECK(status_of("GET / HTTP/1.1\nHost: a\n\n") == 400);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\n\n") == 400);
    CHECK(status_of("GET / HTTP/1.1\rHost: a\r\r") == 400);
    CHECK(status_of(with("X-Utf8: \xC3\xA9\ttab")) == 0);
    CHECK(status_of(with("X-Colons: a:b: c")) == 0);
}

TEST_CASE("headers that must be unique are") {
    for (const char* name :
         {"Content-Length", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin", "Authorization"}) {
        CAPTURE(name);
        CHECK(status_of(with(name + ": 1"s)) == 0);
        CHECK(status_of(with(name + ": 1\r\n"s + name + ": 1")) == 400);
    }
    CHECK(status_of(with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b")) == 0);
}

TEST_CASE("the length of a body is a number, and no body is encoded") {
    CHECK(status_of(with("Transfer-Encoding: chunked")) == 400);
    CHECK(status_of(with("Transfer-Encoding:")) == 400);
    for (const char* length : {"", "abc", "1x", "-1", "+1", "1, 1", "0x10", "1 1", "18446744073709551616"}) {
        CAPTURE(length);
        CHECK(status_of(with("Content-Length: "s + length)) == 400);
    }
    const std::string head = with("Content-Length: 5000000000");
    const std::string text = head + "body";
    request_parser parser;
    CHECK(parser.handle(as_bytes(text)) == head.size());
    REQUIRE(parser.complete());
    CHECK(parser.request().content_length == 5'000'000'000U);
    CHECK(status_of(with("Content-Length: 18446744073709551615")) == 0);
}

TEST_CASE("a head may be as large as the limit and not a byte larger") {
    const std::string text = with("X: " + std::string(500, 'x'));
    CHECK(status_of(text, {.max_head_size = text.size()}) == 0);
    CHECK(status_of(text, {.max_head_size = text.size() - 1}) == 431);
    CHECK(status_of(text, {.max_head_size = 0}) == 414);
}

TEST_CASE("the largest head that can be allowed passes the parser behind ours") {
    std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (std::size_t i = 1; i < request_parser::most_headers; ++i) text += "X: 1\r\n";
    text.insert(text.size() - 2, request_parser::largest_head - text.size() - 2, 'x');
    text += "\r\n";
    CHECK(text.size() == request_parser::largest_head);
    const head_limits unlimited{.max_head_size = 1'000'000, .max_headers = 1'000'000, .max_target_size = 1'000'000};
    CHECK(status_of(text, unlimited) == 0);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(request_parser::largest_head, 'x'), unlimited) ==
          431);
}

TEST_CASE("an endless head is refused before its end, and only so much is held") {
    request_parser parser;
    parser.handle(as_bytes("GET / HTTP/1.1\r\n"));
    std::size_t fed = 0;
    for (; !parser.failure() && fed < 100'000; fed += 10) parser.handle(as_bytes("X-Y: abc\r\n"));
    REQUIRE(parser.failure());
    CHECK(parser.failure()->status == status_code::header_fields_too_large);
    CHECK(fed == 1010);  // 100 headers by default
}

TEST_CASE("the number of headers is limited") {
    const std::string three = "GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 1\r\n\r\n";
    CHECK(status_of(three, {.max_headers = 3}) == 0);
    CHECK(status_of(three, {.max_headers = 2}) == 431);
}

TEST_CASE("a target may be as long as its limit") {
    const std::string text = get("/" + std::string(99, 'a'));
    CHECK(status_of(text, {.max_target_size = 100}) == 0);
    CHECK(status_of(text, {.max_target_size = 99}) == 414);
    CHECK(status_of("GET /" + std::string(20'000, 'a')) == 414);
}
