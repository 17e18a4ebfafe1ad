#include <kephas/proto/http/upgrade.hpp>

#include <doctest/doctest.h>

#include <utility>

using namespace kephas::http;

namespace {

using strings = std::vector<std::string>;

/// RFC 6455 1.3
request handshake() {
    request r;
    r.method = "GET";
    r.target = r.path = "/chat";
    r.version = "HTTP/1.1";
    r.headers = {{"Host", "server.example.com"},   {"Upgrade", "websocket"},
                 {"Connection", "Upgrade"},        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                 {"Origin", "http://example.com"}, {"Sec-WebSocket-Protocol", "chat, superchat"},
                 {"Sec-WebSocket-Version", "13"}};
    return r;
}

/// The handshake with another value for `name`; without that header when `value` is null.
request changed(std::string_view name, const char* value) {
    request r = handshake();
    std::erase_if(r.headers, [name](const header& h) { return h.name == name; });
    if (value) r.headers.push_back({std::string{name}, value});
    return r;
}

int status_of(const request& r) {
    const auto outcome = check_upgrade(r);
    return outcome ? 101 : static_cast<int>(outcome.error().status);
}

}  // namespace

TEST_CASE("the example of RFC 6455 is accepted") {
    const auto outcome = check_upgrade(handshake());
    REQUIRE(outcome);
    CHECK(*outcome == upgrade{"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", {"chat", "superchat"}});
    CHECK(switching_protocols_response(outcome->accept, "chat") ==
          "HTTP/1.1 101 Switching Protocols\r\n"
          "Upgrade: websocket\r\n"
          "Connection: Upgrade\r\n"
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
          "Sec-WebSocket-Protocol: chat\r\n"
          "\r\n");
}

TEST_CASE("a 101 response has what was agreed and nothing else") {
    const std::vector<header> extra = {{"Set-Cookie", "a=b\r\nX: y"}};
    CHECK(switching_protocols_response("k", {}, "permessage-deflate", extra) ==
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Accept: k\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSet-Cookie: a=b  X: y\r\n\r\n");
}

TEST_CASE("tokens are compared as tokens, in any case of letters") {
    CHECK(status_of(changed("Upgrade", "WebSocket")) == 101);
    CHECK(status_of(changed("Upgrade", "h2c, websocket")) == 101);
    CHECK(status_of(changed("Connection", "keep-alive, Upgrade")) == 101);
    CHECK(status_of(changed("Connection", "UPGRADE")) == 101);
    CHECK(status_of(changed("Upgrade", "websocket2")) == 426);
    CHECK(status_of(changed("Upgrade", "notwebsocket")) == 426);
    CHECK(status_of(changed("Upgrade", "websocket/13")) == 426);
    CHECK(status_of(changed("Upgrade", "h2c")) == 426);
    CHECK(status_of(changed("Upgrade", "")) == 426);
    CHECK(status_of(changed("Connection", "Upgraded")) == 426);
    CHECK(status_of(changed("Connection", "no-upgrade")) == 426);
    CHECK(status_of(changed("Connection", "keep-alive")) == 426);
    CHECK(status_of(changed("Connection", nullptr)) == 426);
}

TEST_CASE("a plain GET is told what would be understood") {
    request r = changed("Upgrade", nullptr);
    r.headers = {{"Host", "a"}};
    const auto outcome = check_upgrade(r);
    REQUIRE_FALSE(outcome);
    const response& answer = outcome.error();
    CHECK(answer.status == status_code::upgrade_required);
    CHECK(find_header(answer.headers, "Upgrade") == "websocket");
    CHECK(find_header(answer.headers, "Sec-WebSocket-Version") == "13");
}

TEST_CASE("other versions are told that it is 13") {  // RFC 6455 4.4
    for (const char* version : {"8", "12", "013", "13, 8", "", "14"}) {
        CAPTURE(version);
        const auto outcome = check_upgrade(changed("Sec-WebSocket-Version", version));
        REQUIRE_FALSE(outcome);
        CHECK(outcome.error().status == status_code::upgrade_required);
        CHECK(find_header(outcome.error().headers, "Sec-WebSocket-Version") == "13");
    }
    CHECK(status_of(changed("Sec-WebSocket-Version", nullptr)) == 426);
}

TEST_CASE("a connection is opened by GET and without a body") {
    for (const char* method : {"POST", "HEAD", "get", "CONNECT"}) {
        request r = handshake();
        r.method = method;
        const auto outcome = check_upgrade(r);
        REQUIRE_FALSE(outcome);
        CHECK(outcome.error().status == status_code::method_not_allowed);
        CHECK(find_header(outcome.error().headers, "Allow") == "GET");
    }
    request r = handshake();
    r.content_length = 1;
    CHECK(status_of(r) == 400);
}

TEST_CASE("a key is 16 bytes in canonical base64") {
    CHECK(is_handshake_key("AAAAAAAAAAAAAAAAAAAAAA=="));
    CHECK(is_handshake_key("/+/+/+/+/+/+/+/+/+/+/w=="));
    for (const char* key :
         {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZQ=A",
          "dGhlIHNhbXBsZSBub25jZQ= =", "dGhlIHNhbXBsZSBub25jZWE=", "dGhlIHNhbXBsZSBub25jZWFh",
          "dGhlIHNhbXBsZSBub25=ZQ==", "dGhlIHNhbXBsZSBub2-_ZQ==", "c2hvcnQ=", "========================",
          "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j\xC3\xA9=="}) {
        CAPTURE(key);
        CHECK_FALSE(is_handshake_key(key));
        CHECK(status_of(changed("Sec-WebSocket-Key", key)) == 400);
    }
    CHECK(status_of(changed("Sec-WebSocket-Key", nullptr)) == 400);
}

TEST_CASE("subprotocols are tokens, each offered once, in one header or in several") {
    request r = changed("Sec-WebSocket-Protocol", "b, a");
    r.headers.push_back({"sec-websocket-protocol", "c"});
    CHECK(offered_subprotocols(r) == strings{"b", "a", "c"});
    CHECK(offered_subprotocols(changed("Sec-WebSocket-Protocol", nullptr)) == strings{});
    CHECK(offered_subprotocols(changed("Sec-WebSocket-Protocol", ",a,,")) == strings{"a"});
    CHECK(offered_subprotocols(changed("Sec-WebSocket-Protocol", "a, A")) == strings{"a", "A"});
    for (const char* bad : {"a b", "a, b/c", "\"a\"", "a, b, a", "a;q=1"}) {
        CAPTURE(bad);
        CHECK_FALSE(offered_subprotocols(changed("Sec-WebSocket-Protocol", bad)));
        CHECK(status_of(changed("Sec-WebSocket-Protocol", bad)) == 400);
    }
}

TEST_CASE("the client's favourite among the supported subprotocols is chosen") {
    const strings offered = {"c", "b", "a"};
    CHECK(select_subprotocol(offered, strings{"a", "b"}) == "b");
    CHECK(select_subprotocol(offered, strings{"B", "x"}).empty());
    CHECK(select_subprotocol(offered, {}).empty());
    CHECK(select_subprotocol({}, strings{"a"}).empty());
}
