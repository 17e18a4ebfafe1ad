#include <kephas/proto/http/client_upgrade.hpp>
#include <kephas/proto/http/request_parser.hpp>
#include <kephas/proto/http/upgrade.hpp>

#include <doctest/doctest.h>

#include <array>
#include <functional>

using namespace kephas;
using namespace kephas::http;

namespace {

upgrade_offer offer() {
    return {.host = "server.example.com:8080",
            .target = "/chat?x=1",
            .key = "dGhlIHNhbXBsZSBub25jZQ==",
            .origin = "http://example.com",
            .subprotocols = {"chat", "superchat"},
            .extensions = "permessage-deflate",
            .headers = {{"Authorization", "Bearer abc"}}};
}

response_head agreed() {
    return {status_code::switching_protocols,
            "Switching Protocols",
            {{"Upgrade", "WebSocket"},
             {"Connection", "Upgrade"},
             {"Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}}};
}

bool accepted(const std::function<void(response_head&)>& change) {
    response_head response = agreed();
    change(response);
    return check_upgrade_response(response, offer()).has_value();
}

bool readable(std::string_view text) {
    response_parser parser;
    parser.handle(as_bytes(text));
    CHECK(parser.complete() != parser.failure().has_value());
    return parser.complete();
}

}  // namespace

TEST_CASE("a client's request is accepted by our own server") {
    const std::string text = client_upgrade_request(offer());
    request_parser parser;
    CHECK(parser.handle(as_bytes(text)) == text.size());
    REQUIRE(parser.complete());
    CHECK(parser.request().target == "/chat?x=1");
    CHECK(parser.request().header("Host") == "server.example.com:8080");
    CHECK(parser.request().header("Origin") == "http://example.com");
    CHECK(parser.request().header("Authorization") == "Bearer abc");
    CHECK(parser.request().header("Sec-WebSocket-Extensions") == "permessage-deflate");
    const auto outcome = check_upgrade(parser.request());
    REQUIRE(outcome);
    CHECK(outcome->subprotocols == offer().subprotocols);

    const std::string answer =
        switching_protocols_response(outcome->accept, "superchat", "permessage-deflate") + "\x81";
    response_parser response;
    CHECK(response.handle(as_bytes(answer)) == answer.size() - 1);
    REQUIRE(response.complete());
    const auto chosen = check_upgrade_response(response.response(), offer());
    REQUIRE(chosen);
    CHECK(*chosen == upgrade_answer{"superchat", "permessage-deflate"});
}

TEST_CASE("what is empty is not asked for") {
    CHECK(client_upgrade_request({.host = "a", .target = "", .key = "k"}) ==
          "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n");
}

TEST_CASE("a target cannot end the request line") {
    const auto line = [](const char* target) {
        const std::string text = client_upgrade_request({.host = "a", .target = target, .key = "k"});
        return text.substr(0, text.find("\r\n"));
    };
    CHECK(line("/a b\r\nX: y\xC3\xA9") == "GET /a%20b%0D%0AX:%20y%C3%A9 HTTP/1.1");
    CHECK(line("chat#part") == "GET /chat HTTP/1.1");
}

TEST_CASE("a key is the base64 of its 16 random bytes") {
    std::array<std::byte, 16> random{};
    CHECK(handshake_key(random) == "AAAAAAAAAAAAAAAAAAAAAA==");
    random.fill(std::byte{0xFF});
    CHECK(handshake_key(random) == "/////////////////////w==");
    CHECK(is_handshake_key(handshake_key(random)));
}

TEST_CASE("a response may be cut anywhere") {
    const std::string text = "HTTP/1.1 404 Not here\r\nServer: x\r\nX:\r\n\r\n";
    const response_head expected{status_code::not_found, "Not here", {{"Server", "x"}, {"X", ""}}};
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        response_parser parser;
        auto taken = parser.handle(as_bytes(std::string_view{text}.substr(0, cut)));
        taken += parser.handle(as_bytes(std::string_view{text}.substr(cut)));
        CHECK(taken == text.size());
        REQUIRE(parser.complete());
        CHECK(parser.response() == expected);
    }
}

TEST_CASE("malformed status lines are refused") {
    CHECK(readable("HTTP/1.1 200\r\n\r\n"));
    CHECK(readable("HTTP/1.1 200 \r\n\r\n"));
    CHECK(readable("HTTP/1.0 502 Bad Gateway\r\n\r\n"));
    for (const char* line : {"HTTP/2 200", "HTTP/1.1 20", "HTTP/1.1 099 x", "HTTP/1.1 2000", "HTTP/1.1  200",
                             "HTTP/1.x 200 OK", "SSH-2.0-OpenSSH_9.2p1", "HTTP/1.1 2x0 OK", "HTTP/1.1 200x"}) {
        CAPTURE(line);
        CHECK_FALSE(readable(std::string{line} + "\r\n\r\n"));
    }
}

TEST_CASE("an answer must belong to the offer") {  // RFC 6455 4.1
    CHECK(accepted([](response_head&) {}));
    CHECK(accepted([](response_head& r) { r.headers[1].value = "keep-alive, upgrade"; }));
    CHECK(accepted([](response_head& r) { r.headers.push_back({"Sec-WebSocket-Protocol", "chat"}); }));
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK_FALSE(accepted([i](response_head& r) { r.headers[i].name = "X"; }));
        CHECK_FALSE(accepted([i](response_head& r) { r.headers[i].value += "x"; }));
    }
    CHECK_FALSE(accepted([](response_head& r) { r.headers.push_back(r.headers[2]); }));
    CHECK_FALSE(accepted([](response_head& r) { r.headers.push_back({"Sec-WebSocket-Protocol", "other"}); }));
    CHECK_FALSE(accepted([](response_head& r) { r.headers.push_back({"Sec-WebSocket-Protocol", ""}); }));
    CHECK_FALSE(accepted([](response_head& r) {
        r.headers.push_back({"Sec-WebSocket-Protocol", "chat"});
        r.headers.push_back({"Sec-WebSocket-Protocol", "superchat"});
    }));

    response_head extended = agreed();
    extended.headers.push_back({"Sec-WebSocket-Extensions", "x-made-up"});
    upgrade_offer plain = offer();
    plain.extensions.clear();
    CHECK_FALSE(check_upgrade_response(extended, plain));
    CHECK(check_upgrade_response(extended, offer()));
}

TEST_CASE("a refusal keeps the server's status") {
    response_head response = agreed();
    response.status = status_code::forbidden;
    const auto outcome = check_upgrade_response(response, offer());
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().status == status_code::forbidden);
}
