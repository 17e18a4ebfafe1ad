#include "handshake.hpp"

#include "channel.hpp"
#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace bench;

namespace {

const handshake_key example{"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="};  // RFC 6455 section 1.3

std::string answer(const std::string& fields) { return "HTTP/1.1 101 Switching Protocols\r\n" + fields + "\r\n"; }

}  // namespace

TEST_CASE("keys differ, are 16 bytes in base64, and come again") {
    std::set<std::string> keys;
    for (std::uint64_t i = 0; i < 100; ++i) {
        const handshake_key made = make_handshake_key(i);
        CHECK(made.key.size() == 24);
        CHECK(made.key.ends_with("=="));
        CHECK(made.accept.size() == 28);
        CHECK(made.accept == make_handshake_key(i).accept);
        keys.insert(made.key);
    }
    CHECK(keys.size() == 100);
}

TEST_CASE("an answer to the key is the right one, whatever the case and the place of its fields") {
    const handshake_key made = make_handshake_key(7);
    CHECK(check_answer(answer("sec-websocket-ACCEPT:  " + made.accept + " \r\nUpgrade: websocket\r\n"), made));
    CHECK(check_answer(answer("Upgrade: websocket\r\nSec-WebSocket-Accept: " + example.accept + "\r\n"), example));
}

TEST_CASE("an answer is waited for until it is whole, but not for ever") {
    const std::string whole = answer("Sec-WebSocket-Accept: " + example.accept + "\r\n");
    for (std::size_t i = 0; i < whole.size(); ++i) CHECK_FALSE(check_answer(whole.substr(0, i), example));
    CHECK_THROWS_WITH_AS(static_cast<void>(check_answer(std::string(17 * 1024, 'x'), example)),
                         "no answer to the handshake", server_fault);
}

TEST_CASE("an answer is refused if it is another, agrees on an extension, or is followed by something") {
    const std::string accept = "Sec-WebSocket-Accept: " + example.accept + "\r\n";
    const auto complaint = [](const std::string& text) -> std::string {
        try {
            static_cast<void>(check_answer(text, example));
            return "";
        } catch (const server_fault& e) {
            return e.what();
        }
    };
    CHECK(complaint("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n") ==
          "refused: HTTP/1.1 503 Service Unavailable");
    CHECK(complaint(answer("Upgrade: websocket\r\n")) == "wrong Sec-WebSocket-Accept");
    CHECK(complaint(answer("Sec-WebSocket-Accept: " + make_handshake_key(1).accept + "\r\n")) ==
          "wrong Sec-WebSocket-Accept");
    CHECK(complaint(answer("X-Sec-WebSocket-Accept: " + example.accept + "\r\n")) == "wrong Sec-WebSocket-Accept");
    CHECK(complaint(answer(accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n")) ==
          "agrees on permessage-deflate: to be measured, it has to do without");
    CHECK(complaint(answer(accept) + "\x81").find("before it was spoken to") != std::string::npos);
}

TEST_CASE("the request of a browser has its fields, and the plain one those that it needs") {
    const url server = parse_url("ws://localhost:9000/ws?x");
    const std::string browser = browser_request(server, example);
    CHECK(browser.starts_with("GET /ws?x HTTP/1.1\r\nHost: localhost:9000\r\n"));
    CHECK(browser.ends_with("\r\n\r\n"));
    for (const char* line :
         {"Connection: Upgrade", "Pragma: no-cache", "Cache-Control: no-cache", "User-Agent: Mozilla/5.0 ",
          "Upgrade: websocket", "Origin: http://localhost:9000", "Sec-WebSocket-Version: 13",
          "Accept-Encoding: gzip, deflate", "Accept-Language: en-US", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
          "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"})
        CHECK_MESSAGE(browser.find(std::string{"\r\n"} + line) != std::string::npos, line);

    const std::string plain = plain_request(server, example);
    CHECK(plain.find("Origin") == std::string::npos);
    CHECK(plain.find("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n") != std::string::npos);
}
