// Every limit and default of a server, its close code and its reason.
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <future>
#include <sstream>
#include <thread>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

/// Echo on command 1 under every policy: 1 pool, 2 serial, 3 on_strand; text comes back as it is.
router echo_routes() {
    router routes;
    routes.on(command_id{1}, dispatch::pool, echo);
    routes.on(command_id{2}, dispatch::serial, echo);
    routes.on(command_id{3}, dispatch::on_strand, echo);
    routes.fallback_text(echo);
    return routes;
}

/// Remembers the last close_info that on_disconnect was given.
class farewells {
public:
    void listen(router& routes) {
        routes.on_disconnect([this](client, close_info why) -> asio::awaitable<void> {
            const std::lock_guard lock{mutex_};
            last_ = why;
            changed_.notify_all();
            co_return;
        });
    }
    std::optional<close_info> wait() {
        std::unique_lock lock{mutex_};
        changed_.wait_for(lock, 10s, [this] { return last_.has_value(); });
        return std::exchange(last_, std::nullopt);
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<close_info> last_;
};

/// A masked header that announces `size` bytes, and none of them.
std::string header(int opcode, std::uint64_t size, bool fin = true) {
    std::string out;
    out += static_cast<char>((fin ? 0x80 : 0) | opcode);
    const bool is_short = size <= 0xFFFF;
    out += static_cast<char>(0x80 | (is_short ? 126 : 127));
    for (int shift = is_short ? 8 : 56; shift >= 0; shift -= 8) out += static_cast<char>((size >> shift) & 0xFF);
    return out + std::string(4, '\0');
}

server_options options_with(auto change) {
    server_options options = quiet_options();
    change(options);
    return options;
}

/// Answers pings until something else comes.
std::optional<received_frame> read_and_pong(test_client& client, int& pings) {
    for (;;) {
        const received_frame frame = client.read_frame();
        if (frame.opcode != 9) return frame;
        ++pings;
        client.send_frame(10, frame.payload);
    }
}

}  // namespace

namespace doctest {
template <>
struct StringMaker<received_close> {
    static String convert(const received_close& close) {
        std::ostringstream out;
        out << close.code << " \"" << close.reason << '"';
        return out.str().c_str();
    }
};
}  // namespace doctest

TEST_CASE("the defaults are those that are documented") {
    const server_options options;
    CHECK(options.listen == std::vector<std::string>{"ws://0.0.0.0:8080/ws"});
    CHECK(options.max_binary_payload == 10 * 1024 * 1024);
    CHECK(options.max_text_message == 512 * 1024);
    CHECK(options.max_json_message == 512 * 1024);
    CHECK(options.max_batch == 100);
    CHECK(options.max_fragments == 131'072);
    CHECK(options.max_empty_fragments == 1'024);
    CHECK(options.rate_limit.messages_per_second == 100);
    CHECK(options.rate_limit.burst == 200);
    CHECK(options.control_rate_limit.messages_per_second == 100);
    CHECK(options.control_rate_limit.burst == 200);
    CHECK(options.in_flight.messages == 64);
    CHECK(options.in_flight.bytes == 1024 * 1024);
    CHECK(options.outbox.max_messages == 256);
    CHECK(options.outbox.max_bytes == 1024 * 1024);
    CHECK(options.outbox.max_control_bytes == 4 * 1024);
    CHECK(options.outbox_budget == 256 * 1024 * 1024);
    CHECK(options.handshake_timeout == 10s);
    CHECK(options.on_connect_timeout == 10s);
    CHECK(options.read_timeout == 60s);
    CHECK(options.write_timeout == 10s);
    CHECK(options.message_timeout == 60s);
    CHECK(options.ping_interval == 54s);
    CHECK(options.close_timeout == 5s);
    CHECK(options.linger_timeout == 2s);
    CHECK(options.handler_timeout == duration::zero());
    CHECK(options.call_timeout == 30s);
    CHECK(options.max_pending_calls == 64);
    CHECK(options.max_clients == 0);
    CHECK(options.drain.grace == 1s);
    CHECK(options.drain.code == close_code::going_away);
    CHECK(options.command_errors == error_replies::error_channel);
    CHECK_FALSE(options.origins.is_any());
    CHECK(no_rate_limit().messages_per_second == 0);
}

TEST_CASE("options that contradict each other are refused") {
    const auto refused = [](auto change) {
        CHECK_THROWS_AS((server{router{}, options_with(change)}), std::invalid_argument);
    };
    refused([](server_options& o) { o.outbox.max_messages = 0; });
    refused([](server_options& o) { o.in_flight.messages = 0; });
    refused([](server_options& o) { o.max_batch = 0; });
    refused([](server_options& o) { o.rate_limit = {.messages_per_second = 5, .burst = 0}; });
    refused([](server_options& o) { o.control_rate_limit = {.messages_per_second = 5, .burst = 0.5}; });
    refused([](server_options& o) { o.drain.batch = 0; });
}

TEST_CASE("a message over the default limits is refused at its header with 1009") {
    running_server server{echo_routes()};
    auto binary = test_client::open(server.port());
    binary.send_raw(header(2, 10 * 1024 * 1024 + 5));
    CHECK(binary.read_close() == received_close{1009, "binary message exceeds the limit of 10485764 bytes"});
    CHECK(binary.ends_cleanly());
    auto text = test_client::open(server.port());
    text.send_raw(header(1, 512 * 1024 + 1));
    CHECK(text.read_close() == received_close{1009, "text message exceeds the limit of 524288 bytes"});
    CHECK(text.ends_cleanly());
}

TEST_CASE("the message limits can be set, and a message of exactly the limit passes") {
    running_server server{echo_routes(), options_with([](server_options& o) {
                              o.max_binary_payload = 100'000;
                              o.max_text_message = 70'000;
                          })};
    auto client = test_client::open(server.port());
    const std::string binary(100'000, 'b');
    client.send_command(1, binary);
    CHECK(client.read_command(1) == binary);
    const std::string text(70'000, 't');
    client.send_text(text);
    CHECK(client.read_text() == text);
    client.send_raw(header(1, 70'001));
    CHECK(client.read_close() == received_close{1009, "text message exceeds the limit of 70000 bytes"});

    auto other = test_client::open(server.port());
    other.send_raw(header(2, 100'005));
    CHECK(other.read_close() == received_close{1009, "binary message exceeds the limit of 100004 bytes"});
}

TEST_CASE("the limit counts all fragments of a message together") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.max_text_message = 1'000; })};
    auto client = test_client::open(server.port());
    client.send_frame(1, std::string(600, 'a'), false);
    client.send_raw(header(0, 401));
    CHECK(client.read_close() == received_close{1009, "text message exceeds the limit of 1000 bytes"});
}

TEST_CASE("text that is not UTF-8 closes with 1007 as soon as the first impossible byte arrives") {
    running_server server{echo_routes()};
    auto whole = test_client::open(server.port());
    whole.send_text("fine \xC3\x28");
    CHECK(whole.read_close() == received_close{1007, "text is not UTF-8"});
    auto cut = test_client::open(server.port());
    cut.send_text("\xE2\x82");  // ends inside a character
    CHECK(cut.read_close() == received_close{1007, "text is not UTF-8"});
    auto early = test_client::open(server.port());
    early.send_raw(header(1, 50'000) + "abc\xFF");  // most of the message never comes
    CHECK(early.read_close() == received_close{1007, "text is not UTF-8"});
}

TEST_CASE("text may be cut anywhere into fragments, with pings between them") {
    running_server server{echo_routes()};
    auto client = test_client::open(server.port());
    client.send_frame(1, "\xE2\x82", false);
    client.send_frame(9, "between");
    client.send_frame(0, "\xAC", true);
    CHECK(client.read_frame() == received_frame{true, 10, "between"});
    CHECK(client.read_text() == "\xE2\x82\xAC");
}

TEST_CASE("breaking the protocol closes with 1002 and the rule that was broken") {
    struct violation {
        std::string bytes;
        const char* reason;
    };
    const std::string mask(4, '\0');
    const std::vector<violation> violations = {
        {"\x82\x01x", "frame is not masked"},
        {"\xC2\x81" + mask + "x", "reserved bits are set"},
        {"\x83\x81" + mask + "x", "reserved opcode"},
        {"\x8B\x81" + mask + "x", "reserved opcode"},
        {std::string{"\x82\xFE\x00\x05", 4} + mask + "12345", "length is not minimal"},
        {"\x09\x80" + mask, "control frame is fragmented"},
        {std::string{"\x89\xFE\x00\x7E", 4} + mask + std::string(126, 'x'), "control frame is too long"},
        {"\x80\x81" + mask + "x", "continuation without a message"},
        {test_client::frame(1, "a", false) + test_client::frame(1, "b"), "new message inside a fragmented one"},
        {test_client::frame(8, "x"), "close frame is too short"},
        {test_client::frame(8, std::string{"\x03\xED", 2}), "invalid close code"},
        {test_client::frame(8, std::string{"\x03\xE7", 2}), "invalid close code"},
    };
    running_server server{echo_routes()};
    for (const violation& each : violations) {
        CAPTURE(each.reason);
        auto client = test_client::open(server.port());
        client.send_raw(each.bytes);
        CHECK(client.read_close() == received_close{1002, each.reason});
        CHECK(client.ends_cleanly());
    }
}

TEST_CASE("a close reason that is not UTF-8 closes with 1007") {
    running_server server{echo_routes()};
    auto client = test_client::open(server.port());
    client.send_close(1000, "\xFF");
    CHECK(client.read_close() == received_close{1007, "close reason is not UTF-8"});
}

TEST_CASE("too many fragments, and too many empty ones, close with 1008") {
    running_server server{echo_routes(), options_with([](server_options& o) {
                              o.max_fragments = 10;
                              o.max_empty_fragments = 3;
                          })};
    auto many = test_client::open(server.port());
    many.send_frame(1, "x", false);
    for (int i = 0; i < 10; ++i) many.send_frame(0, "x", false);
    CHECK(many.read_close() == received_close{1008, "too many fragments"});
    auto empty = test_client::open(server.port());
    empty.send_frame(1, "x", false);
    for (int i = 0; i < 4; ++i) empty.send_frame(0, "", false);
    CHECK(empty.read_close() == received_close{1008, "too many empty fragments"});
}

TEST_CASE("pings within their bucket are all answered, in order; more close with 1008") {
    running_server server{echo_routes(), options_with([](server_options& o) {
                              o.control_rate_limit = {.messages_per_second = 0.001, .burst = 50};
                              o.rate_limit = no_rate_limit();
                          })};
    auto client = test_client::open(server.port());
    std::string pings;
    for (int i = 0; i < 50; ++i) pings += test_client::frame(9, std::to_string(i));
    client.send_raw(pings);
    for (int i = 0; i < 50; ++i) CHECK(client.read_frame() == received_frame{true, 10, std::to_string(i)});
    client.send_command(1, "not counted");
    CHECK(client.read_command(1) == "not counted");
    client.send_frame(10, "one too many");
    CHECK(client.read_close() == received_close{1008, "Control frame rate limit exceeded"});
}

TEST_CASE("more pongs than the outbox has room for wait, and none is lost") {
    running_server server{echo_routes(), options_with([](server_options& o) {
                              o.control_rate_limit = no_rate_limit();
                              o.outbox.max_control_bytes = 300;
                          })};
    auto client = test_client::open(server.port());
    std::string pings;
    for (int i = 0; i < 500; ++i) pings += test_client::frame(9, std::string(100, 'p') + std::to_string(i));
    client.send_raw(pings);
    for (int i = 0; i < 500; ++i) {
        REQUIRE(client.read_frame() == received_frame{true, 10, std::string(100, 'p') + std::to_string(i)});
    }
}

TEST_CASE("a client over its rate gets 1008 and a log line, and the others notice nothing") {
    log_lines log;
    std::mutex mutex;
    std::vector<std::string> ids;
    std::vector<std::string> addresses;
    router routes = echo_routes();
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        const std::lock_guard lock{mutex};
        ids.push_back(who.id().to_string());
        addresses.push_back(who.remote_address());
        co_return;
    });
    running_server server{std::move(routes), options_with([&](server_options& o) {
                              o.log = log.as_logger();
                              o.rate_limit = {.messages_per_second = 0.001, .burst = 5};
                          })};
    auto noisy = test_client::open(server.port());
    auto quiet = test_client::open(server.port());
    for (int i = 0; i < 5; ++i) {
        noisy.send_command(3, std::to_string(i));
        CHECK(noisy.read_command(3) == std::to_string(i));
    }
    for (int i = 0; i < 3; ++i) noisy.send_command(3, "too many");
    CHECK(noisy.read_close() == received_close{1008, "Rate limit exceeded"});
    CHECK(noisy.ends_cleanly());
    REQUIRE(ids.size() == 2);
    CHECK(log.wait_for("Rate limit exceeded for client client_id=" + ids[0] + " remote_addr=" + addresses[0]));
    quiet.send_command(3, "undisturbed");
    CHECK(quiet.read_command(3) == "undisturbed");
    CHECK(server->stats().messages_received == 6);
}

TEST_CASE("the default rate lets a burst of 200 through and not one of 400") {
    running_server server{echo_routes()};
    auto client = test_client::open(server.port());
    std::string burst;
    for (int i = 0; i < 200; ++i) burst += test_client::frame(2, test_client::command(3, std::to_string(i)));
    client.send_raw(burst);
    for (int i = 0; i < 200; ++i) REQUIRE(client.read_command(3) == std::to_string(i));
    client.send_raw(burst + burst);
    CHECK(client.read_close() == received_close{1008, "Rate limit exceeded"});
}

TEST_CASE("without a rate limit nothing is counted") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.rate_limit = no_rate_limit(); })};
    auto client = test_client::open(server.port());
    std::string burst;
    for (int i = 0; i < 2'000; ++i) burst += test_client::frame(2, test_client::command(3, "x"));
    client.send_raw(burst);
    for (int i = 0; i < 2'000; ++i) REQUIRE(client.read_command(3) == "x");
}

TEST_CASE("a client that stays silent in the handshake is dropped after the handshake timeout") {
    log_lines log;
    running_server server{echo_routes(), options_with([&](server_options& o) {
                              o.handshake_timeout = 100ms;
                              o.log = log.as_logger();
                          })};
    const auto start = std::chrono::steady_clock::now();
    test_client silent{server.port()};
    CHECK(silent.ends_cleanly());
    const auto waited = std::chrono::steady_clock::now() - start;
    CHECK(waited >= 90ms);
    CHECK(waited < 5s);
    CHECK(log.wait_for("handshake timeout remote_addr=127.0.0.1:"));
    CHECK(server->stats().handshake_timeouts == 1);
    CHECK(eventually([&] { return server->stats().clients == 0; }));
}

TEST_CASE("a handshake that comes byte by byte is cut off at the same time") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.handshake_timeout = 150ms; })};
    test_client slow{server.port()};
    const std::string request = "GET /ws HTTP/1.1\r\nX-Padding: " + std::string(1'000, 'x');
    const auto start = std::chrono::steady_clock::now();
    CHECK_THROWS([&] {
        for (const char c : request) {
            slow.send_raw(std::string_view{&c, 1});
            std::this_thread::sleep_for(5ms);  // the pace of the attack
        }
    }());
    CHECK(std::chrono::steady_clock::now() - start < 4s);
}

TEST_CASE("a handshake that comes byte by byte and in time is served") {
    running_server server{echo_routes()};
    test_client client{server.port()};
    const std::string request =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for (const char c : request) client.send_raw(std::string_view{&c, 1});
    CHECK(client.read_head().find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != std::string::npos);
    for (const char c : test_client::frame(2, test_client::command(1, "slow"))) client.send_raw(std::string_view{&c, 1});
    CHECK(client.read_command(1) == "slow");
}

TEST_CASE("a client that falls silent is dropped after the read timeout, without a close frame") {
    farewells ended;
    router routes = echo_routes();
    ended.listen(routes);
    running_server server{std::move(routes), options_with([](server_options& o) {
                              o.read_timeout = 100ms;
                              o.ping_interval = duration::zero();
                          })};
    auto client = test_client::open(server.port());
    CHECK_FALSE(client.read_message().has_value());
    CHECK(ended.wait() == close_info{close_code::abnormal, "read timeout", close_initiator::transport, false});
}

TEST_CASE("the server pings, a pong renews the read deadline, and its absence ends the connection") {
    farewells ended;
    router routes = echo_routes();
    ended.listen(routes);
    running_server server{std::move(routes), options_with([](server_options& o) {
                              o.ping_interval = 60ms;
                              o.read_timeout = 200ms;
                          })};
    auto client = test_client::open(server.port());
    for (int i = 0; i < 7; ++i) {  // twice as long as the read timeout
        REQUIRE(client.read_frame() == received_frame{true, 9, ""});
        client.send_frame(10, "");
    }
    client.send_command(1, "alive");
    int pings = 0;
    const auto reply = read_and_pong(client, pings);
    REQUIRE(reply);
    CHECK(reply->payload == test_client::command(1, "alive"));
    CHECK_FALSE(client.read_message().has_value());  // read_message() skips pings and answers none
    CHECK(ended.wait() == close_info{close_code::abnormal, "read timeout", close_initiator::transport, false});
}

TEST_CASE("bytes renew the read deadline, complete frames are not needed") {
    running_server server{echo_routes(), options_with([](server_options& o) {
                              o.read_timeout = 250ms;
                              o.ping_interval = duration::zero();
                          })};
    auto client = test_client::open(server.port());
    const std::string frame = test_client::frame(2, test_client::command(1, "0123456789"));
    for (const char c : frame) {
        client.send_raw(std::string_view{&c, 1});
        std::this_thread::sleep_for(25ms);  // 500 ms in all
    }
    CHECK(client.read_command(1) == "0123456789");
}

TEST_CASE("a message that does not end within its deadline closes with 1008, however busy it looks") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.message_timeout = 150ms; })};
    SUBCASE("in fragments") {
        auto client = test_client::open(server.port());
        client.send_frame(2, test_client::command(1, "begun"), false);
        CHECK(client.read_close() == received_close{1008, "message timeout"});
        CHECK(client.ends_cleanly());
    }
    SUBCASE("in one large frame, which is read straight into its buffer") {
        auto client = test_client::open(server.port());
        client.send_raw(header(2, 5'000'000) + std::string(15'000, '\0'));
        CHECK(client.read_close() == received_close{1008, "message timeout"});
        client.send_raw(std::string(100'000, '\0'));  // the buffer is gone: this must not land there
        CHECK(client.ends_cleanly());
    }
}

TEST_CASE("a client that does not read is closed with 3008 after the write timeout") {
    farewells ended;
    router routes = echo_routes();
    ended.listen(routes);
    routes.on(command_id{9}, [](request req) -> asio::awaitable<std::optional<payload>> {
        const payload large{std::string(100'000, 'x')};
        while (req.client().try_send(command_id{9}, payload{large.share()}) == send_status::queued) {
        }
        co_return std::nullopt;
    });
    const server_options options = options_with([](server_options& o) {
        o.write_timeout = 150ms;
        o.close_timeout = 1s;
        o.rate_limit = no_rate_limit();
        o.outbox.max_bytes = 20'000'000;  // more than the kernel takes
        o.outbox.max_messages = 100'000;
    });
    const close_info expected{close_code::slow_consumer, "slow consumer", close_initiator::server, false};
    SUBCASE("of what it was sent unasked") {
        running_server server{std::move(routes), options};
        test_client client{server.port(), 4'096};
        REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
        client.send_command(9, "");
        CHECK(eventually([&] { return server->stats().opened == 1 && server->clients().size() == 0; }));
        CHECK(client.read_close() == received_close{3008, "slow consumer"});  // if it reads after all it learns why
        CHECK(ended.wait() == expected);
    }
    SUBCASE("of the replies to its own requests") {
        for (const std::uint32_t command : {1U, 2U, 3U}) {
            CAPTURE(command);
            farewells gone;
            router echoing = echo_routes();
            gone.listen(echoing);
            server_options small = options;
            small.outbox = {};
            running_server server{std::move(echoing), small};
            test_client client{server.port(), 4'096};
            REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
            const std::string message = test_client::frame(2, test_client::command(command, std::string(60'000, 'e')));
            // Requests until the server does not read any more, and longer than it takes it to notice.
            std::thread asking{[&] {
                try {
                    for (int i = 0; i < 1'000; ++i) client.send_raw(message);
                } catch (const std::exception&) {  // closed meanwhile
                }
            }};
            CHECK(gone.wait() == expected);
            asking.join();
        }
    }
}

TEST_CASE("what a peer does not take when it is closed is not left to the kernel: it is reset after the timeout") {
    std::promise<client> arrived;
    router routes;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        arrived.set_value(std::move(who));
        co_return;
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.close_timeout = 50ms; })};
    test_client client{server.port(), 4'096};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
    const kephas::client who = arrived.get_future().get();
    // More than the peer's window has room for, less than what the kernel takes from us: nothing of it waits in the outbox.
    CHECK(who.try_send(command_id{9}, payload{std::string(32'000, 'x')}) == send_status::queued);
    REQUIRE(eventually([&] { return server->stats().outbound.still_queued_bytes == 0; }));
    who.close();
    REQUIRE(eventually([&] { return server->stats().closed == 1; }));
    pollfd peer{client.native_handle(), POLLHUP, 0};
    REQUIRE(::poll(&peer, 1, 10'000) == 1);  // it would see nothing until it had read all
    CHECK((peer.revents & POLLERR) != 0);
}

TEST_CASE("a client that reads slowly but steadily is not a slow consumer") {
    router routes = echo_routes();
    routes.on(command_id{9}, [](request) -> asio::awaitable<std::optional<payload>> {
        co_return payload{std::string(12'000'000, 'x')};
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.write_timeout = 400ms; })};
    test_client client{server.port(), 4'096};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
    client.send_command(9, "");
    CHECK(client.read_command(9).size() == 12'000'000);
    client.send_command(1, "still here");
    CHECK(client.read_command(1) == "still here");
}

TEST_CASE("the outbox takes as many messages and bytes as it may, and one message of any size") {
    std::promise<std::vector<send_status>> answers;
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [&](request req) -> asio::awaitable<std::optional<payload>> {
        std::vector<send_status> all;
        for (int i = 0; i < 4; ++i) all.push_back(req.client().try_send(command_id{5}, payload{std::to_string(i)}));
        answers.set_value(all);
        co_return std::nullopt;
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.outbox.max_messages = 3; })};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    using enum send_status;
    CHECK(answers.get_future().get() == std::vector{queued, queued, queued, full});
    for (int i = 0; i < 3; ++i) CHECK(client.read_command(5) == std::to_string(i));
}

TEST_CASE("no more handlers of a client run than may be in flight") {
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    router routes;
    routes.on(command_id{1}, [&](request req) -> asio::awaitable<std::optional<payload>> {
        const int now = ++running;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        asio::steady_timer pause{co_await asio::this_coro::executor, 5ms};
        co_await pause.async_wait(asio::use_awaitable);
        --running;
        co_return payload{req.share()};
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.in_flight.messages = 3; })};
    auto client = test_client::open(server.port());
    std::string burst;
    for (int i = 0; i < 60; ++i) burst += test_client::frame(2, test_client::command(1, "x"));
    client.send_raw(burst);
    for (int i = 0; i < 60; ++i) REQUIRE(client.read_command(1) == "x");
    CHECK(most.load() == 3);
}

TEST_CASE("the peer's close frame is answered with its code, and the server ends the connection") {
    farewells ended;
    router routes = echo_routes();
    ended.listen(routes);
    running_server server{std::move(routes)};
    const auto closes = [&](std::uint16_t code, const std::string& reason) {
        auto client = test_client::open(server.port());
        client.send_close(code, reason);
        CHECK(client.read_close().code == code);
        CHECK(client.ends_cleanly());
        CHECK(ended.wait() == close_info{close_code{code}, reason, close_initiator::peer, true});
    };
    closes(1000, "bye");
    closes(1001, "");
    closes(3000, "");
    closes(4999, std::string(123, 'r'));

    auto client = test_client::open(server.port());
    client.send_frame(8, "");
    CHECK(client.read_frame() == received_frame{true, 8, ""});
    CHECK(client.ends_cleanly());
    CHECK(ended.wait() == close_info{close_code::no_status, "", close_initiator::peer, true});
}

TEST_CASE("what was queued before the peer's close frame leaves before the answer") {
    running_server server{echo_routes()};
    auto client = test_client::open(server.port());
    client.send_raw(test_client::frame(2, test_client::command(3, "last words")) +
                    test_client::frame(8, std::string{"\x03\xE8", 2}) + test_client::frame(1, "nobody hears this"));
    CHECK(client.read_command(3) == "last words");
    CHECK(client.read_close() == received_close{1000, ""});
    CHECK(client.ends_cleanly());
}

TEST_CASE("the server's close comes behind what was queued, its reason cut at a character boundary") {
    farewells ended;
    std::string reason;  // 130 bytes: 1 + 43 characters of three
    reason += 'x';
    for (int i = 0; i < 43; ++i) reason += "\xE2\x82\xAC";
    const std::string cut = reason.substr(0, 121);
    router routes;
    ended.listen(routes);
    routes.on(command_id{1}, [&](request req) -> asio::awaitable<std::optional<payload>> {
        co_await req.client().send(command_id{2}, "before");
        req.client().close(close_code{4002}, reason);
        CHECK(req.client().try_send(command_id{2}, "after") == send_status::closed);
        co_return payload{"the reply comes too late"};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_command(2) == "before");
    CHECK(client.read_close() == received_close{4002, cut});
    CHECK(server->stats().closed == 0);  // it waits for the answer
    client.send_close(4002);
    CHECK(client.ends_cleanly());
    CHECK(ended.wait() == close_info{close_code{4002}, cut, close_initiator::server, true});
}

TEST_CASE("messages behind the server's close frame are discarded, and the peer's answer is found behind them") {
    farewells ended;
    std::atomic<int> handled{0};
    router routes;
    ended.listen(routes);
    routes.on(command_id{1}, dispatch::on_strand, [&](request req) -> asio::awaitable<std::optional<payload>> {
        ++handled;
        req.client().close(close_code::normal, "enough");
        co_return std::nullopt;
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_close() == received_close{1000, "enough"});
    for (int i = 0; i < 100; ++i) client.send_command(1, std::string(5'000, 'x'));
    client.send_close(1000);
    CHECK(client.ends_cleanly());
    CHECK(ended.wait() == close_info{close_code::normal, "enough", close_initiator::server, true});
    CHECK(handled.load() == 1);
}

TEST_CASE("a refused client with data in flight reads the close frame and an orderly end, not a reset") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.max_text_message = 1'000; })};
    for (int i = 0; i < 20; ++i) {
        auto client = test_client::open(server.port());
        client.send_raw(header(1, 500'000) + std::string(500'000, 'x'));
        CHECK(client.read_close() == received_close{1009, "text message exceeds the limit of 1000 bytes"});
        client.send_raw(std::string(100'000, 'y'));
        CHECK(client.ends_cleanly());
    }
}

TEST_CASE("a client that never answers the close frame is cut off after the close timeout") {
    farewells ended;
    router routes;
    ended.listen(routes);
    routes.on(command_id{1}, [](request req) -> asio::awaitable<std::optional<payload>> {
        req.client().close(close_code{4001}, "leave");
        co_return std::nullopt;
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.close_timeout = 100ms; })};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_close() == received_close{4001, "leave"});
    CHECK(client.ends_cleanly());
    CHECK(ended.wait() == close_info{close_code{4001}, "leave", close_initiator::server, false});
}

TEST_CASE("a client that never ends its side of the stream is cut off after the linger timeout") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.linger_timeout = 100ms; })};
    auto client = test_client::open(server.port());
    client.send_close(1000);
    CHECK(client.read_close().code == 1000);
    CHECK(client.ends_cleanly());
    CHECK(eventually([&] { return server->stats().closed == 1; }));
}

TEST_CASE("one client too many gets 503, and the place of one that left is free again") {
    running_server server{echo_routes(), options_with([](server_options& o) { o.max_clients = 2; })};
    auto first = test_client::open(server.port());
    auto second = test_client::open(server.port());
    test_client refused{server.port()};
    CHECK(refused.handshake().starts_with("HTTP/1.1 503 "));
    CHECK(http_get(server.port(), "/health").starts_with("HTTP/1.1 200 "));  // no client
    first.send_close(1000);
    CHECK(first.read_close().code == 1000);
    first.close();
    CHECK(eventually([&] { return server->stats().closed == 1; }));
    // The refused one still holds its connection, but no place.
    CHECK(eventually([&] { return test_client{server.port()}.handshake().starts_with("HTTP/1.1 101 "); }));
}

TEST_CASE("a handler that takes longer than the handler timeout is cancelled and answered") {
    router routes;
    routes.on(command_id{1}, [](request) -> asio::awaitable<std::optional<payload>> {
        asio::steady_timer forever{co_await asio::this_coro::executor, 1h};
        co_await forever.async_wait(asio::use_awaitable);
        co_return payload{"never"};
    });
    routes.on(command_id{2}, echo);
    running_server server{std::move(routes), options_with([](server_options& o) { o.handler_timeout = 50ms; })};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_command(0xFFFFFFFE) ==
          R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"operation timed out","data":{"command":1}},"id":null})");
    client.send_command(2, "still here");
    CHECK(client.read_command(2) == "still here");
    CHECK(server->stats().handlers_timed_out == 1);
}
