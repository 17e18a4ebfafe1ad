// The command client against a server that the test plays: what it says in its handshake, refusals, and peers that break rules.
#include <kephas/proto/http/upgrade.hpp>

#include <support/linked_client.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using lines = std::vector<std::string>;

namespace {

/// The other end of the wire, in the hands of the test. Its frames are not masked; those of the client have to be.
struct played_server {
    played_server() { world.served = false; }

    std::unique_ptr<command_client> make(command_client_options options, std::string_view url = "ws://server/ws") {
        auto made = std::make_unique<command_client>(world.executor(), url, std::move(options));
        states.watch(*made);
        return made;
    }
    /// Begins to connect; the head of the request is taken.
    void begin(command_client& client) {
        world.go([&client]() -> asio::awaitable<void> { co_await client.connect(); });
        request = world.link().to_server().take();
    }
    [[nodiscard]] std::string header(const std::string& name) const {
        const std::size_t at = request.find("\r\n" + name + ": ");
        if (at == std::string::npos) return {};
        const std::size_t begin = at + name.size() + 4;
        return request.substr(begin, request.find("\r\n", begin) - begin);
    }
    [[nodiscard]] std::string accepted(std::string_view more = {}) const {
        return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
               http::accept_key(header("Sec-WebSocket-Key")) + "\r\n" + std::string{more} + "\r\n";
    }
    void say(std::string_view bytes) {
        world.link().to_client().write(bytes);
        world.settle();
    }
    void say_frame(unsigned first, std::string_view payload) {
        std::string bytes{static_cast<char>(first)};
        if (payload.size() < 126) {
            bytes += static_cast<char>(payload.size());
        } else {
            bytes += static_cast<char>(126);
            bytes += static_cast<char>(payload.size() >> 8U);
            bytes += static_cast<char>(payload.size() & 0xFFU);
        }
        say(bytes.append(payload));
    }
    /// An open connection.
    std::unique_ptr<command_client> open(command_client_options options) {
        auto client = make(std::move(options));
        begin(*client);
        say(accepted());
        REQUIRE(client->state() == link_state::connected);
        (void)states.take();
        return client;
    }
    /// What the client has sent: opcode in hex, then the payload, which is all that may come unfragmented and masked.
    lines hear() {
        std::string bytes = world.link().to_server().take();
        lines all;
        while (!bytes.empty()) {
            const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes.at(i)); };
            REQUIRE((byte(1) & 0x80U) != 0);
            std::size_t size = byte(1) & 0x7FU;
            std::size_t head = 2;
            if (size == 126) {
                size = std::size_t{byte(2)} << 8U | byte(3);
                head = 4;
            }
            std::string payload;
            for (std::size_t i = 0; i < size; ++i) {
                payload += static_cast<char>(byte(head + 4 + i) ^ byte(head + i % 4));
            }
            static constexpr std::string_view digits = "0123456789abcdef";
            all.push_back(std::string{digits[byte(0) >> 4U]} + digits[byte(0) & 0xFU] + " " + payload);
            bytes.erase(0, head + 4 + size);
        }
        return all;
    }
    [[nodiscard]] std::error_code failure() {
        world.settle();
        return world.failure();
    }

    client_world world;
    state_recorder states;
    std::string request;
};

std::string close_payload(unsigned code, std::string_view reason = {}) {
    return std::string{static_cast<char>(code >> 8U), static_cast<char>(code & 0xFFU)}.append(reason);
}

}  // namespace

TEST_CASE("the opening handshake says what the options say") {
    played_server server;
    auto options = server.world.options();
    options.headers = {{"Authorization", "Bearer abc"}, {"Cookie", "a=b"}};
    options.origin = "https://example.org";
    options.subprotocols = {"chat.v2", "chat.v1"};
    options.deflate.enabled = true;
    const auto client = server.make(options, "ws://example.org:8080/ws?room=1");
    server.begin(*client);
    CHECK(server.request.starts_with("GET /ws?room=1 HTTP/1.1\r\n"));
    CHECK(server.header("Host") == "example.org:8080");
    CHECK(server.header("Upgrade") == "websocket");
    CHECK(server.header("Sec-WebSocket-Version") == "13");
    CHECK(server.header("Sec-WebSocket-Key").size() == 24);
    CHECK(server.header("Authorization") == "Bearer abc");
    CHECK(server.header("Cookie") == "a=b");
    CHECK(server.header("Origin") == "https://example.org");
    CHECK(server.header("Sec-WebSocket-Protocol") == "chat.v2, chat.v1");
    CHECK(server.header("Sec-WebSocket-Extensions").starts_with("permessage-deflate"));
    server.say(server.accepted("Sec-WebSocket-Protocol: chat.v1\r\n"));
    CHECK(client->state() == link_state::connected);
    CHECK(client->subprotocol() == "chat.v1");
}

TEST_CASE("the Host header leaves out the port of the scheme, and a URL without a path asks for /") {
    played_server server;
    const auto client = server.make(server.world.options(), "ws://[::1]:80");
    server.begin(*client);
    CHECK(server.request.starts_with("GET / HTTP/1.1\r\n"));
    CHECK(server.header("Host") == "[::1]");
    CHECK(server.header("Origin").empty());
    CHECK(server.header("Sec-WebSocket-Extensions").empty());
}

TEST_CASE("answers that break the protocol, or agree to what was not asked, end with invalid_handshake and no second attempt") {
    const auto check = [](const std::function<std::string(const played_server&)>& answer) {
        played_server server;
        auto options = server.world.options();
        options.retry_first_connect = true;
        options.subprotocols = {"chat"};
        const auto client = server.make(options);
        server.begin(*client);
        const std::string text = answer(server);
        CAPTURE(text);
        server.say(text);
        CHECK(server.failure() == errc::invalid_handshake);
        CHECK(server.failure() == condition::protocol_violation);
        CHECK(server.states.take() == lines{"connecting", "closed 1002"});
    };
    check([](const auto&) { return "SSH-2.0-OpenSSH_9.2\r\n\r\n"; });
    check([](const auto& s) { return s.accepted("Sec-WebSocket-Protocol: other\r\n"); });
    check([](const auto& s) { return s.accepted("Sec-WebSocket-Extensions: permessage-deflate\r\n"); });
    check([](const auto& s) { return s.accepted("Sec-WebSocket-Accept: again\r\n"); });
    check([](const auto&) {
        return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    });
    check([](const auto&) { return "HTTP/1.1 101 Switching Protocols\r\n" + std::string(20'000, 'x') + "\r\n\r\n"; });
}

TEST_CASE("an agreement on compression that breaks RFC 7692 is no handshake") {
    played_server server;
    auto options = server.world.options();
    options.deflate.enabled = true;
    const auto client = server.make(options);
    server.begin(*client);
    SUBCASE("an unknown parameter") { server.say(server.accepted("Sec-WebSocket-Extensions: permessage-deflate; x=1\r\n")); }
    SUBCASE("another extension") { server.say(server.accepted("Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n")); }
    SUBCASE("a window that is none") {
        server.say(server.accepted("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n"));
    }
    CHECK(server.failure() == errc::invalid_handshake);
}

TEST_CASE("what is wrong with an answer is said, in the exception and in the log") {
    played_server server;
    const auto client = server.make(server.world.options());
    server.begin(*client);
    server.say(server.accepted("Sec-WebSocket-Protocol: other\r\n"));
    std::string what;
    try {
        std::rethrow_exception(server.world.failures.at(0));
    } catch (const error& failure) {
        what = failure.what();
    }
    CHECK(what.find("the subprotocol was not offered") != std::string::npos);
    REQUIRE(!server.world.log.empty());
    CHECK(server.world.log.back().find("the subprotocol was not offered") != std::string::npos);
}

TEST_CASE("a refused handshake keeps its status, and 401 is not asked again") {
    for (const int status : {401, 403, 404, 302}) {
        CAPTURE(status);
        played_server server;
        auto options = server.world.options();
        options.retry_first_connect = true;
        const auto client = server.make(options);
        int thrown = 0;
        server.world.go([&]() -> asio::awaitable<void> {
            try {
                co_await client->connect();
            } catch (const handshake_refused& refused) {
                thrown = refused.status();
            }
        });
        server.say("HTTP/1.1 " + std::to_string(status) + " No\r\nContent-Length: 2\r\nLocation: /x\r\n\r\nno");
        server.world.run_for(1min);
        CHECK(thrown == status);
        CHECK(server.world.attempts.size() == 1);
        CHECK(client->state() == link_state::closed);
    }
    CHECK(std::error_code{401, http_status_category()} == condition::unauthorized);
    CHECK(std::error_code{503, http_status_category()} == condition::overloaded);
}

TEST_CASE("a server that is full is asked again when it says so, and not at once after that") {
    for (const auto& [answer, expected] : {std::pair<std::string, duration>{"503 Full\r\nRetry-After: 20\r\n", 20'500ms},
                                           {"429 Slowly\r\nRetry-After: 7200\r\n", 5min + 500ms},
                                           {"503 Full\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 500ms}}) {
        CAPTURE(answer);
        played_server server;
        auto options = server.world.options();
        options.retry_first_connect = true;
        const auto client = server.make(options);
        server.begin(*client);
        server.say("HTTP/1.1 " + answer + "\r\n");
        const auto took = server.world.world().time_until([&] { return server.world.attempts.size() == 2; });
        CHECK(took == expected);
        client->close();
        server.world.settle();
    }
}

TEST_CASE("what comes in one piece with the handshake is not lost, and the handshake may come in single bytes") {
    played_server server;
    const auto client = server.make(server.world.options());
    server.begin(*client);
    std::string all = server.accepted();
    SUBCASE("one piece") { server.say(all + "\x81\x02hi"); }
    SUBCASE("single bytes") {
        for (const char byte : all + "\x81\x02hi") server.say({&byte, 1});
    }
    std::optional<client_message> message;
    server.world.go([&]() -> asio::awaitable<void> { message = co_await client->receive(); });
    REQUIRE(message);
    CHECK(message->text() == "hi");
    CHECK_FALSE(message->command);
}

TEST_CASE("fragmented messages are put together, and pings between their frames are answered at once") {
    played_server server;
    const auto client = server.open(server.world.options());
    server.say_frame(0x02, std::string{"\0\0\0\x07one ", 8});
    server.say_frame(0x89, "are you there");
    server.say_frame(0x00, "two ");
    CHECK(server.hear() == lines{"8a are you there"});
    server.say_frame(0x80, "three");
    std::optional<client_message> message;
    server.world.go([&]() -> asio::awaitable<void> { message = co_await client->receive(); });
    REQUIRE(message);
    CHECK(message->command == command_id{7});
    CHECK(message->text() == "one two three");
}

TEST_CASE("what breaks the protocol is answered by its close code, and no reconnection") {
    const auto check = [](const std::function<void(played_server&)>& fault, unsigned code) {
        CAPTURE(code);
        played_server server;
        auto options = server.world.options();
        options.max_message = 1'000;
        const auto client = server.open(options);
        fault(server);
        const lines heard = server.hear();
        REQUIRE(heard.size() == 1);
        CHECK(heard[0].substr(0, 5) == "88 " + close_payload(code));
        CHECK(server.world.link().to_server().was_ended());
        server.world.run_for(1min);
        CHECK(server.states.take() == lines{"closed " + std::to_string(code)});
        CHECK(server.world.attempts.size() == 1);
    };
    check([](played_server& s) { s.say_frame(0x81, std::string(1'001, 'x')); }, 1009);
    check([](played_server& s) { s.say_frame(0x82, std::string(1'005, 'x')); }, 1009);
    check([](played_server& s) { s.say_frame(0x81, "\xFF"); }, 1007);
    check([](played_server& s) { s.say_frame(0x83, "?"); }, 1002);
    check([](played_server& s) { s.say_frame(0xC1, "compressed?"); }, 1002);
    check([](played_server& s) { s.say_frame(0x80, "a continuation of nothing"); }, 1002);
    check([](played_server& s) { s.say_frame(0x82, "abc"); }, 1002);              // shorter than the id of a command
    check([](played_server& s) { s.say(std::string_view{"\x81\x81mask!", 7}); }, 1002);  // a server does not mask
    check([](played_server& s) { s.say_frame(0x88, close_payload(1005)); }, 1002);
}

TEST_CASE("the server closes first: its frame is answered, and the connection ends from our side") {
    played_server server;
    const auto client = server.open(server.world.options());
    server.say_frame(0x88, close_payload(1000, "bye"));
    CHECK(server.hear() == lines{"88 " + close_payload(1000)});
    CHECK(server.world.link().to_server().was_ended());
    CHECK(client->state() == link_state::connected);  // it waits a little for the end of the stream
    server.world.link().to_client().end();
    server.world.settle();
    CHECK(server.states.take() == lines{"closed 1000"});
}

TEST_CASE("a close frame with the end of the stream right behind it is answered all the same") {
    played_server server;
    auto options = server.world.options();
    options.max_received_messages = 1;
    const auto client = server.open(options);
    server.world.link().to_server().set_capacity(3);  // the answer does not leave at once
    server.world.link().to_client().write("\x88\x05" + close_payload(1000, "bye"));
    server.world.link().to_client().end();
    server.world.settle();
    std::string heard = server.world.link().to_server().take();
    server.world.settle();
    heard += server.world.link().to_server().take();
    server.world.settle();
    heard += server.world.link().to_server().take();
    CHECK(heard.size() == 2 + 4 + 2);
    CHECK(server.world.link().to_server().was_ended());
    CHECK_FALSE(server.world.link().to_server().was_reset());
    CHECK(server.states.take() == lines{"closed 1000"});
}

TEST_CASE("both sides close at the same time") {
    played_server server;
    const auto client = server.open(server.world.options());
    client->close(close_code{4001}, "mine");
    server.say_frame(0x88, close_payload(4002, "theirs"));
    CHECK(server.hear() == lines{"88 " + close_payload(4001, "mine")});
    server.world.link().to_client().end();
    server.world.settle();
    connection_end end;
    server.world.go([&]() -> asio::awaitable<void> { end = co_await client->closed(); });
    CHECK(end.code == close_code{4001});
    CHECK(end.clean);
}

TEST_CASE("a server that ends the stream without a close frame is lost, one that does so in the handshake refused") {
    played_server server;
    SUBCASE("open") {
        const auto client = server.open(server.world.options());
        server.world.link().to_client().end();
        server.world.settle();
        CHECK(server.states.take() == lines{"reconnecting in 500"});
    }
    SUBCASE("handshake") {
        const auto client = server.make(server.world.options());
        server.begin(*client);
        server.world.link().to_client().end();
        CHECK(server.failure() == errc::closed);
    }
}

TEST_CASE("a close frame that was sent before the connection was reset is still read") {
    played_server server;
    const auto client = server.open(server.world.options());
    server.world.link().to_server().stop_reading();  // writing fails from now on
    (void)client->try_send(command_id{1}, "x");
    server.say_frame(0x88, close_payload(1008, "out"));
    server.world.run_for(2s);
    CHECK(server.states.take() == lines{"closed 1008"});
}

TEST_CASE("JSON-RPC on binary goes out on binary, batches of calls are answered one by one") {
    played_server server;
    auto client = server.make(server.world.options());
    client->rpc("up", [](json params) -> asio::awaitable<json> { co_return json{params.at(0).as_int64().value_or(0) + 1}; });
    server.begin(*client);
    server.say(server.accepted());
    const std::string id = "\xFF\xFF\xFF\xFF";
    server.say_frame(0x82, id + R"({"jsonrpc":"2.0","method":"up","params":[1],"id":"a"})");
    CHECK(server.hear() == lines{"82 " + id + R"({"jsonrpc":"2.0","result":2,"id":"a"})"});
    server.say_frame(0x82, id + R"({"jsonrpc":"2.0","method":"down","id":"b"})");
    CHECK(server.hear() == lines{"82 \xFF\xFF\xFF\xFE" R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"b"})"});
    server.say_frame(0x81, R"({"jsonrpc":"2.0","method":"up","params":[1]})");  // a notification
    CHECK(server.hear().empty());
    server.say_frame(0x81, R"([{"jsonrpc":"2.0","method":"up","params":[1],"id":1},{"jsonrpc":"2.0","method":"up","params":[2],"id":2}])");
    CHECK(server.hear() == lines{R"(81 {"jsonrpc":"2.0","result":2,"id":1})", R"(81 {"jsonrpc":"2.0","result":3,"id":2})"});
}

TEST_CASE("answers that nobody waits for, twice or of another shape, do no harm") {
    played_server server;
    const auto client = server.open(server.world.options());
    std::string failed;
    server.world.go([&]() -> asio::awaitable<void> {
        try {
            (void)co_await client->call("f");
        } catch (const error& failure) {
            failed = failure.code().message();
        }
    });
    CHECK(server.hear() == lines{R"(81 {"jsonrpc":"2.0","method":"f","id":1})"});
    server.say_frame(0x81, R"({"jsonrpc":"2.0","result":1,"id":7})");
    server.say_frame(0x81, R"({"jsonrpc":"2.0","result":1,"error":{"code":1,"message":""},"id":1})");
    server.say_frame(0x81, R"({"jsonrpc":"2.0","result":1,"id":1})");
    CHECK(failed == make_error_code(errc::invalid_response).message());
    CHECK(client->state() == link_state::connected);
    CHECK(server.hear().empty());
}

TEST_CASE("text that is no JSON-RPC reaches receive(), whatever it looks like") {
    played_server server;
    const auto client = server.open(server.world.options());
    for (const char* text : {"hello", "[not json", R"({"type":"chat"})", "{}", ""}) {
        CAPTURE(text);
        server.say_frame(0x81, text);
        std::optional<client_message> message;
        server.world.go([&]() -> asio::awaitable<void> { message = co_await client->receive(); });
        REQUIRE(message);
        CHECK(message->text() == text);
    }
    CHECK(server.hear().empty());
}

TEST_CASE("URLs and options that make no sense are refused when the client is made") {
    client_world world;
    const auto make = [&](std::string_view url, command_client_options options = {}) {
        command_client client{world.executor(), url, std::move(options)};
    };
    for (const char* url : {"", "http://a/", "ws://", "ws://:80/", "ws://a:0/", "ws://a:99999/", "ws://u:p@a/", "ws://a/#x", "ws://a b/",
                            "tcp://a", "tcp://a:0", "unix://", "ws:/a", "wss:///x"}) {
        CAPTURE(url);
        CHECK_THROWS_AS(make(url), error);
    }
    for (const char* url : {"ws://a", "ws://a?x", "wss://a/b", "ws://[::1]:8080/ws", "tcp://a:1", "tls://a:1", "unix:///tmp/x", "unix://@x",
                            "udp://a:1", "unixgram:///tmp/x"}) {
        CAPTURE(url);
        CHECK_NOTHROW(make(url));
    }
    command_client_options options;
    options.subprotocols = {"a b"};
    CHECK_THROWS_AS(make("ws://a", options), std::invalid_argument);
    options = {};
    options.headers = {{"a:b", "c"}};
    CHECK_THROWS_AS(make("ws://a", options), std::invalid_argument);
    options = {};
    options.max_queued_messages = 0;
    CHECK_THROWS_AS(make("ws://a", options), std::invalid_argument);
}

TEST_CASE("what the server said before it was gone is read, also behind a ping that cannot be answered any more") {
    played_server server;
    const auto client = server.open(server.world.options());
    (void)server.world.link().to_server().stop_reading();
    CHECK_FALSE(client->try_send(command_id{1}, "in vain"));
    server.world.settle();
    server.say("\x89\x01p\x88\x04\x13\x24no");  // ping, close 4900
    server.world.run_for(2s);
    CHECK(server.states.take() == lines{"closed 4900"});
}
