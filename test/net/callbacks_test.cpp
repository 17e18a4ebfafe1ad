// on_connect, on_disconnect, the fallbacks and raw: when they run, with what, and what an exception in one does.
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <future>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }
asio::awaitable<std::optional<payload>> broken(request) {
    throw std::runtime_error{"secret details"};
    co_return std::nullopt;
}

server_options options_with(auto change) {
    server_options options = quiet_options();
    change(options);
    return options;
}

/// Waits, and says whether the wait was cancelled.
asio::awaitable<bool> cancelled_within(duration limit) {
    asio::steady_timer timer{co_await asio::this_coro::executor, limit};
    std::error_code ec;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    co_return ec == asio::error::operation_aborted;
}

/// Everything that on_disconnect was called with.
class farewells {
public:
    void listen(router& routes) {
        routes.on_disconnect([this](client who, close_info why) -> asio::awaitable<void> {
            const std::lock_guard lock{mutex_};
            all_.emplace_back(std::move(who), std::move(why));
            changed_.notify_all();
            co_return;
        });
    }
    /// The first `count` of them; fewer after ten seconds.
    std::vector<std::pair<client, close_info>> wait(std::size_t count = 1) {
        std::unique_lock lock{mutex_};
        changed_.wait_for(lock, 10s, [&] { return all_.size() >= count; });
        return all_;
    }
    std::size_t count() {
        const std::lock_guard lock{mutex_};
        return all_.size();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::pair<client, close_info>> all_;
};

std::string upgrade_request() {
    return "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
}

std::string error_event(std::string_view code, std::string_view message) {
    return std::string{R"({"type":"error","payload":{"code":")"}.append(code).append(R"(","message":")").append(message)
        .append("\"}}");
}

}  // namespace

TEST_CASE("a message right behind the handshake is handled after on_connect has returned") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        std::atomic<bool> connected{false};
        router routes;
        routes.on_connect([&](client) -> asio::awaitable<void> {
            (void)co_await cancelled_within(30ms);
            connected = true;
        });
        routes.on(command_id{1}, policy, [&](request) -> asio::awaitable<std::optional<payload>> {
            co_return payload{connected ? "after" : "before"};
        });
        running_server server{std::move(routes)};
        test_client client{server.port()};
        client.send_raw(upgrade_request() + test_client::frame(2, test_client::command(1, "")));
        CHECK(client.read_head().starts_with("HTTP/1.1 101 "));
        CHECK(client.read_command(1) == "after");
    }
}

TEST_CASE("what on_connect sends arrives first, while it still runs") {
    std::promise<void> go_on;
    const auto may_go_on = go_on.get_future().share();
    router routes;
    routes.on_connect([=](client who) -> asio::awaitable<void> {
        co_await who.send(command_id{1}, "Welcome to the server!");
        CHECK(who.try_send(command_id{1}, "again") == send_status::queued);
        CHECK(who.is_alive());
        CHECK(who.clients().size() == 1);  // visible to broadcasts already
        CHECK(who.clients().find(who.id()) == who);
        may_go_on.wait();
    });
    routes.on(command_id{2}, echo);
    running_server server{std::move(routes)};
    test_client client{server.port()};
    client.send_raw(upgrade_request() + test_client::frame(2, test_client::command(2, "mine")));
    CHECK(client.read_head().starts_with("HTTP/1.1 101 "));
    CHECK(client.read_command(1) == "Welcome to the server!");
    CHECK(client.read_command(1) == "again");
    go_on.set_value();
    CHECK(client.read_command(2) == "mine");
}

TEST_CASE("on_connect refuses with a close code and a reason, behind what it sent") {
    farewells ended;
    std::atomic<int> handled{0};
    router routes;
    ended.listen(routes);
    routes.on_connect([](client who) -> asio::awaitable<void> {
        co_await who.send(command_id{1}, "you are banned");
        who.close(close_code{4003}, "banned");
    });
    routes.on(command_id{2}, [&](request) -> asio::awaitable<std::optional<payload>> {
        ++handled;
        co_return std::nullopt;
    });
    running_server server{std::move(routes)};
    test_client client{server.port()};
    client.send_raw(upgrade_request() + test_client::frame(2, test_client::command(2, "")));
    CHECK(client.read_head().starts_with("HTTP/1.1 101 "));
    CHECK(client.read_command(1) == "you are banned");
    CHECK(client.read_close() == received_close{4003, "banned"});
    client.send_close(4003);
    CHECK(client.ends_cleanly());
    CHECK(ended.wait().at(0).second == close_info{close_code{4003}, "banned", close_initiator::server, true});
    CHECK(handled.load() == 0);
}

TEST_CASE("an exception in on_connect closes with 1011 and is logged, and on_disconnect still runs") {
    farewells ended;
    log_lines log;
    router routes;
    ended.listen(routes);
    routes.on_connect([](client) -> asio::awaitable<void> {
        throw std::runtime_error{"secret details"};
        co_return;
    });
    running_server server{std::move(routes), options_with([&](server_options& o) { o.log = log.as_logger(); })};
    auto client = test_client::open(server.port());
    const auto close = client.read_close();
    CHECK(close.code == 1011);
    CHECK(close.reason.find("secret") == std::string::npos);
    CHECK(client.ends_cleanly());
    CHECK(log.wait_for("secret details"));
    CHECK(ended.wait().at(0).second.code == close_code::internal_error);
}

TEST_CASE("on_connect has a deadline, after which it is cancelled and the client closed with 1011") {
    SUBCASE("and it lets the cancellation through") {
        farewells ended;
        router routes;
        ended.listen(routes);
        routes.on_connect([](client) -> asio::awaitable<void> {
            asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
            co_await timer.async_wait(asio::use_awaitable);
        });
        running_server server{std::move(routes), options_with([](server_options& o) { o.on_connect_timeout = 50ms; })};
        auto client = test_client::open(server.port());
        CHECK(client.read_close().code == 1011);
        CHECK(ended.wait().at(0).second.initiator == close_initiator::server);
    }
    SUBCASE("and it swallows the cancellation") {
        router routes;
        routes.on_connect([](client) -> asio::awaitable<void> { (void)co_await cancelled_within(1h); });
        routes.on(command_id{1}, echo);
        running_server server{std::move(routes), options_with([](server_options& o) { o.on_connect_timeout = 50ms; })};
        auto client = test_client::open(server.port());
        CHECK(client.read_close().code == 1011);
    }
}

TEST_CASE("on_connect is cancelled when the client leaves, and on_disconnect runs after it") {
    std::promise<void> started;
    std::promise<bool> cancelled;
    farewells ended;
    router routes;
    ended.listen(routes);
    routes.on_connect([&](client) -> asio::awaitable<void> {
        started.set_value();
        const bool aborted = co_await cancelled_within(5s);
        CHECK(ended.count() == 0);
        cancelled.set_value(aborted);
        if (aborted) throw std::system_error{asio::error::operation_aborted};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    started.get_future().wait();
    client.send_command(1, "unread data does not hide the departure");
    client.close();
    auto outcome = cancelled.get_future();
    REQUIRE(outcome.wait_for(3s) == std::future_status::ready);
    CHECK(outcome.get());
    const auto all = ended.wait();
    REQUIRE(all.size() == 1);
    CHECK(all[0].second.code == close_code::abnormal);
    CHECK(all[0].second.initiator == close_initiator::transport);
    CHECK(eventually([&] { return server->stats().closed == 1; }));
}

TEST_CASE("on_disconnect runs once per client, with the reason of the end") {
    farewells ended;
    router routes;
    ended.listen(routes);
    routes.on(command_id{1}, [](request req) -> asio::awaitable<std::optional<payload>> {
        req.client().close(close_code{4100}, "by the server");
        req.client().close(close_code{4101}, "only the first counts");
        co_return std::nullopt;
    });
    routes.on(command_id{2}, [](request req) -> asio::awaitable<std::optional<payload>> {
        req.client().abort();
        co_return std::nullopt;
    });
    running_server server{std::move(routes), options_with([](server_options& o) {
                              o.rate_limit = {.messages_per_second = 0.001, .burst = 2};
                          })};
    std::size_t so_far = 0;
    const auto last = [&] {
        ++so_far;
        return ended.wait(so_far).at(so_far - 1).second;
    };

    auto leaves = test_client::open(server.port());
    leaves.send_close(4000, "by the client");
    CHECK(last() == close_info{close_code{4000}, "by the client", close_initiator::peer, true});

    auto closed = test_client::open(server.port());
    closed.send_command(1, "");
    CHECK(closed.read_close() == received_close{4100, "by the server"});
    closed.send_close(4100);
    CHECK(last() == close_info{close_code{4100}, "by the server", close_initiator::server, true});

    auto ends = test_client::open(server.port());
    ends.shutdown_send();
    CHECK(last() == close_info{close_code::abnormal, "connection lost", close_initiator::transport, false});

    auto resets = test_client::open(server.port());
    resets.reset();
    CHECK(last() == close_info{close_code::abnormal, "connection lost", close_initiator::transport, false});

    auto floods = test_client::open(server.port());
    for (int i = 0; i < 3; ++i) floods.send_command(3, "");
    CHECK(last() == close_info{close_code::policy_violation, "Rate limit exceeded", close_initiator::server, false});

    auto violates = test_client::open(server.port());
    violates.send_raw("\x83\x80mask");
    CHECK(last() == close_info{close_code::protocol_error, "reserved opcode", close_initiator::server, false});

    auto aborted = test_client::open(server.port());
    aborted.send_command(2, "");
    const close_info reset = last();
    CHECK(reset.initiator == close_initiator::server);
    CHECK(reset.code == close_code::abnormal);
    CHECK_FALSE(aborted.ends_cleanly());  // a reset

    auto drained = test_client::open(server.port());
    server->stop();
    CHECK(drained.read_close().code == 1001);
    drained.send_close(1001);
    CHECK(last() == close_info{close_code::going_away, "", close_initiator::server, true});
    server.stop();
    CHECK(ended.count() == so_far);
}

TEST_CASE("a handle answers after the client has gone") {
    farewells ended;
    router routes;
    ended.listen(routes);
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_close(1000, "bye");
    const kephas::client gone = ended.wait().at(0).first;
    CHECK_FALSE(gone.is_alive());
    CHECK(gone.close_info() == close_info{close_code::normal, "bye", close_initiator::peer, true});
    CHECK(gone.try_send(command_id{1}, "x") == send_status::closed);
    CHECK(gone.id().to_string().size() == 36);
    CHECK(gone.id().to_string()[14] == '4');
    CHECK(gone.remote_address().starts_with("127.0.0.1:"));
    CHECK(server->clients().size() == 0);
    CHECK_FALSE(server->clients().find(gone.id()).has_value());
    gone.close();
    gone.abort();
}

TEST_CASE("on_disconnect comes after the client's handlers have ended, which are cancelled") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        CAPTURE(static_cast<int>(policy));
        std::promise<void> started;
        std::atomic<int> running{0};
        std::atomic<bool> cancelled{false};
        std::promise<int> left_running;
        router routes;
        routes.on(command_id{1}, policy, [&](request) -> asio::awaitable<std::optional<payload>> {
            ++running;
            started.set_value();
            cancelled = co_await cancelled_within(5s);
            --running;
            co_return std::nullopt;
        });
        routes.on_disconnect([&](client, close_info) -> asio::awaitable<void> {
            left_running.set_value(running.load());
            co_return;
        });
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        client.send_command(1, "");
        started.get_future().wait();
        client.close();
        CHECK(left_running.get_future().get() == 0);
        CHECK(cancelled.load());
    }
}

TEST_CASE("on_disconnect itself is not cancelled and may wait") {
    for (int i = 0; i < 20; ++i) {
        std::promise<bool> aborted;
        router routes;
        routes.on(command_id{1}, dispatch::serial, [](request req) -> asio::awaitable<std::optional<payload>> {
            req.client().abort();  // the handler ends while its cancellation is under way
            const auto start = std::chrono::steady_clock::now();
            while (std::chrono::steady_clock::now() - start < 2ms) {
            }
            co_return std::nullopt;
        });
        routes.on_disconnect(
            [&](client, close_info) -> asio::awaitable<void> { aborted.set_value(co_await cancelled_within(10ms)); });
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        client.send_command(1, "");
        CHECK_FALSE(aborted.get_future().get());
    }
}

TEST_CASE("on_disconnect does not run for a client that was never let in") {
    farewells ended;
    router routes;
    ended.listen(routes);
    routes.authorize([](http::request) -> asio::awaitable<authorization> {
        co_return authorization::refuse(http::status_code::unauthorized);
    });
    {
        running_server server{std::move(routes)};
        test_client refused{server.port()};
        CHECK(refused.handshake().starts_with("HTTP/1.1 401 "));
        CHECK(refused.ends_cleanly());
        test_client silent{server.port()};
        silent.close();
        CHECK(http_get(server.port(), "/health").starts_with("HTTP/1.1 200 "));
    }
    CHECK(ended.count() == 0);
}

TEST_CASE("an exception in on_disconnect is logged and harms nobody") {
    log_lines log;
    router routes;
    routes.on_disconnect([](client, close_info) -> asio::awaitable<void> {
        throw std::runtime_error{"secret details"};
        co_return;
    });
    routes.on(command_id{1}, echo);
    running_server server{std::move(routes), options_with([&](server_options& o) { o.log = log.as_logger(); })};
    auto other = test_client::open(server.port());
    {
        auto client = test_client::open(server.port());
        client.send_close(1000);
        client.read_close();
    }
    CHECK(log.wait_for("secret details"));
    CHECK(eventually([&] { return server->stats().closed == 1; }));
    other.send_command(1, "still here");
    CHECK(other.read_command(1) == "still here");
}

TEST_CASE("an exception in a handler is contained: an error reply, a counter, a log line") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        log_lines log;
        router routes;
        routes.on(command_id{1}, policy, broken);
        routes.on(command_id{2}, policy, [](request) -> asio::awaitable<std::optional<payload>> {
            throw request_error{"not today"};
            co_return std::nullopt;
        });
        routes.on(command_id{3}, policy, [](request) -> asio::awaitable<std::optional<payload>> {
            throw 42;  // NOLINT: whatever a handler throws
            co_return std::nullopt;
        });
        routes.on(command_id{4}, policy, echo);
        running_server server{std::move(routes), options_with([&](server_options& o) { o.log = log.as_logger(); })};
        auto client = test_client::open(server.port());
        client.send_command(1, "");
        CHECK(client.read_command(0xFFFFFFFE) ==
              R"({"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error","data":{"command":1}},"id":null})");
        client.send_command(2, "");
        CHECK(client.read_command(0xFFFFFFFE) ==
              R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"not today","data":{"command":2}},"id":null})");
        client.send_command(3, "");
        CHECK(client.read_command(0xFFFFFFFE) ==
              R"({"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error","data":{"command":3}},"id":null})");
        client.send_command(4, "alive");
        CHECK(client.read_command(4) == "alive");
        CHECK(log.wait_for("secret details"));
        CHECK(server->stats().handlers_failed == 2);  // a request_error is an answer
    }
}

TEST_CASE("same_channel puts the errors of commands as plain text on their own ids") {
    router routes;
    routes.on(command_id{1}, broken);
    routes.on(command_id{2}, [](request) -> asio::awaitable<std::optional<payload>> {
        throw request_error{"not today"};
        co_return std::nullopt;
    });
    running_server server{std::move(routes), options_with([](server_options& o) {
                              o.command_errors = error_replies::same_channel;
                          })};
    auto client = test_client::open(server.port());
    client.send_command(512, "");
    CHECK(client.read_command(512) == "unknown command");
    client.send_command(1, "");
    CHECK(client.read_command(1) == "Internal error");
    client.send_command(2, "");
    CHECK(client.read_command(2) == "not today");
    // JSON-RPC errors come on 0xFFFFFFFF then
    client.send_command(0xFFFFFFFF, R"({"jsonrpc":"2.0","method":"missing","id":1})");
    CHECK(client.read_command(0xFFFFFFFF) ==
          R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1})");
}

TEST_CASE("commands that no route takes go to fallback_command") {
    router routes;
    routes.on(command_id{1}, echo);
    routes.fallback_command([](request req) -> asio::awaitable<std::optional<payload>> {
        if (req.command() == command_id{13}) throw request_error{"unlucky"};
        co_return payload{std::to_string(static_cast<std::uint32_t>(*req.command())) + ":" + std::string{req.text()}};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(7, "x");
    CHECK(client.read_command(7) == "7:x");
    client.send_command(1, "routed");
    CHECK(client.read_command(1) == "routed");
    client.send_command(13, "");
    CHECK(client.read_command(0xFFFFFFFE).find("unlucky") != std::string::npos);
    client.send_command(0xFFFFFFFF, R"({"jsonrpc":"2.0","method":"missing","id":1})");  // reserved: not the fallback's
    CHECK(client.read_command(0xFFFFFFFE).find("-32601") != std::string::npos);
}

TEST_CASE("text that is not JSON-RPC goes to fallback_text") {
    router routes;
    routes.fallback_text([](request req) -> asio::awaitable<std::optional<payload>> {
        CHECK(req.opcode() == websocket::opcode::text);
        CHECK_FALSE(req.command().has_value());
        if (req.text() == "throw") throw std::runtime_error{"secret details"};
        if (req.text() == "silent") co_return std::nullopt;
        co_return payload{"got " + std::string{req.text()}};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    const auto ask = [&](std::string_view text) {
        client.send_text(text);
        return client.read_text();
    };
    CHECK(ask("hello") == "got hello");
    CHECK(ask("") == "got ");
    CHECK(ask(R"({"type":"chat"})") == R"(got {"type":"chat"})");
    CHECK(ask("{}") == "got {}");
    CHECK(ask(R"({"jsonrpc":"2.0","method":"x","id":1})").find("-32601") != std::string::npos);
    CHECK(ask("[") .find("-32700") != std::string::npos);
    CHECK(ask("throw") == error_event("handler_error", "Internal error"));
    client.send_text("silent");
    CHECK(ask("still here") == "got still here");
}

TEST_CASE("without fallback_text such text gets the error event") {
    running_server server{router{}};
    auto client = test_client::open(server.port());
    const auto code_of = [&](std::string_view text) {
        client.send_text(text);
        const std::string answer = client.read_text();
        CHECK(answer.starts_with(R"({"type":"error","payload":{"code":")"));
        const std::size_t start = std::string_view{R"({"type":"error","payload":{"code":")"}.size();
        return answer.substr(start, answer.find('"', start) - start);
    };
    CHECK(code_of("hello") == "invalid_json");
    CHECK(code_of("") == "invalid_json");
    CHECK(code_of("{\"type\":") == "invalid_json");
    CHECK(code_of("{}") == "invalid_message");
    CHECK(code_of("42") == "invalid_message");
    CHECK(code_of("\"jsonrpc\"") == "invalid_message");
    // the event dialect follows with the hub
    CHECK(code_of(R"({"type":"chat"})") == "unknown_event");
}

TEST_CASE("raw takes every message as it came and answers in kind") {
    log_lines log;
    router routes;
    routes.raw(dispatch::pool, [](request req) -> asio::awaitable<std::optional<payload>> {
        CHECK_FALSE(req.command().has_value());
        if (req.text() == "throw") throw std::runtime_error{"secret details"};
        co_return payload{req.share()};
    });
    routes.on(command_id{1}, [](request) -> asio::awaitable<std::optional<payload>> { co_return payload{"never"}; });
    running_server server{std::move(routes), options_with([&](server_options& o) { o.log = log.as_logger(); })};
    auto client = test_client::open(server.port());
    const auto same = [&](int opcode, const std::string& bytes) {
        client.send_frame(opcode, bytes);
        CHECK(client.read_message() == received_frame{true, opcode, bytes});
    };
    same(1, "text");
    same(2, "ab");  // too short for a command
    same(2, std::string{"\0\0\0\1x", 5});
    same(1, R"({"jsonrpc":"2.0","method":"x","id":1})");
    same(1, "");
    same(2, "");
    same(2, std::string(200'000, 'r'));
    client.send_text("throw");
    CHECK(client.read_text().find("secret") == std::string::npos);
    CHECK(log.wait_for("secret details"));
    same(1, "still here");
}

TEST_CASE("what is registered twice, or reserved, is refused at registration") {
    router routes;
    const auto on_connect = [](client) -> asio::awaitable<void> { co_return; };
    const auto on_disconnect = [](client, close_info) -> asio::awaitable<void> { co_return; };
    const auto authorize = [](http::request) -> asio::awaitable<authorization> { co_return authorization::accept(); };
    routes.on(command_id{1}, echo);
    routes.on(command_id{0}, echo);
    routes.on(command_id{0xFFFFFFFD}, echo);
    routes.on_connect(on_connect);
    routes.on_disconnect(on_disconnect);
    routes.authorize(authorize);
    routes.fallback_command(echo);
    routes.fallback_text(echo);
    routes.raw(dispatch::pool, echo);
    CHECK_THROWS_WITH_AS(routes.on(command_id{1}, echo), "command 0x00000001 is registered already",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(routes.on(command_id{0xFFFFFFFF}, echo), "command 0xffffffff is reserved for JSON-RPC",
                         std::invalid_argument);
    CHECK_THROWS_AS(routes.on(command_id{0xFFFFFFFE}, dispatch::serial, echo), std::invalid_argument);
    CHECK_THROWS_AS(routes.on_connect(on_connect), std::invalid_argument);
    CHECK_THROWS_AS(routes.on_disconnect(on_disconnect), std::invalid_argument);
    CHECK_THROWS_AS(routes.authorize(authorize), std::invalid_argument);
    CHECK_THROWS_AS(routes.fallback_command(echo), std::invalid_argument);
    CHECK_THROWS_AS(routes.fallback_text(echo), std::invalid_argument);
    CHECK_THROWS_AS(routes.raw(dispatch::pool, echo), std::invalid_argument);
}

TEST_CASE("on_connect that closes and then throws has closed with its own code") {
    farewells ends;
    router routes;
    ends.listen(routes);
    routes.on_connect([](client who) -> asio::awaitable<void> {
        who.close(close_code{4001}, "not you");
        throw std::runtime_error{"and gone"};
        co_return;
    });
    running_server server{std::move(routes)};
    auto peer = test_client::open(server.port());
    CHECK(peer.read_close() == received_close{4001, "not you"});
    peer.send_close(4001);
    CHECK(peer.ends_cleanly());
    const auto all = ends.wait();
    REQUIRE(all.size() == 1);
    CHECK(all[0].second == close_info{close_code{4001}, "not you", close_initiator::server, true});
}

TEST_CASE("without a close timeout close frames are still exchanged") {
    router routes;
    routes.on(command_id{1}, echo);
    running_server server{std::move(routes), options_with([](server_options& options) { options.close_timeout = {}; })};
    auto leaving = test_client::open(server.port());
    leaving.send_close(1000);
    CHECK(leaving.read_close().code == 1000);
    CHECK(leaving.ends_cleanly());
    auto rude = test_client::open(server.port());
    rude.send_binary("ab");
    CHECK(rude.read_close().code == 1002);
}

TEST_CASE("an attachment that on_connect made is there for handlers and for on_disconnect") {
    struct profile {
        std::string name;
    };
    std::promise<std::string> farewell;
    router routes;
    routes.on_connect([](client who) -> asio::awaitable<void> {
        who.emplace_attachment<profile>(profile{"ada"});
        co_return;
    });
    routes.on(command_id{1}, [](request req) -> asio::awaitable<std::optional<payload>> {
        const auto found = req.client().attachment<profile>();
        CHECK(req.client().attachment<int>() == nullptr);
        co_return payload{found ? found->name : "none"};
    });
    routes.on_disconnect([&](client who, close_info) -> asio::awaitable<void> {
        farewell.set_value(who.attachment<profile>()->name);
        co_return;
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_command(1) == "ada");
    client.close();
    CHECK(farewell.get_future().get() == "ada");
}

TEST_CASE("a log sink that throws, and one below its level, are no problem") {
    std::atomic<int> lines{0};
    router routes;
    routes.on(command_id{1}, broken);
    routes.on(command_id{2}, echo);
    running_server server{std::move(routes), options_with([&](server_options& o) {
                              o.log = logger{log_level::error, [&](log_level level, std::string_view) {
                                                 CHECK(level == log_level::error);
                                                 ++lines;
                                                 throw std::runtime_error{"disk full"};
                                             }};
                          })};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    client.read_command(0xFFFFFFFE);
    client.send_command(2, "still here");
    CHECK(client.read_command(2) == "still here");
    CHECK(lines.load() == 1);
}
