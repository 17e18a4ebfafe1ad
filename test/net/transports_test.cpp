// One suite for all transports: the same handlers, the same client, the same outcomes over ws, wss, tcp, tls, unix, udp and
// unixgram; where there are only datagrams, what those do not have is not there.
#include <support/gate.hpp>
#include <support/run_coroutine.hpp>
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/tls_server.hpp>

#include <kephas/client/command_client.hpp>

#include <kephas/net/steady_timer.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

constexpr command_id echo_pool{0x10};
constexpr command_id echo_serial{0x11};
constexpr command_id echo_on_strand{0x12};
constexpr command_id keep_silent{0x20};
constexpr command_id how_often{0x21};
constexpr command_id refuse{0x30};
constexpr command_id break_down{0x31};
constexpr command_id unknown{0x3F};
constexpr command_id who_am_i{0x40};
constexpr command_id tell_everybody{0x50};
constexpr command_id news{0x51};
constexpr command_id ask_back{0x52};
constexpr command_id close_me{0x53};
constexpr command_id wait_for_gate{0x54};

/// A server that listens on all seven at once.
class everywhere {
public:
    explicit everywhere(std::function<void(server_options&)> change = {}) {
        server_options options = tls_server_options();
        options.listen = {"ws://127.0.0.1:0/ws", "wss://127.0.0.1:0/ws", "tcp://127.0.0.1:0", "tls://127.0.0.1:0",
                          "unix://" + (folder_ / "stream.sock").string(), "udp://127.0.0.1:0",
                          "unixgram://" + (folder_ / "datagram.sock").string()};
        options.datagrams.error_replies = true;
        if (change) change(options);
        server_ = std::make_unique<running_server>(routes(), options);
        for (const listener_stats& each : (*server_)->stats().listeners) urls_.push_back(each.url);
        REQUIRE(urls_.size() == 7);
    }

    [[nodiscard]] kephas::server* operator->() { return &**server_; }
    running_server& running() { return *server_; }
    /// Each transport's URL as its clients need it: the certificate is for localhost.
    [[nodiscard]] std::vector<std::string> urls() const {
        std::vector<std::string> all = urls_;
        for (std::string& each : all) {
            if (!each.starts_with("wss") && !each.starts_with("tls")) continue;
            each.replace(each.find("127.0.0.1"), 9, "localhost");
        }
        return all;
    }
    [[nodiscard]] std::vector<std::string> stream_urls() const {
        std::vector<std::string> all = urls();
        all.resize(5);
        return all;
    }

    gate held;
    journal happened;
    std::atomic<int> silent{0};

private:
    router routes() {
        router all;
        const auto echo = [](request req) -> reply { co_return payload{req.share()}; };
        all.on(echo_pool, dispatch::pool, echo);
        all.on(echo_serial, dispatch::serial, echo);
        all.on(echo_on_strand, dispatch::on_strand, echo);
        all.on(keep_silent, dispatch::serial, [this](request) -> reply {
            ++silent;
            co_return std::nullopt;
        });
        all.on(how_often, dispatch::serial, [this](request) -> reply { co_return payload{std::to_string(silent.load())}; });
        all.on(refuse, dispatch::pool, [](request) -> reply {
            throw request_error{-32050, "not today", json{7}};
            co_return std::nullopt;
        });
        all.on(break_down, dispatch::pool, [](request) -> reply {
            throw std::runtime_error{"a secret"};
            co_return std::nullopt;
        });
        all.on(who_am_i, dispatch::on_strand, [](request req) -> reply {
            co_return payload{req.client().identity() + "@" + req.client().remote_address()};
        });
        all.on(tell_everybody, dispatch::pool, [](request req) -> reply {
            const broadcast_report report = co_await req.client().clients().broadcast(news, payload{req.share()});
            co_return payload{std::to_string(report.queued)};
        });
        all.on(ask_back, dispatch::pool, [](request req) -> reply {
            const json params = json::array({21});
            const json answer = co_await req.client().call("client.double", params);
            co_return payload{std::to_string(answer.as_int64().value_or(0))};
        });
        all.on(close_me, dispatch::on_strand, [](request req) -> reply {
            req.client().close(close_code{4321}, "go away");
            co_return std::nullopt;
        });
        all.on(wait_for_gate, dispatch::pool, [this](request) -> reply {
            co_await held.wait();
            co_return payload{"late, but there"};
        });
        all.rpc("add", {"a", "b"}, [](double a, double b) -> asio::awaitable<json> { co_return json{a + b}; });
        all.rpc("fail", [](rpc_request) -> asio::awaitable<json> {
            throw request_error{-32051, "no such thing", json{"data"}};
            co_return json{};
        });
        all.authorize([](http::request) -> asio::awaitable<authorization> { co_return authorization::accept("somebody"); });
        all.on_connect([this](client) -> asio::awaitable<void> {
            happened.add("connected");
            co_return;
        });
        all.on_disconnect([this](client, close_info why) -> asio::awaitable<void> {
            happened.add("disconnected " + std::to_string(static_cast<int>(why.code)) + " " + why.reason +
                          (why.clean ? " clean" : "") + (why.initiator == close_initiator::peer ? " by the client" : " by the server"));
            co_return;
        });
        return all;
    }

    temporary_folder folder_;
    std::unique_ptr<running_server> server_;
    std::vector<std::string> urls_;
};

bool is_datagram_url(const std::string& url) { return url.starts_with("udp") || url.starts_with("unixgram"); }

command_client_options options_for_tests() {
    command_client_options options;
    options.tls.ca = pem_text(common_ca().certificate());
    options.call_timeout = 10s;
    options.reconnect.enabled = false;
    return options;
}

/// Runs `body` with a client that is connected to `url`, and closes that.
void with_client(const std::string& url, std::function<asio::awaitable<void>(command_client&)> body,
                 command_client_options options = options_for_tests()) {
    CAPTURE(url);
    asio::io_context context{1};
    command_client client{context.get_executor(), url, std::move(options)};
    client.rpc("client.double", [](json params) -> asio::awaitable<json> { co_return json{params.elements()[0].as_int64().value_or(0) * 2}; });
    run(context, [](command_client& self, std::function<asio::awaitable<void>(command_client&)> what) -> asio::awaitable<void> {
        co_await self.connect();
        co_await what(self);
        self.close();
        (void)co_await self.closed();
    }(client, std::move(body)));
}

/// The code of the JSON-RPC error that a request or a call ends with; 0 if it ends otherwise.
asio::awaitable<std::int64_t> code_of(asio::awaitable<client_message> request) {
    std::int64_t code = 0;
    try {
        (void)co_await std::move(request);
    } catch (const rpc_failure& failure) {
        code = failure.code();
    }
    co_return code;
}
asio::awaitable<std::int64_t> code_of(asio::awaitable<json> call) {
    std::int64_t code = 0;
    try {
        (void)co_await std::move(call);
    } catch (const rpc_failure& failure) {
        code = failure.code();
    }
    co_return code;
}

}  // namespace

TEST_CASE("on every transport commands of all sizes are answered under every policy") {
    everywhere server;
    for (const std::string& url : server.urls()) {
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            for (const command_id id : {echo_pool, echo_serial, echo_on_strand}) {
                for (const std::size_t size : {0U, 1U, 47U, 48U, 49U, 125U, 126U, 127U, 4'095U, 4'096U, 60'000U}) {
                    std::string sent(size, 'a');
                    for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<char>('a' + i % 26);
                    const client_message answer = co_await client.request(id, payload{sent});
                    CHECK(answer.command == id);
                    CHECK(answer.text() == sent);
                }
            }
        });
    }
    // A reply may be there before it is counted.
    CHECK(eventually([&] {
        return std::ranges::all_of(server->stats().listeners, [](const listener_stats& each) {
            return each.traffic.messages_sent == 33 && each.traffic.bytes_sent > 3 * 64'000;
        });
    }));
    for (const listener_stats& each : server->stats().listeners) {
        CAPTURE(each.url);
        CHECK(each.traffic.messages_received == 33);
        CHECK(each.traffic.bytes_received > 3 * 64'000);
        CHECK(each.accepted == (is_datagram_url(each.url) ? 0 : 1));
    }
}

TEST_CASE("on every transport a handler without a reply sends none") {
    everywhere server;
    int sent = 0;
    for (const std::string& url : server.urls()) {
        sent += 3;
        with_client(url, [&](command_client& client) -> asio::awaitable<void> {
            for (int i = 0; i < 3; ++i) co_await client.send(keep_silent, payload{"x"});
            for (;;) {  // serial: it comes behind those, but datagrams may overtake each other between threads
                const client_message answer = co_await client.request(how_often, payload{});
                if (answer.text() == std::to_string(sent)) break;
            }
        });
    }
    CHECK(server.silent == sent);
}

TEST_CASE("on every transport errors of commands say what was wrong, and nothing of what is private") {
    everywhere server;
    for (const std::string& url : server.urls()) {
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            for (const auto& [id, code] : {std::pair{unknown, -32601}, std::pair{refuse, -32050}, std::pair{break_down, -32603}}) {
                payload body{"x"};
                const std::int64_t got = co_await code_of(client.request(id, std::move(body)));
                CHECK(got == code);
            }
            std::string said;
            try {
                (void)co_await client.request(break_down, payload{});
            } catch (const rpc_failure& failure) {
                said = failure.peer_message();
            }
            CHECK(said == "Internal error");
            const client_message after = co_await client.request(echo_pool, payload{"still there"});
            CHECK(after.text() == "still there");
        });
    }
}

TEST_CASE("on every transport methods are called by position and by name, many at once, with results and errors") {
    everywhere server;
    for (const std::string& url : server.urls()) {
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            const json two = json::array({1, 2.5});
            const json named = json::object({{"a", 40}, {"b", 2}});
            const json too_few = json::array({1});
            const json by_position = co_await client.call("add", two);
            CHECK(by_position.as_double() == 3.5);
            const json by_name = co_await client.call("add", named);
            CHECK(by_name.as_double() == 42);
            const std::int64_t missing = co_await code_of(client.call("add", too_few));
            CHECK(missing == -32602);
            const std::int64_t nothing = co_await code_of(client.call("nothing"));
            CHECK(nothing == -32601);
            const std::int64_t failed = co_await code_of(client.call("fail"));
            CHECK(failed == -32051);
            int done = 0;
            int wrong = 0;
            for (int i = 0; i < 20; ++i) {
                asio::co_spawn(co_await asio::this_coro::executor,
                               [](command_client& self, int n, int& right, int& others) -> asio::awaitable<void> {
                                   const json twice = json::array({n, n});
                                   const json sum = co_await self.call("add", twice);
                                   ++(sum.as_double() == 2.0 * n ? right : others);
                               }(client, i, done, wrong),
                               [&wrong](const std::exception_ptr& failure) {
                                   if (failure) ++wrong;
                               });
            }
            steady_timer pause{co_await asio::this_coro::executor};
            while (done + wrong < 20) {
                pause.expires_after(1ms);
                co_await pause.async_wait(asio::use_awaitable);
            }
            CHECK(done == 20);
        });
    }
}

TEST_CASE("on every stream serial handlers answer in the order of the commands") {
    everywhere server;
    for (const std::string& url : server.stream_urls()) {
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            for (int i = 0; i < 50; ++i) co_await client.send(echo_serial, payload{std::to_string(i)});
            for (int i = 0; i < 50; ++i) {
                const auto answer = co_await client.receive();
                REQUIRE(answer);
                CHECK(answer->text() == std::to_string(i));
            }
        });
    }
}

TEST_CASE("on every stream a client has an identity, an address, and the callbacks; datagrams have none of it") {
    everywhere server;
    for (const std::string& url : server.urls()) {
        CAPTURE(url);
        std::string said;
        with_client(url, [&said](command_client& client) -> asio::awaitable<void> {
            const client_message answer = co_await client.request(who_am_i, payload{});
            said = answer.text();
        });
        if (is_datagram_url(url)) {
            CHECK_FALSE(said.starts_with("somebody"));
            CHECK(said.size() > 1);
            continue;
        }
        CHECK(said.starts_with("somebody@"));
        CHECK(said.find(url.starts_with("unix") ? "unix" : "127.0.0.1:") != std::string::npos);
        CHECK(eventually([&] { return std::ranges::count(server.happened.all(), std::string{"connected"}) > 0; }));
        CHECK(eventually([&] { return std::ranges::count(server.happened.all(), std::string{"disconnected 1000  clean by the client"}) > 0; }));
    }
    CHECK(server->stats().opened == 5);
}

TEST_CASE("a broadcast reaches the clients of all streams, each in its own format") {
    everywhere server;
    asio::io_context context{1};
    std::vector<std::unique_ptr<command_client>> clients;
    for (const std::string& url : server.stream_urls()) {
        clients.push_back(std::make_unique<command_client>(context.get_executor(), url, options_for_tests()));
    }
    run(context, [](std::vector<std::unique_ptr<command_client>>& all) -> asio::awaitable<void> {
        for (const auto& each : all) {
            co_await each->connect();
            (void)co_await each->request(echo_pool, payload{});  // an answer: the server knows it
        }
        for (const std::string& text : {std::string{"short"}, std::string(70'000, 'l')}) {
            for (const auto& from : all) {
                const client_message count = co_await from->request(tell_everybody, payload{text});
                CHECK(count.text() == "5");
                for (const auto& each : all) {
                    const auto got = co_await each->receive();
                    REQUIRE(got);
                    CHECK(got->command == news);
                    CHECK(got->text() == text);
                }
            }
        }
        for (const auto& each : all) {
            each->close();
            (void)co_await each->closed();
        }
    }(clients));
}

TEST_CASE("on every stream the server calls its client, and says code and reason when it closes") {
    everywhere server;
    for (const std::string& url : server.stream_urls()) {
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            const client_message answer = co_await client.request(ask_back, payload{});
            CHECK(answer.text() == "42");
            co_await client.send(close_me, payload{});
            const connection_end end = co_await client.closed();
            CHECK(end.code == close_code{4321});
            CHECK(end.reason == "go away");
            CHECK(end.by == connection_end::ended_by::server);
            CHECK(end.clean);
        });
        CHECK(eventually([&] { return std::ranges::count(server.happened.all(), std::string{"disconnected 4321 go away clean by the server"}) > 0; }));
    }
}

TEST_CASE("on every stream the client says code and reason when it closes") {
    everywhere server;
    for (const std::string& url : server.stream_urls()) {
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            client.close(close_code{4001}, "enough");
            (void)co_await client.closed();
        });
        CHECK(eventually([&] { return std::ranges::count(server.happened.all(), std::string{"disconnected 4001 enough clean by the client"}) > 0; }));
    }
}

TEST_CASE("on every transport a message above the limit costs its sender the connection, or the datagram, and nobody else anything") {
    everywhere server{[](server_options& options) { options.max_binary_payload = 10'000; }};
    for (const std::string& url : server.urls()) {
        with_client(url, [&](command_client& client) -> asio::awaitable<void> {
            const client_message largest = co_await client.request(echo_pool, payload{std::string(10'000, 'x')});
            CHECK(largest.payload().size() == 10'000);
            co_await client.send(echo_pool, payload{std::string(10'001, 'x')});
            if (is_datagram_url(url)) {
                const client_message next = co_await client.request(echo_pool, payload{"next"});
                CHECK(next.text() == "next");
            } else {
                const connection_end end = co_await client.closed();
                CHECK(end.code == close_code::message_too_big);
                CHECK(end.by == connection_end::ended_by::server);
            }
        });
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            const client_message next = co_await client.request(echo_pool, payload{"somebody else"});
            CHECK(next.text() == "somebody else");
        });
    }
    CHECK(server->stats().datagrams_malformed == 2);
}

TEST_CASE("on every transport who sends too fast is closed with 1008, or not answered, and nobody else is") {
    everywhere server{[](server_options& options) { options.rate_limit = {.messages_per_second = 1, .burst = 5}; }};
    for (const std::string& url : server.urls()) {
        with_client(url, [&](command_client& client) -> asio::awaitable<void> {
            for (int i = 0; i < 5; ++i) {
                const client_message answer = co_await client.request(echo_on_strand, payload{"x"});
                CHECK(answer.text() == "x");
            }
            if (is_datagram_url(url)) {
                for (int i = 0; i < 20; ++i) co_await client.send(echo_on_strand, payload{"too much"});
                co_return;
            }
            for (int i = 0; i < 20; ++i) (void)client.try_send(echo_on_strand, payload{"too much"});
            const connection_end end = co_await client.closed();
            CHECK(end.code == close_code::policy_violation);
            CHECK(end.reason == "Rate limit exceeded");
        });
        if (url.starts_with("udp")) continue;  // the rate is that of an address, whatever the port: we are the same
        with_client(url, [](command_client& client) -> asio::awaitable<void> {
            const client_message next = co_await client.request(echo_pool, payload{"somebody else"});
            CHECK(next.text() == "somebody else");
        });
    }
    CHECK(server->stats().rate_limited == 5);
    CHECK(server->stats().datagrams_rate_limited > 0);
}

TEST_CASE("a drain lets handlers of every transport end, sends their replies, and tells the clients of streams 1001") {
    everywhere server;
    asio::io_context context{1};
    std::vector<std::unique_ptr<command_client>> clients;
    for (const std::string& url : server.urls()) {
        clients.push_back(std::make_unique<command_client>(context.get_executor(), url, options_for_tests()));
    }
    run(context, [](everywhere& on, std::vector<std::unique_ptr<command_client>>& all) -> asio::awaitable<void> {
        std::size_t answered = 0;
        for (const auto& each : all) {
            co_await each->connect();
            asio::co_spawn(co_await asio::this_coro::executor,
                           [](command_client& self, std::size_t& count) -> asio::awaitable<void> {
                               const client_message late = co_await self.request(wait_for_gate, payload{});
                               CHECK(late.text() == "late, but there");
                               ++count;
                           }(*each, answered),
                           [](const std::exception_ptr& failure) { CHECK_FALSE(failure); });
        }
        steady_timer pause{co_await asio::this_coro::executor};
        const auto until = [&pause](auto condition) -> asio::awaitable<void> {
            while (!condition()) {
                pause.expires_after(1ms);
                co_await pause.async_wait(asio::use_awaitable);
            }
        };
        co_await until([&] { return on.held.waiting() == 7; });
        on->stop();
        on.held.open();
        co_await until([&] { return answered == 7; });
        for (std::size_t i = 0; i < 5; ++i) {
            const connection_end end = co_await all[i]->closed();
            CHECK(end.code == close_code::going_away);
        }
        for (std::size_t i = 5; i < 7; ++i) {
            all[i]->close();
            (void)co_await all[i]->closed();
        }
    }(server, clients));
    const drain_report report = server.running().wait();
    CHECK(report.left_in_time == 5);
    CHECK(report.cancelled == 0);
    CHECK(report.cut == 0);
}
