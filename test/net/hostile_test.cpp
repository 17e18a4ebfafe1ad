// Peers that want to do harm. Each gets a clear answer, leaves one line in the log that holds none of its bytes, and the
// next client notices nothing.
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <sys/socket.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

/// An echo server with small limits, its log, and whether it still serves and holds nobody.
class target {
public:
    explicit target(const std::function<void(server_options&)>& change = {}) : server{routes(), options(change)} {}

    test_client open() { return test_client::open(server.port()); }

    /// A well-behaved client is served, and when it has gone nobody is left.
    void check_health() {
        {
            auto client = open();
            client.send_command(1, "well?");
            CHECK(client.read_command(1) == "well?");
            client.send_close(1000);
            CHECK(client.read_close() == received_close{1000, ""});
            CHECK(client.ends_cleanly());
        }
        CHECK(eventually([this] { return server->clients().size() == 0; }));
    }

    log_lines log;
    running_server server;

private:
    static router routes() {
        router out;
        out.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
        out.on(command_id{2}, dispatch::on_strand, [](request) -> reply { co_return payload{std::string(8 * 1024 * 1024, 'x')}; });
        return out;
    }
    server_options options(const std::function<void(server_options&)>& change) {
        server_options out = quiet_options();
        out.log = log.as_logger();
        out.rate_limit = no_rate_limit();
        if (change) change(out);
        return out;
    }
};

std::size_t count(const std::vector<std::string>& lines, std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [text](const std::string& line) { return line.find(text) != std::string::npos; }));
}

/// Printable text only: nothing of a peer's bytes stands in a log as it came.
bool is_clean(const std::string& line) {
    return std::ranges::all_of(line, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
}

std::string status_of(const std::string& response) {
    return response.starts_with("HTTP/1.1 ") && response.size() > 12 ? response.substr(9, 3) : "none";
}
std::string body_of(const std::string& response) {
    const auto end = response.find("\r\n\r\n");
    return end == std::string::npos ? "" : response.substr(end + 4);
}

std::string upgrade(std::string_view more = {}, std::string_view first_line = "GET /ws HTTP/1.1\r\n") {
    return std::string{first_line} +
           "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
           std::string{more} + "\r\n";
}

std::size_t resident_bytes() {
    std::ifstream file{"/proc/self/statm"};
    std::size_t pages = 0;
    file >> pages >> pages;
    return pages * 4096;
}

}  // namespace

TEST_CASE("what is no acceptable request gets a status, a short body and the end of the connection") {
    struct bad_request {
        std::string what;
        std::string bytes;
        const char* status;
    };
    using namespace std::string_literals;
    const std::string nul = "GET /ws HTTP/1.1\r\nHost: a\0b\r\n\r\n"s;
    const std::vector<bad_request> all{
        {"garbage", "hello hello hello\r\n\r\n", "400"},
        {"binary garbage", "\x01\x02\x03\xFF\xFE\r\n\r\n", "400"},
        {"an empty request line", "\r\n\r\n\r\n", "400"},
        {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
        {"a ClientHello of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"s + std::string(100, '\xAB'), "400"},
        {"a ClientHello of SSL 2", "\x80\x2E\x01\x00\x02\x00\x15\x00\x00\x00\x10"s, "400"},
        {"HTTP/1.0", upgrade({}, "GET /ws HTTP/1.0\r\n"), "505"},
        {"HTTP/0.9", "GET /ws\r\n\r\n", "400"},
        {"HTTP/3", upgrade({}, "GET /ws HTTP/3\r\n"), "400"},
        {"a proxy's request", upgrade({}, "GET http://evil.example/ws HTTP/1.1\r\n"), "400"},
        {"CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", "400"},
        {"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
        {"no Host", "GET /ws HTTP/1.1\r\n\r\n", "400"},
        {"two Hosts", upgrade("Host: evil\r\n"), "400"},
        {"a Host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"},
        {"NUL in a header", nul, "400"},
        {"a folded header", upgrade("X-A: b\r\n c\r\n"), "400"},
        {"a blank before the colon", upgrade("X-A : b\r\n"), "400"},
        {"a header without a name", upgrade(": b\r\n"), "400"},
        {"a bare CR", upgrade("X-A: b\rX-B: c\r\n"), "400"},
        {"bare LFs", "GET /ws HTTP/1.1\nHost: localhost\n\n", "400"},
        {"a key of 15 bytes", "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n", "400"},
        {"two keys", upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400"},
        {"version 8", "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "426"},
        {"an upgrade with a body", upgrade("Content-Length: 5\r\n") + "hello", "400"},
        {"a huge Content-Length", upgrade("Content-Length: 99999999999999999999999\r\n"), "400"},
        {"a POST that announces much", "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\nx", "405"},
        {"a negative Content-Length", upgrade("Content-Length: -1\r\n"), "400"},
        {"a Content-Length with a sign", upgrade("Content-Length: +0\r\n"), "400"},
        {"two Content-Lengths", upgrade("Content-Length: 0\r\nContent-Length: 5\r\n"), "400"},
        {"a list of Content-Lengths", upgrade("Content-Length: 0, 5\r\n"), "400"},
        {"a chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "400"},
        {"chunked and Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n", "400"},
        {"an obscured Transfer-Encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "400"},
        {"a path out of the root", "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "404"},
        {"an escape that is none", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"a target of 9,000 bytes", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", "414"},
        {"a header of 20,000 bytes", upgrade("X-A: " + std::string(20'000, 'a') + "\r\n"), "431"},
        {"200 headers", [] {
             std::string more;
             for (int i = 0; i < 200; ++i) more += "X-" + std::to_string(i) + ": a\r\n";
             return upgrade(more);
         }(), "431"},
    };
    target victim;
    for (const bad_request& one : all) {
        CAPTURE(one.what);
        for (const bool bytewise : {false, true}) {
            if (bytewise && one.bytes.size() > 400) continue;
            test_client client{victim.server.port()};
            if (bytewise) {
                for (const char c : one.bytes) client.send_raw(std::string_view{&c, 1});
            } else {
                client.send_raw(one.bytes);
            }
            const std::string response = client.read_to_end();
            CHECK(status_of(response) == one.status);
            CHECK(body_of(response).size() < 200);
            const std::string head = response.substr(0, response.find("\r\n\r\n"));
            CHECK(head.find("close", head.find("\r\nConnection: ")) != std::string::npos);
            CHECK(std::ranges::count(response, '\0') == 0);
        }
    }
    victim.check_health();
    for (const std::string& line : victim.log.all()) CHECK(is_clean(line));
}

TEST_CASE("ten mebibytes of headers are refused at the limit, and cost no memory") {
    target victim;
    const std::size_t before = resident_bytes();
    for (int round = 0; round < 3; ++round) {
        test_client client{victim.server.port()};
        std::string response;
        client.send_raw("GET /ws HTTP/1.1\r\nHost: a\r\n");
        const std::string line = "X-Much: " + std::string(1000, 'x') + "\r\n";
        std::string block;
        for (int i = 0; i < 64; ++i) block += line;
        try {
            for (int sent = 0; sent < 160; ++sent) client.send_raw(block);
        } catch (const std::runtime_error&) {
            // the server has stopped reading, as it may
        }
        try {
            response = client.read_to_end();
        } catch (const std::runtime_error&) {
        }
        if (!response.empty()) CHECK(status_of(response) == "431");
    }
    CHECK(resident_bytes() < before + 8 * 1024 * 1024);
    victim.check_health();
}

TEST_CASE("clients that never finish their handshake hold up nobody, and are dropped in time") {
    target victim{[](server_options& o) { o.handshake_timeout = 500ms; }};
    std::vector<test_client> slow;
    for (int i = 0; i < 60; ++i) {
        slow.emplace_back(victim.server.port());
        if (i % 3 == 1) slow.back().send_raw("GET /ws HTTP/1.1\r\nHost: loc");
        if (i % 3 == 2) slow.back().send_raw("\x16");
    }
    victim.check_health();
    // one byte after the other, each before anybody could call it silent
    const std::string head = upgrade("X-Slow: " + std::string(2000, 'x') + "\r\n");
    const auto begun = std::chrono::steady_clock::now();
    try {
        for (const char c : head) {
            slow.front().send_raw(std::string_view{&c, 1});
            if (slow.front().ends_cleanly()) break;
        }
    } catch (const std::runtime_error&) {
    }
    for (auto& client : slow) {
        try {
            CHECK(client.read_to_end().size() < 400);
        } catch (const std::runtime_error&) {  // reset: there was something unread
        }
    }
    CHECK(std::chrono::steady_clock::now() - begun < 9s);
    victim.check_health();
}

TEST_CASE("a reset at every stage leaves nothing behind") {
    target victim;
    const std::string request = upgrade();
    const std::string frames = test_client::frame(2, test_client::command(1, "hello"), false) + test_client::frame(9, "ping") +
                               test_client::frame(0, " world") + test_client::frame(2, test_client::command(2, "")) +
                               test_client::frame(8, std::string{"\x03\xE8", 2});
    SUBCASE("while the request is sent") {
        for (std::size_t size = 0; size <= request.size(); size += 9) {
            test_client client{victim.server.port()};
            client.send_raw(std::string_view{request}.substr(0, size));
            client.reset();
        }
    }
    SUBCASE("while the answer is on its way") {
        for (int i = 0; i < 20; ++i) {
            test_client client{victim.server.port()};
            client.send_raw(request + frames);
            client.reset();
        }
    }
    SUBCASE("while frames are sent") {
        for (std::size_t size = 0; size <= frames.size(); ++size) {
            auto client = victim.open();
            client.send_raw(std::string_view{frames}.substr(0, size));
            client.reset();
        }
    }
    SUBCASE("while a reply is read") {
        auto client = victim.open();
        client.send_command(2, "");
        std::string some(100'000, ' ');
        CHECK(::recv(client.native_handle(), some.data(), some.size(), 0) > 0);  // the rest fits no socket
        client.reset();
    }
    SUBCASE("between the close frames") {
        for (int i = 0; i < 10; ++i) {
            auto client = victim.open();
            client.send_frame(3, "");
            (void)client.read_close();
            client.reset();
        }
    }
    victim.check_health();
    for (const std::string& line : victim.log.all()) CHECK(is_clean(line));
}

TEST_CASE("half a connection is no connection") {
    target victim;
    SUBCASE("the end of the stream instead of a request") {
        test_client client{victim.server.port()};
        client.shutdown_send();
        CHECK(client.read_to_end().empty());
    }
    SUBCASE("the end of the stream inside a request") {
        test_client client{victim.server.port()};
        client.send_raw("GET /ws HTTP/1.1\r\nHost: local");
        client.shutdown_send();
        CHECK(client.read_to_end().empty());
    }
    SUBCASE("the end of the stream inside a frame") {
        auto client = victim.open();
        client.send_raw(test_client::frame(2, test_client::command(1, "cut")).substr(0, 8));
        client.shutdown_send();
        CHECK(client.read_to_end().empty());
        CHECK(victim.log.wait_for("connection ended: code=1006"));
    }
    victim.check_health();
}

TEST_CASE("floods of control frames, of tiny fragments and of empty ones are closed with 1008") {
    struct flood {
        std::string frames;
        std::string reason;
    };
    std::string pings;
    std::string pongs;
    std::string tiny = test_client::frame(2, "a", false);
    std::string empty = tiny;
    for (int i = 0; i < 1'000; ++i) {
        pings += test_client::frame(9, "p");
        pongs += test_client::frame(10, "");
        tiny += test_client::frame(0, "b", false);
        empty += test_client::frame(0, "", false);
    }
    const std::vector<flood> all{{pings, "Control frame rate limit exceeded"},
                                 {pongs, "Control frame rate limit exceeded"},
                                 {tiny, "too many fragments"},
                                 {empty, "too many empty fragments"}};
    target victim{[](server_options& o) {
        o.max_fragments = 500;
        o.max_empty_fragments = 100;
    }};
    for (const flood& one : all) {
        auto client = victim.open();
        client.send_raw(one.frames);
        CHECK(client.read_close() == received_close{1008, one.reason});
        CHECK(client.ends_cleanly());
        client.close();
        CHECK(victim.log.wait_for("connection ended: code=1008 reason=\"" + one.reason));
    }
    CHECK(count(victim.log.all(), "code=1008") == all.size());  // one line each
    victim.check_health();
}

TEST_CASE("half a million brackets are an error, not a crash") {
    target victim;
    auto client = victim.open();
    const auto is_refused = [&client](const std::string& text) {
        client.send_text(text);
        const std::string answer = client.read_text();
        CHECK(answer.size() < 300);
        CHECK(answer.find("error") != std::string::npos);
    };
    is_refused(std::string(500'000, '['));
    is_refused(std::string(250'000, '[') + std::string(250'000, ']'));
    is_refused(R"({"jsonrpc":"2.0","id":1,"method":"x","params":)" + std::string(400'000, '['));
    std::string objects;
    for (int i = 0; i < 80'000; ++i) objects += R"({"a":)";
    is_refused(objects);
    client.send_command(0xFFFFFFFF, std::string(500'000, '['));
    CHECK(client.read_command(0xFFFFFFFE).find("error") != std::string::npos);
    client.send_command(1, "alive");
    CHECK(client.read_command(1) == "alive");
    client.send_close(1000);
    (void)client.read_close();
    client.close();
    victim.check_health();
}

TEST_CASE("a frame that announces more than it may is refused before its payload, and the reason reaches a peer that goes on sending") {
    target victim{[](server_options& o) { o.max_binary_payload = 1000; }};
    auto client = victim.open();
    client.send_command(1, "first");
    CHECK(client.read_command(1) == "first");
    client.send_raw(test_client::frame(2, test_client::command(1, std::string(900'000, 'x'))));
    CHECK(client.read_close() == received_close{1009, "binary message exceeds the limit of 1004 bytes"});
    CHECK(client.ends_cleanly());
    client.close();
    CHECK(victim.log.wait_for("connection ended: code=1009"));
    victim.check_health();
}

TEST_CASE("announced sizes cost nothing: two hundred headers of ten mebibytes") {
    target victim;
    const std::string announcement = test_client::frame(2, std::string(70'000, 'x')).substr(0, 2) + std::string{"\0\0\0\0\0\xA0\0\0", 8} + "keys";
    std::vector<test_client> clients;
    for (int i = 0; i < 200; ++i) clients.push_back(victim.open());
    const std::size_t before = resident_bytes();
    for (auto& client : clients) client.send_raw(announcement + "some");
    CHECK(eventually([&] { return victim.server->clients().size() == 200; }));
    victim.open().send_close(1000);
    CHECK(resident_bytes() < before + 4 * 1024 * 1024);
    for (auto& client : clients) client.reset();
    victim.check_health();
}

TEST_CASE("frames in the segment of the handshake are read, bad ones are refused") {
    target victim;
    {
        test_client client{victim.server.port()};
        client.send_raw(upgrade() + test_client::frame(2, test_client::command(1, "early")) + test_client::frame(9, "p"));
        CHECK(client.read_head().starts_with("HTTP/1.1 101 "));
        const received_frame first = client.read_frame();
        const received_frame second = client.read_frame();
        CHECK(std::min(first.opcode, second.opcode) == 2);
        CHECK(std::max(first.opcode, second.opcode) == 10);
        client.send_close(1000);
        (void)client.read_close();
    }
    {
        test_client client{victim.server.port()};
        client.send_raw(upgrade() + "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n");  // a request smuggled behind the upgrade
        CHECK(client.read_head().starts_with("HTTP/1.1 101 "));
        CHECK(client.read_close().code == 1002);
        CHECK(client.ends_cleanly());
    }
    {
        test_client client{victim.server.port()};  // and one behind another request is never answered
        client.send_raw("GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        const std::string answers = client.read_to_end();
        CHECK(answers.find("HTTP/1.1") == answers.rfind("HTTP/1.1"));
    }
    victim.check_health();
}

TEST_CASE("a peer's text reaches no log unescaped, and a violation leaves one line") {
    target victim;
    auto client = victim.open();
    client.send_close(4000, "line one\nline two\x1b[31m");
    (void)client.read_close();
    client.close();
    CHECK(victim.log.wait_for("code=4000"));
    auto other = victim.open();
    other.send_frame(1, "\xFF\x1b[31mevil");
    CHECK(other.read_close() == received_close{1007, "text is not UTF-8"});
    other.close();
    CHECK(victim.log.wait_for("code=1007"));
    CHECK(count(victim.log.all(), "code=1007") == 1);
    CHECK(count(victim.log.all(), "evil") == 0);
    for (const std::string& line : victim.log.all()) CHECK(is_clean(line));
    victim.check_health();
}
