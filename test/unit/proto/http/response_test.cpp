#include <kephas/proto/http/response.hpp>

#include <doctest/doctest.h>

using namespace kephas::http;

TEST_CASE("a response says its length and that the connection ends") {
    CHECK(serialize(text_response(status_code::not_found, "nothing here")) ==
          "HTTP/1.1 404 Not Found\r\n"
          "Content-Type: text/plain; charset=utf-8\r\n"
          "Content-Length: 12\r\n"
          "Connection: close\r\n"
          "\r\n"
          "nothing here");
    CHECK(serialize(json_response(status_code::ok, "{}")) ==
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
}

TEST_CASE("the answer to HEAD has the length but not the body") {
    CHECK(serialize_head({status_code::ok, {}, "12345"}) ==
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
}

TEST_CASE("where there is no body there is no length") {
    CHECK(serialize({status_code::no_content, {}, "ignored"}) ==
          "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}

TEST_CASE("a response cannot be split by what its headers hold") {
    response r{status_code::found, {{"Location", "/a\r\nSet-Cookie: evil=1\r\n\r\n<html>"}, {"Bad\r\nName", "x"}}, ""};
    CHECK(serialize(r) ==
          "HTTP/1.1 302 Found\r\nLocation: /a  Set-Cookie: evil=1    <html>\r\nContent-Length: 0\r\nConnection: "
          "close\r\n\r\n");
}

TEST_CASE("length and connection are not for the caller to say") {
    response r{status_code::ok, {{"content-length", "999"}, {"Connection", "keep-alive"}, {"X", "y"}}, "a"};
    CHECK(serialize(r) == "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 1\r\nConnection: close\r\n\r\na");
}

TEST_CASE("an Upgrade header is named in Connection") {  // RFC 9110 7.8
    CHECK(serialize({status_code::upgrade_required, {{"Upgrade", "websocket"}}, ""}) ==
          "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: Upgrade, "
          "close\r\n\r\n");
}

TEST_CASE("a refusal becomes a response with its reason") {
    const auto r = refusal_response({status_code::uri_too_long, "request target too long"});
    CHECK(r.status == status_code::uri_too_long);
    CHECK(r.body == "request target too long\n");
    CHECK(reason_phrase(status_code{599}) == "Unknown");
}
