// JSON-RPC 2.0 over a connection, in both directions.
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <array>
#include <atomic>
#include <future>
#include <map>
#include <set>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

/// Methods of every kind.
router rpc_routes() {
    router routes;
    routes.rpc("echo", [](rpc_request req) -> asio::awaitable<json> { co_return req.params(); });
    routes.rpc("nothing", [](rpc_request) -> asio::awaitable<json> { co_return json{}; });
    routes.rpc("fails", [](rpc_request) -> asio::awaitable<json> {
        throw std::runtime_error{"the database password is hunter2"};
        co_return json{};
    });
    routes.rpc("refuses", [](rpc_request) -> asio::awaitable<json> {
        throw request_error{"not today", json::object({{"retry", true}})};
        co_return json{};
    });
    routes.rpc("refuses.with", [](rpc_request) -> asio::awaitable<json> {
        throw request_error{-31999, "a code of its own"};
        co_return json{};
    });
    routes.rpc("math.add", {"a", "b"}, [](double a, double b) -> asio::awaitable<double> { co_return a + b; });
    return routes;
}

server_options rpc_options() {
    server_options options = quiet_options();
    options.rate_limit = no_rate_limit();
    return options;
}

std::string ask(test_client& client, std::string_view text) {
    client.send_text(text);
    return client.read_text();
}

/// Sends it on 0xFFFFFFFF and returns the reply's id and text.
std::pair<std::uint32_t, std::string> ask_binary(test_client& client, std::string_view text,
                                                 std::uint32_t channel = 0xFFFFFFFF) {
    client.send_command(channel, text);
    const auto frame = client.read_message();
    REQUIRE(frame);
    REQUIRE(frame->opcode == 2);
    std::uint32_t id = 0;
    for (int i = 0; i < 4; ++i) id = (id << 8) | static_cast<unsigned char>(frame->payload[static_cast<std::size_t>(i)]);
    return {id, frame->payload.substr(4)};
}

std::string error_text(int code, std::string_view message, std::string_view id, std::string_view data = {}) {
    std::string text = R"({"jsonrpc":"2.0","error":{"code":)" + std::to_string(code) + R"(,"message":")";
    text.append(message).append("\"");
    if (!data.empty()) text.append(",\"data\":").append(data);
    return text.append("},\"id\":").append(id).append("}");
}

std::string result_text(std::string_view result, std::string_view id) {
    return std::string{R"({"jsonrpc":"2.0","result":)"}.append(result).append(",\"id\":").append(id).append("}");
}

std::string call_text(std::string_view method, std::string_view id, std::string_view params = {}) {
    std::string text = R"({"jsonrpc":"2.0","method":")";
    text.append(method).append("\"");
    if (!params.empty()) text.append(",\"params\":").append(params);
    if (!id.empty()) text.append(",\"id\":").append(id);
    return text.append("}");
}

/// A server with one method, `go`, that runs `body` and answers with what it returns.
template <class Body>
router routes_with(Body body, dispatch policy = dispatch::pool) {
    router routes = rpc_routes();
    routes.rpc("go", policy, [body](rpc_request req) -> asio::awaitable<json> { co_return co_await body(req.client()); });
    return routes;
}

/// The outcome of a call in one word, so that handlers can answer with it.
asio::awaitable<json> outcome_of(asio::awaitable<json> call) {
    json outcome;
    try {
        outcome = co_await std::move(call);
    } catch (const rpc_failure& failure) {
        outcome = json::object(
            {{"code", failure.code()}, {"message", failure.peer_message()}, {"data", failure.data()}});
    } catch (const error& failure) {
        outcome = json{failure.code().message()};
    }
    co_return outcome;
}

std::string message_of(errc code) { return make_error_code(code).message(); }

}  // namespace

TEST_CASE("a single request is answered in the kind of message that it came in") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    CHECK(ask(client, call_text("echo", "1", R"({"x":[1,2.5,"y"]})")) == result_text(R"({"x":[1,2.5,"y"]})", "1"));
    CHECK(ask_binary(client, call_text("echo", "2", "[true]")) ==
          std::pair{0xFFFFFFFFU, result_text("[true]", "2")});
    // 0xFFFFFFFE is reserved too: what comes there is JSON-RPC
    CHECK(ask_binary(client, call_text("echo", "3", "[]"), 0xFFFFFFFE) == std::pair{0xFFFFFFFFU, result_text("[]", "3")});
}

TEST_CASE("results, errors and commands on the strand leave in the order in which they were asked for") {
    router routes;
    routes.rpc("echo", dispatch::on_strand, [](rpc_request req) -> asio::awaitable<json> { co_return req.params(); });
    routes.rpc("refuse", dispatch::on_strand, [](rpc_request) -> asio::awaitable<json> {
        throw request_error{"not today"};
        co_return json{};
    });
    routes.on(command_id{0x0100}, dispatch::on_strand, [](request req) -> asio::awaitable<std::optional<payload>> {
        co_return payload{req.share()};
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    const std::array<std::size_t, 6> sizes{1, 40, 2'000, 2'100, 20'000, 1};
    const auto expect_text = [&](const std::string& text) { CHECK(client.read_text() == text); };
    const auto expect_command = [&](std::uint32_t id, const std::string& body) { CHECK(client.read_command(id) == body); };
    for (int round = 0; round < 50; ++round) {
        const std::string id = std::to_string(round);
        // short ones leave together, past the outbox; one above 2 KiB does not, and what follows waits behind it
        for (const std::size_t size : sizes) {
            const std::string params = "[\"" + std::string(size, 'x') + "\"]";
            client.send_text(call_text("echo", id, params));
            client.send_text(call_text("echo", "", params));  // a notification
            client.send_command(0xFFFFFFFF, call_text("echo", id, params));
            client.send_command(0x0100, id);
            client.send_text(call_text("refuse", id));
            client.send_command(0xFFFFFFFF, call_text("refuse", id));
        }
        for (const std::size_t size : sizes) {
            const std::string params = "[\"" + std::string(size, 'x') + "\"]";
            expect_text(result_text(params, id));
            expect_command(0xFFFFFFFF, result_text(params, id));
            expect_command(0x0100, id);
            expect_text(error_text(-32000, "not today", id));
            expect_command(0xFFFFFFFE, error_text(-32000, "not today", id));
        }
    }
}

TEST_CASE("a null result is a result") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    CHECK(ask(client, call_text("nothing", "1")) == result_text("null", "1"));
    CHECK(ask(client, call_text("echo", "2")) == result_text("null", "2"));
}

TEST_CASE("a notification runs and is never answered, whatever happens") {
    std::atomic<int> heard{0};
    router routes = rpc_routes();
    routes.rpc("tell", dispatch::serial, [&](rpc_request req) -> asio::awaitable<json> {
        CHECK(req.is_notification());
        ++heard;
        co_return json{"nobody reads this"};
    });
    routes.rpc("heard", dispatch::serial, [&](rpc_request req) -> asio::awaitable<json> {
        CHECK_FALSE(req.is_notification());
        co_return json{heard.load()};
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    client.send_text(call_text("tell", ""));
    client.send_text(call_text("fails", ""));
    client.send_text(call_text("refuses", ""));
    client.send_text(call_text("no such method", ""));
    client.send_text(call_text("math.add", "", R"(["not a number"])"));
    client.send_command(0xFFFFFFFF, call_text("tell", ""));
    client.send_command(0xFFFFFFFF, call_text("fails", ""));
    CHECK(eventually([&] { return server->stats().handlers_started == 6; }));
    CHECK(ask(client, call_text("heard", "7")) == result_text("2", "7"));
    CHECK(ask_binary(client, call_text("heard", "8")) == std::pair{0xFFFFFFFFU, result_text("2", "8")});
}

TEST_CASE("ids come back as they came") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    for (const std::string id : {"9007199254740993", "18446744073709551616", "-1", "1.0", "1e2", "\"abc\"", "\"\"",
                                 R"("q\"uote")", "null", "0"}) {
        CAPTURE(id);
        CHECK(ask(client, call_text("nothing", id)) == result_text("null", id));
        CHECK(ask(client, call_text("missing", id)) == error_text(-32601, "Method not found", id));
    }
    for (const std::string id : {"true", "[1]", "{}"}) {
        CAPTURE(id);
        CHECK(ask(client, call_text("nothing", id)) == error_text(-32600, "Invalid Request", "null"));
    }
}

TEST_CASE("each error has its code, and single errors on binary their channel") {
    log_lines log;
    server_options options = rpc_options();
    options.log = log.as_logger();
    running_server server{rpc_routes(), options};
    auto client = test_client::open(server.port());
    struct expectation {
        std::string request;
        std::string answer;
    };
    const std::vector<expectation> expectations = {
        {R"({"jsonrpc":"2.0","method":)", error_text(-32700, "Parse error", "null")},
        {R"({"jsonrpc":"1.0","method":"echo","id":1})", error_text(-32600, "Invalid Request", "1")},
        {R"({"jsonrpc":"2.0","method":1,"id":2})", error_text(-32600, "Invalid Request", "2")},
        {R"({"jsonrpc":"2.0","method":"echo","params":"x","id":3})", error_text(-32600, "Invalid Request", "3")},
        {R"({"jsonrpc":"2.0"})", error_text(-32600, "Invalid Request", "null")},
        {"[]", error_text(-32600, "Invalid Request", "null")},
        {call_text("missing", "4"), error_text(-32601, "Method not found", "4")},
        {call_text("fails", "5"), error_text(-32603, "Internal error", "5")},
        {call_text("refuses", "6"), error_text(-32000, "not today", "6", R"({"retry":true})")},
        {call_text("refuses.with", "7"), error_text(-31999, "a code of its own", "7")},
    };
    for (const auto& each : expectations) {
        CAPTURE(each.request);
        CHECK(ask(client, each.request) == each.answer);
        CHECK(ask_binary(client, each.request) == std::pair{0xFFFFFFFEU, each.answer});
    }
    CHECK(log.wait_for("the database password is hunter2"));  // the peer did not see it, the log did
    CHECK(ask(client, call_text("nothing", "8")) == result_text("null", "8"));
}

TEST_CASE("what is not JSON at all is a parse error on the JSON-RPC channel") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    CHECK(ask_binary(client, "hello") == std::pair{0xFFFFFFFEU, error_text(-32700, "Parse error", "null")});
    CHECK(ask_binary(client, "") == std::pair{0xFFFFFFFEU, error_text(-32700, "Parse error", "null")});
    CHECK(ask_binary(client, "42") == std::pair{0xFFFFFFFEU, error_text(-32600, "Invalid Request", "null")});
    CHECK(ask(client, "[1,") == error_text(-32700, "Parse error", "null"));
}

TEST_CASE("depth and size are limited without harm") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    const std::string deep(500'000, '[');
    client.send_text(deep);
    const std::string answer = client.read_text();
    CHECK(answer.starts_with(R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error")"));
    CHECK(answer.find(R"("limit":64)") != std::string::npos);
    CHECK(ask_binary(client, deep) == std::pair{0xFFFFFFFEU, answer});
    // on binary a message may have 10 MiB, JSON may not
    const auto [channel, too_big] = ask_binary(client, call_text("echo", "1", "[\"" + std::string(600'000, 'x') + "\"]"));
    CHECK(channel == 0xFFFFFFFE);
    CHECK(too_big.starts_with(R"({"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request")"));
    CHECK(too_big.find(R"("limit":524288)") != std::string::npos);
    CHECK(ask(client, call_text("nothing", "2")) == result_text("null", "2"));
}

TEST_CASE("the limits of JSON can be set") {
    server_options options = rpc_options();
    options.max_json_message = 200;
    options.max_batch = 2;
    running_server server{rpc_routes(), options};
    auto client = test_client::open(server.port());
    CHECK(ask(client, call_text("echo", "1", "[\"" + std::string(200, 'x') + "\"]")).find(R"("code":-32600)") !=
          std::string::npos);
    CHECK(ask(client, "[1,2,3]").find(R"("limit":2)") != std::string::npos);
}

TEST_CASE("a batch is answered by one array, in the order of its requests, without its notifications") {
    std::atomic<int> told{0};
    router routes = rpc_routes();
    routes.rpc("tell", [&](rpc_request) -> asio::awaitable<json> {
        ++told;
        co_return json{};
    });
    routes.rpc("slow", [](rpc_request req) -> asio::awaitable<json> {
        asio::steady_timer pause{co_await asio::this_coro::executor, 20ms};
        co_await pause.async_wait(asio::use_awaitable);
        co_return req.params();
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    const std::string batch = "[" + call_text("slow", "1", "[1]") + "," + call_text("tell", "") + ",1," +
                              call_text("missing", "\"m\"") + "," + call_text("math.add", "2", "[1,2]") + "," +
                              R"({"foo":"boo"},)" + call_text("fails", "3") + "]";
    const std::string expected = "[" + result_text("[1]", "1") + "," + error_text(-32600, "Invalid Request", "null") +
                                 "," + error_text(-32601, "Method not found", "\"m\"") + "," + result_text("3", "2") +
                                 "," + error_text(-32600, "Invalid Request", "null") + "," +
                                 error_text(-32603, "Internal error", "3") + "]";
    CHECK(ask(client, batch) == expected);
    CHECK(ask_binary(client, batch) == std::pair{0xFFFFFFFFU, expected});
    CHECK(told.load() == 2);
}

TEST_CASE("a batch that can be answered at once still runs its notifications") {
    std::promise<void> told;
    router routes = rpc_routes();
    routes.rpc("tell", [&](rpc_request) -> asio::awaitable<json> {
        told.set_value();
        co_return json{};
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    CHECK(ask(client, "[1," + call_text("tell", "") + "]") ==
          "[" + error_text(-32600, "Invalid Request", "null") + "]");
    CHECK(told.get_future().wait_for(10s) == std::future_status::ready);
}

TEST_CASE("a batch of notifications is not answered, and one of one request is an array") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    client.send_text("[" + call_text("nothing", "") + "," + call_text("fails", "") + "]");
    client.send_command(0xFFFFFFFF, "[" + call_text("missing", "") + "]");
    CHECK(ask(client, "[" + call_text("nothing", "1") + "]") == "[" + result_text("null", "1") + "]");
    // an array is no object with `error`: it goes out on the channel of results
    CHECK(ask_binary(client, "[" + call_text("missing", "2") + "]") ==
          std::pair{0xFFFFFFFFU, "[" + error_text(-32601, "Method not found", "2") + "]"});
}

TEST_CASE("a batch has at most 100 elements") {
    running_server server{rpc_routes(), rpc_options()};
    auto client = test_client::open(server.port());
    std::string hundred = call_text("nothing", "0");
    for (int i = 1; i < 100; ++i) hundred += "," + call_text("nothing", std::to_string(i));
    const std::string answer = ask(client, "[" + hundred + "]");
    CHECK(answer.starts_with("[" + result_text("null", "0") + "," + result_text("null", "1")));
    CHECK(answer.ends_with(result_text("null", "99") + "]"));
    const std::string refused = ask(client, "[" + hundred + "," + call_text("nothing", "100") + "]");
    CHECK(refused == error_text(-32600, "Invalid Request", "null",
                                R"({"reason":"too many messages in a batch","limit":100})"));
    CHECK(server->stats().handlers_started == 100);
}

TEST_CASE("each element of a batch costs a token of the rate limit") {
    server_options options = rpc_options();
    options.rate_limit = {.messages_per_second = 0.001, .burst = 10};
    running_server server{rpc_routes(), options};
    auto client = test_client::open(server.port());
    std::string five = call_text("nothing", "0");
    for (int i = 1; i < 5; ++i) five += "," + call_text("nothing", "0");
    ask(client, "[" + five + "]");
    ask(client, "[" + five + "]");
    client.send_text(call_text("nothing", "1"));
    CHECK(client.read_close() == received_close{1008, "Rate limit exceeded"});

    auto other = test_client::open(server.port());
    other.send_text("[" + five + "," + five + "," + call_text("nothing", "2") + "]");
    CHECK(other.read_close() == received_close{1008, "Rate limit exceeded"});
    CHECK(server->stats().handlers_started == 10);  // none of the batch that was too expensive
}

TEST_CASE("typed parameters are found by name and by position, and what does not fit is named") {
    router routes = rpc_routes();
    routes.rpc("greet", {"name", "times"}, [](std::string name, std::optional<int> times) -> asio::awaitable<std::string> {
        std::string out;
        for (int i = 0; i < times.value_or(1); ++i) out += name;
        co_return out;
    });
    routes.rpc("sum", {"numbers"}, [](std::vector<std::int64_t> numbers) -> asio::awaitable<std::int64_t> {
        std::int64_t sum = 0;
        for (const auto each : numbers) sum += each;
        co_return sum;
    });
    routes.rpc("forget", {}, []() -> asio::awaitable<void> { co_return; });
    routes.rpc("who", {"greeting"}, [](rpc_request req, std::string greeting) -> asio::awaitable<std::string> {
        co_return greeting + " " + std::string{req.method()};
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    const auto invalid = [](std::string_view id, std::string_view data) {
        return error_text(-32602, "Invalid params", id, data);
    };
    CHECK(ask(client, call_text("math.add", "1", R"({"a":1,"b":2.5})")) == result_text("3.5", "1"));
    CHECK(ask(client, call_text("math.add", "2", R"({"b":2.5,"a":1})")) == result_text("3.5", "2"));
    CHECK(ask(client, call_text("math.add", "3", "[1,2.5]")) == result_text("3.5", "3"));
    CHECK(ask(client, call_text("math.add", "4", R"({"a":1,"b":"2"})")) ==
          invalid("4", R"({"parameter":"b","expected":"number"})"));
    CHECK(ask(client, call_text("math.add", "5", "[1]")) == invalid("5", R"({"parameter":"b","expected":"number"})"));
    CHECK(ask(client, call_text("math.add", "6")) == invalid("6", R"({"parameter":"a","expected":"number"})"));
    CHECK(ask(client, call_text("math.add", "7", R"({"a":1,"b":2,"c":3})")) ==
          invalid("7", R"({"parameter":"c","reason":"unknown"})"));
    CHECK(ask(client, call_text("math.add", "8", "[1,2,3]")) ==
          invalid("8", R"({"reason":"too many","expected":2,"got":3})"));
    CHECK(ask_binary(client, call_text("math.add", "9", "[]")) ==
          std::pair{0xFFFFFFFEU, invalid("9", R"({"parameter":"a","expected":"number"})")});

    CHECK(ask(client, call_text("greet", "10", R"({"name":"ab"})")) == result_text("\"ab\"", "10"));
    CHECK(ask(client, call_text("greet", "11", R"({"name":"ab","times":2})")) == result_text("\"abab\"", "11"));
    CHECK(ask(client, call_text("greet", "12", R"({"name":"ab","times":null})")) == result_text("\"ab\"", "12"));
    CHECK(ask(client, call_text("greet", "13", R"({"name":"ab","times":1.5})")) ==
          invalid("13", R"({"parameter":"times","expected":"integer"})"));
    CHECK(ask(client, call_text("sum", "14", "[[1,2,3]]")) == result_text("6", "14"));
    CHECK(ask(client, call_text("sum", "15", "[[1,\"2\"]]")) ==
          invalid("15", R"({"parameter":"numbers","expected":"array"})"));
    CHECK(ask(client, call_text("forget", "16")) == result_text("null", "16"));
    CHECK(ask(client, call_text("forget", "17", "[]")) == result_text("null", "17"));
    CHECK(ask(client, call_text("who", "18", R"(["hello"])")) == result_text("\"hello who\"", "18"));
}

TEST_CASE("naming more parameters than the handler takes is refused at registration") {
    router routes;
    CHECK_THROWS_AS(routes.rpc("bad", {"a", "b"}, [](int) -> asio::awaitable<int> { co_return 1; }),
                    std::invalid_argument);
    CHECK_THROWS_AS(routes.rpc("rpc.mine", [](rpc_request) -> asio::awaitable<json> { co_return json{}; }),
                    std::invalid_argument);
    routes.rpc("once", [](rpc_request) -> asio::awaitable<json> { co_return json{}; });
    CHECK_THROWS_AS(routes.rpc("once", [](rpc_request) -> asio::awaitable<json> { co_return json{}; }),
                    std::invalid_argument);
}

TEST_CASE("the documented example methods: player.getStats, math.add, game.createRoom") {
    router routes = rpc_routes();  // math.add is there
    routes.rpc("player.getStats", {"playerId"}, [](std::string player) -> asio::awaitable<json> {
        co_return json::object({{"playerId", player}, {"level", 7}});
    });
    routes.rpc("game.createRoom", [](rpc_request req) -> asio::awaitable<json> {
        const auto name = req.params().at("roomName").as_string();
        if (!name || name->empty()) throw request_error{"invalid room name"};
        const auto players = req.params().at("maxPlayers").as_double();
        if (!players || *players < 2) throw request_error{"invalid max players"};
        co_return json::object({{"roomName", *name}, {"maxPlayers", static_cast<int>(*players)}});
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    CHECK(ask_binary(client, call_text("player.getStats", "1", R"({"playerId":"p1"})")) ==
          std::pair{0xFFFFFFFFU, result_text(R"({"playerId":"p1","level":7})", "1")});
    CHECK(ask_binary(client, call_text("math.add", "2", R"({"a":40,"b":2})")) ==
          std::pair{0xFFFFFFFFU, result_text("42", "2")});
    CHECK(ask_binary(client, call_text("game.createRoom", "3", R"({"roomName":"lobby","maxPlayers":4})")) ==
          std::pair{0xFFFFFFFFU, result_text(R"({"roomName":"lobby","maxPlayers":4})", "3")});
    CHECK(ask_binary(client, call_text("game.createRoom", "4", R"({"roomName":"","maxPlayers":4})")) ==
          std::pair{0xFFFFFFFEU, error_text(-32000, "invalid room name", "4")});
    CHECK(ask_binary(client, call_text("game.createRoom", "5", R"({"roomName":"lobby","maxPlayers":1})")) ==
          std::pair{0xFFFFFFFEU, error_text(-32000, "invalid max players", "5")});
}

TEST_CASE("a handler calls a method of its client's and gets the result, under every policy") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        CAPTURE(static_cast<int>(policy));
        running_server server{routes_with(
                                  [](client who) {
                                      return outcome_of(who.call("sum", json::array({1, 2})));
                                  },
                                  policy),
                              rpc_options()};
        auto client = test_client::open(server.port());
        client.send_text(call_text("go", "\"outer\""));
        CHECK(client.read_text() == call_text("sum", "1", "[1,2]"));
        client.send_text(result_text("3", "1"));
        CHECK(client.read_text() == result_text("3", "\"outer\""));
        // the answer may also come on the binary channel
        client.send_text(call_text("go", "\"again\""));
        CHECK(client.read_text() == call_text("sum", "2", "[1,2]"));
        client.send_command(0xFFFFFFFF, result_text("[3]", "2"));
        CHECK(client.read_text() == result_text("[3]", "\"again\""));
    }
}

TEST_CASE("an error of the client's becomes an rpc_failure") {
    running_server server{routes_with([](client who) { return outcome_of(who.call("sum")); }), rpc_options()};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("sum", "1"));
    client.send_text(error_text(-32601, "Method not found", "1", R"({"x":1})"));
    CHECK(client.read_text() == result_text(R"({"code":-32601,"message":"Method not found","data":{"x":1}})", "1"));
    client.send_text(call_text("go", "2"));
    CHECK(client.read_text() == call_text("sum", "2"));
    client.send_command(0xFFFFFFFE, error_text(-1, "no", "2"));
    CHECK(client.read_text() == result_text(R"({"code":-1,"message":"no","data":null})", "2"));
}

TEST_CASE("an answer that is no JSON-RPC response ends the call, and is not answered") {
    running_server server{routes_with([](client who) { return outcome_of(who.call("sum")); }), rpc_options()};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("sum", "1"));
    client.send_text(R"({"jsonrpc":"2.0","result":1,"error":{"code":1,"message":"both"},"id":1})");
    CHECK(client.read_text() == result_text("\"" + message_of(errc::invalid_response) + "\"", "1"));
    // answers to nothing are ignored
    client.send_text(result_text("1", "1"));
    client.send_text(result_text("1", "77"));
    client.send_text(result_text("1", "\"1\""));
    client.send_text(error_text(-32700, "Parse error", "null"));
    CHECK(ask(client, call_text("nothing", "2")) == result_text("null", "2"));
}

TEST_CASE("a call that is not answered ends with a timeout, and a late answer is ignored") {
    running_server server{routes_with([](client who) { return outcome_of(who.call("slow", {}, 50ms)); }), rpc_options()};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("slow", "1"));
    CHECK(client.read_text() == result_text("\"" + message_of(errc::timed_out) + "\"", "1"));
    client.send_text(result_text("\"late\"", "1"));
    CHECK(ask(client, call_text("nothing", "2")) == result_text("null", "2"));
}

TEST_CASE("the default deadline of calls can be set") {
    server_options options = rpc_options();
    options.call_timeout = 50ms;
    running_server server{routes_with([](client who) { return outcome_of(who.call("slow")); }), options};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("slow", "1"));
    CHECK(client.read_text() == result_text("\"" + message_of(errc::timed_out) + "\"", "1"));
}

TEST_CASE("concurrent calls may be answered in any order, also in a batch") {
    running_server server{routes_with([](client who) { return outcome_of(who.call("which")); }), rpc_options()};
    auto client = test_client::open(server.port());
    for (int i = 1; i <= 5; ++i) client.send_text(call_text("go", std::to_string(100 + i)));
    std::set<std::string> asked;  // in no promised order: the handlers run on a pool
    std::set<std::string> expected;
    for (int i = 1; i <= 5; ++i) {
        asked.insert(client.read_text());
        expected.insert(call_text("which", std::to_string(i)));
    }
    CHECK(asked == expected);
    client.send_text(result_text("\"five\"", "5"));
    CHECK(client.read_text().find("\"five\"") != std::string::npos);
    client.send_text(result_text("\"three\"", "3"));
    CHECK(client.read_text().find("\"three\"") != std::string::npos);
    client.send_text("[" + result_text("\"one\"", "1") + "," + result_text("\"four\"", "4") + "," +
                     result_text("\"two\"", "2") + "]");
    std::map<std::string, int> seen;
    for (int i = 0; i < 3; ++i) {
        const std::string reply = client.read_text();
        for (const char* word : {"one", "two", "four"}) seen[word] += reply.find(word) != std::string::npos ? 1 : 0;
    }
    CHECK(seen == std::map<std::string, int>{{"one", 1}, {"two", 1}, {"four", 1}});
}

TEST_CASE("a call ends with closed when the client leaves, and starts with closed after that") {
    std::promise<std::string> first;
    std::promise<std::string> second;
    router routes;
    kephas::client kept;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        kept = who;
        co_return;
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    client.send_frame(9, "connected?");
    CHECK(client.read_frame().opcode == 10);
    // Not from a handler: those are cancelled, this is a coroutine of the program's.
    asio::io_context context;
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
            first.set_value(std::string{(co_await outcome_of(kept.call("wait"))).as_string().value_or("?")});
            (void)co_await kept.closed();
            second.set_value(std::string{(co_await outcome_of(kept.call("wait"))).as_string().value_or("?")});
        },
        [](std::exception_ptr failure) {
            if (failure) std::rethrow_exception(failure);
        });
    std::thread program{[&] { context.run(); }};
    CHECK(client.read_text() == call_text("wait", "1"));
    client.reset();
    CHECK(first.get_future().get() == message_of(errc::closed));
    CHECK(second.get_future().get() == message_of(errc::closed));
    program.join();
}

TEST_CASE("64 calls may be pending for a client, the next one is refused") {
    std::atomic<int> refused{0};
    server_options options = rpc_options();
    options.in_flight.messages = 4;  // a handler that awaits an answer must get it, however many wait
    running_server server{routes_with([&](client who) -> asio::awaitable<json> {
                              json outcome = co_await outcome_of(who.call("wait"));
                              if (outcome == json{message_of(errc::overloaded)}) ++refused;
                              co_return outcome;
                          }),
                          options};
    auto client = test_client::open(server.port());
    for (int i = 1; i <= 64; ++i) {
        client.send_text(call_text("go", std::to_string(i)));
        REQUIRE(client.read_text() == call_text("wait", std::to_string(i)));
    }
    client.send_text(call_text("go", "65"));
    CHECK(client.read_text() == result_text("\"" + message_of(errc::overloaded) + "\"", "65"));
    CHECK(refused.load() == 1);
    for (int i = 64; i >= 1; --i) {
        client.send_text(result_text(std::to_string(i), std::to_string(i)));
        REQUIRE(client.read_text() == result_text(std::to_string(i), std::to_string(i)));
    }
}

TEST_CASE("the number of pending calls can be set") {
    server_options options = rpc_options();
    options.max_pending_calls = 1;
    running_server server{routes_with([](client who) { return outcome_of(who.call("wait")); }), options};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("wait", "1"));
    client.send_text(call_text("go", "2"));
    CHECK(client.read_text() == result_text("\"" + message_of(errc::overloaded) + "\"", "2"));
}

TEST_CASE("pending calls end with overloaded when the byte limit stops reading") {
    server_options options = rpc_options();
    options.in_flight.bytes = 10'000;
    running_server server{routes_with([](client who) { return outcome_of(who.call("wait")); }), options};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("wait", "1"));
    client.send_text(call_text("go", "2", "[\"" + std::string(12'000, 'x') + "\"]"));
    // The second request's own call may come before or after the limit was noticed.
    std::map<std::string, int> seen;
    for (int replies = 0; replies < 2;) {
        const std::string text = client.read_text();
        if (text == call_text("wait", "2")) continue;
        ++replies;
        ++seen[text];
    }
    CHECK(seen[result_text("\"" + message_of(errc::overloaded) + "\"", "1")] == 1);
    CHECK(seen[result_text("\"" + message_of(errc::overloaded) + "\"", "2")] == 1);
}

TEST_CASE("on_connect cannot call, because nothing is read before it returns") {
    std::promise<std::string> outcome;
    router routes;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        outcome.set_value(std::string{(co_await outcome_of(who.call("hello"))).as_string().value_or("?")});
    });
    running_server server{std::move(routes), rpc_options()};
    auto client = test_client::open(server.port());
    CHECK(outcome.get_future().get() == message_of(errc::not_reading));
}

TEST_CASE("notifications to the client are not waited for") {
    running_server server{routes_with([](client who) -> asio::awaitable<json> {
                              json params = json::object({{"n", 1}});
                              co_await who.notify("news", std::move(params));
                              co_return json{"told"};
                          }),
                          rpc_options()};
    auto client = test_client::open(server.port());
    client.send_text(call_text("go", "1"));
    CHECK(client.read_text() == call_text("news", "", R"({"n":1})"));
    CHECK(client.read_text() == result_text("\"told\"", "1"));
}
