// Commands over streams, in virtual time: how they begin, what bounds them, how they end.
#include <support/command_stream.hpp>
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using reply = asio::awaitable<std::optional<payload>>;

namespace {

/// A client on a stream in memory: it never waits.
class stream_client {
public:
    explicit stream_client(memory_link link) : link_{std::move(link)} {}

    void send(std::string_view bytes) { link_.to_server().write(bytes); }
    void send(std::uint32_t id, std::string_view payload) { send(stream_message(id, payload)); }
    void end() { link_.to_server().end(); }
    void reset() { link_.reset(); }
    [[nodiscard]] events take() {
        lines_.add(link_.to_client().take());
        events all;
        while (auto line = lines_.next()) all.push_back(std::move(*line));
        if (!ended_ && lines_.empty() && link_.to_client().at_end()) {
            ended_ = true;
            all.push_back(link_.to_client().was_reset() ? "reset" : "end");
        }
        return all;
    }
    [[nodiscard]] const memory_link& link() const noexcept { return link_; }

private:
    memory_link link_;
    stream_lines lines_;
    bool ended_ = false;
};

stream_client open_stream(virtual_world& world, std::size_t capacity = 64 * 1024) {
    const memory_link link{capacity};
    world->attach_commands([&](const asio::any_io_executor& executor) { return link.server_end(executor); });
    world.settle();
    return stream_client{link};
}

/// What the server said of each connection.
struct record {
    std::vector<std::string> lines;
    router routes(dispatch policy = dispatch::on_strand) {
        router routes;
        routes.on(command_id{1}, policy, [](request req) -> reply { co_return payload{req.share()}; });
        routes.on(command_id{2}, policy, [](request req) -> reply {
            co_await pause_for(10s);
            co_return payload{req.share()};
        });
        routes.on(command_id{3}, policy, [](request req) -> reply {
            const client peer = req.client();
            CHECK(peer.try_send(command_id{3}, "before") == send_status::queued);
            peer.close(close_code{4000}, "asked for it");
            co_return std::nullopt;
        });
        routes.on(command_id{4}, policy, [](request req) -> reply {
            co_return payload{std::string(std::stoul(std::string{req.text()}), 'x')};
        });
        routes.on_connect([this](client) -> asio::awaitable<void> {
            lines.emplace_back("connect");
            co_return;
        });
        routes.on_disconnect([this](client, close_info why) -> asio::awaitable<void> {
            static constexpr const char* initiators[] = {"peer", "server", "transport"};
            lines.push_back(std::to_string(static_cast<unsigned>(why.code)) + " \"" + why.reason + "\" by " +
                            initiators[static_cast<std::size_t>(why.initiator)] + (why.clean ? "" : " (unclean)"));
            co_return;
        });
        return routes;
    }
};

}  // namespace

TEST_CASE("a stream is open at once, and a command is answered under its id") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    CHECK(seen.lines == events{"connect"});
    CHECK(world->stats().connections == 1);
    client.send(stream_message(1, "hello") + stream_message(1, "") + stream_message(1, "again"));
    world.settle();
    CHECK(client.take() == events{"1 hello", "1", "1 again"});
}

TEST_CASE("the peer's goodbye gives the code and the reason, and is answered") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    client.send(stream_message(1, "last") + stream_goodbye(4001, "enough"));
    client.end();
    world.settle();
    CHECK(client.take() == events{"1 last", "goodbye 4001", "end"});
    CHECK(seen.lines == events{"connect", "4001 \"enough\" by peer"});
    CHECK(world->stats().closed == 1);
}

TEST_CASE("an end behind a whole message is clean and has no status, one within a message is a loss") {
    record seen;
    virtual_world world{seen.routes()};
    SUBCASE("behind") {
        stream_client client = open_stream(world);
        client.send(1, "last");
        client.end();
        world.settle();
        CHECK(client.take() == events{"1 last", "goodbye 1000", "end"});
        CHECK(seen.lines == events{"connect", "1005 \"\" by peer"});
    }
    SUBCASE("within") {
        const std::string whole = stream_message(1, "half");
        for (const std::size_t size : {1U, 4U, 11U}) {
            seen.lines.clear();
            stream_client client = open_stream(world);
            client.send(whole.substr(0, size));
            client.end();
            world.settle();
            CHECK(client.take() == events{"end"});
            CHECK(seen.lines == events{"connect", "1006 \"connection lost\" by transport (unclean)"});
        }
    }
    SUBCASE("a reset") {
        stream_client client = open_stream(world);
        client.reset();
        world.settle();
        CHECK(seen.lines == events{"connect", "1006 \"connection lost\" by transport (unclean)"});
    }
}

TEST_CASE("a close of ours is a goodbye behind what was queued, and the end of our side") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    client.send(3, "");
    world.settle();
    CHECK(client.take() == events{"3 before", "goodbye 4000 asked for it", "end"});
    CHECK(seen.lines == events{"connect"});  // it has the time to answer
    SUBCASE("the peer answers") {
        client.send(stream_goodbye(4000));
        client.end();
        world.settle();
        CHECK(seen.lines == events{"connect", "4000 \"asked for it\" by server"});
    }
    SUBCASE("the peer only ends") {
        client.end();
        world.settle();
        CHECK(seen.lines == events{"connect", "4000 \"asked for it\" by server"});
    }
    SUBCASE("the peer does nothing") {
        world.run_for(10s);
        CHECK(seen.lines == events{"connect", "4000 \"asked for it\" by server (unclean)"});
    }
    SUBCASE("the peer goes on sending, which is not dispatched") {
        client.send(1, "too late");
        world.settle();
        CHECK(client.take().empty());
        client.end();
        world.settle();
        CHECK(seen.lines == events{"connect", "4000 \"asked for it\" by server"});
    }
    CHECK(world->stats().closed == 1);
}

TEST_CASE("what breaks the protocol ends with a goodbye that says why, behind the answers to what came before") {
    const auto last = [](server_options options, const std::string& bytes) {
        record seen;
        virtual_world world{seen.routes(), std::move(options)};
        stream_client client = open_stream(world);
        client.send(stream_message(1, "good") + bytes);
        world.settle();
        events got = client.take();
        REQUIRE(got.size() == 3);
        CHECK(got[0] == "1 good");
        CHECK(got[2] == "end");
        client.end();
        world.settle();
        CHECK(world->stats().closed == 1);
        return got[1];
    };
    server_options small = virtual_options();
    small.max_binary_payload = 100;
    CHECK(last(small, std::string("\0\0\0\3abc", 7)) == "goodbye 1002 Invalid message format");
    CHECK(last(small, big_endian_text(105)) == "goodbye 1009 binary message exceeds the limit of 104 bytes");
    CHECK(last(small, "GET /ws HTTP/1.1\r\n\r\n") == "goodbye 1009 binary message exceeds the limit of 104 bytes");
}

TEST_CASE("messages and keep-alives have their rates") {
    server_options options = virtual_options();
    options.rate_limit = {.messages_per_second = 1, .burst = 2};
    options.control_rate_limit = {.messages_per_second = 1, .burst = 3};
    record seen;
    virtual_world world{seen.routes(), options};
    SUBCASE("messages") {
        stream_client client = open_stream(world);
        client.send(stream_message(1, "a") + stream_message(1, "b") + stream_message(1, "c"));
        world.settle();
        CHECK(client.take() == events{"1 a", "1 b", "goodbye 1008 Rate limit exceeded", "end"});
    }
    SUBCASE("keep-alives") {
        stream_client client = open_stream(world);
        for (int i = 0; i < 3; ++i) client.send(stream_keep_alive());
        client.send(1, "a");
        world.settle();
        CHECK(client.take() == events{"1 a"});
        client.send(stream_keep_alive());
        world.settle();
        CHECK(client.take() == events{"goodbye 1008 Control frame rate limit exceeded", "end"});
    }
    CHECK(world->stats().rate_limited == 1);
}

TEST_CASE("once our goodbye has left nothing is left to wait for, whatever comes in meanwhile") {
    record seen;
    router routes = seen.routes();
    routes.on(command_id{5}, dispatch::pool, [&](request req) -> reply {
        const client peer = req.client();
        peer.close(close_code{4000}, "asked for it");
        co_await pause_for(1s);
        co_await peer.drained();
        seen.lines.emplace_back("drained");
        co_return std::nullopt;
    });
    virtual_world world{std::move(routes)};
    stream_client client = open_stream(world);
    client.send(5, "");
    world.settle();
    CHECK(client.take() == events{"goodbye 4000 asked for it", "end"});
    client.send(1, "too late");
    world.settle();
    world.run_for(2s);
    CHECK(seen.lines == events{"connect", "drained"});
    client.end();
    world.settle();
}

TEST_CASE("without a close_timeout a peer that ignores our goodbye is given up after read_timeout") {
    record seen;
    server_options options = virtual_options();
    options.close_timeout = 0s;
    options.read_timeout = 60s;
    virtual_world world{seen.routes(), options};
    stream_client client = open_stream(world);
    world.run_for(1h);
    client.send(3, "");
    world.run_for(59s);
    CHECK(seen.lines == events{"connect"});
    world.run_for(2s);
    CHECK(seen.lines == events{"connect", "4000 \"asked for it\" by server (unclean)"});
}

TEST_CASE("an idle stream may be silent for days, and nothing is sent on it") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    world.run_for(48h);
    CHECK(client.take().empty());
    client.send(1, "still here");
    world.settle();
    CHECK(client.take() == events{"1 still here"});
}

TEST_CASE("an unfinished message has a deadline, also one that drips in") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    const std::string whole = stream_message(1, std::string(100, 'x'));
    for (std::size_t i = 0; i < 12; ++i) {
        client.send(whole.substr(i, 1));
        world.run_for(4900ms);
    }
    CHECK(client.take().empty());
    world.run_for(2s);
    CHECK(client.take() == events{"goodbye 1008 message timeout", "end"});
}

TEST_CASE("a consumer that does not read is cut off, and told so if it reads again") {
    record seen;
    server_options options = virtual_options();
    options.outbox.max_bytes = 1024 * 1024;
    virtual_world world{seen.routes(), options};
    stream_client client = open_stream(world, 1000);
    client.send(4, "5000");
    world.run_for(9900ms);
    CHECK(world->stats().slow_consumers == 0);
    world.run_for(200ms);
    events got;  // what was begun is finished first, then the goodbye
    for (int i = 0; i < 10; ++i) {
        for (auto& line : client.take()) got.push_back(std::move(line));
        world.settle();
    }
    REQUIRE(got.size() >= 2);
    CHECK(got[0].size() == 2 + 5000);
    CHECK(got[1] == "goodbye 3008 slow consumer");
    client.end();
    world.settle();
    CHECK(world->stats().slow_consumers == 1);
    CHECK(seen.lines == events{"connect", "3008 \"slow consumer\" by server (unclean)"});
}

TEST_CASE("an outbox that overflows closes a stream as it does a WebSocket connection") {
    server_options options = virtual_options();
    options.outbox.max_messages = 4;
    record seen;
    virtual_world world{seen.routes(), options};
    stream_client client = open_stream(world, 500);
    for (const kephas::client& each : world->clients().all()) {
        for (int i = 0; i < 20; ++i) (void)each.try_send(command_id{9}, payload{std::string(400, 'x')}, overflow_policy::close);
    }
    world.run_for(1s);
    events got;
    for (int i = 0; i < 20; ++i) {
        for (auto& line : client.take()) got.push_back(std::move(line));
        world.settle();
    }
    REQUIRE(got.size() >= 2);
    CHECK(got[got.size() - 2] == "goodbye 3008 slow consumer");
    CHECK(got.back() == "end");
}

TEST_CASE("the drain says goodbye to each stream, once its handlers have ended") {
    record seen;
    virtual_world world{seen.routes(dispatch::pool)};
    stream_client idle = open_stream(world);
    stream_client busy = open_stream(world);
    busy.send(2, "takes a while");
    world.run_for(5s);
    world->stop();
    world.settle();
    CHECK(idle.take() == events{"goodbye 1001", "end"});
    CHECK(busy.take().empty());
    idle.end();
    world.run_for(5s);
    CHECK(busy.take() == events{"2 takes a while", "goodbye 1001", "end"});
    busy.send(stream_goodbye(1001));
    busy.end();
    REQUIRE(world.time_until([&world] { return world.ended(); }));
    CHECK(world.report()->left_in_time == 2);
    CHECK(world.report()->cancelled == 0);
}

TEST_CASE("a server that drains refuses a stream with a goodbye") {
    record seen;
    virtual_world world{seen.routes(dispatch::pool)};
    stream_client busy = open_stream(world);
    busy.send(2, "takes a while");
    world.run_for(1s);
    world->stop();
    world.settle();
    stream_client late = open_stream(world);
    CHECK(late.take() == events{"goodbye 1013 the server is shutting down", "end"});
    late.end();
    busy.end();
}

TEST_CASE("a stream beyond max_clients gets a goodbye, and its place is free again") {
    server_options options = virtual_options();
    options.max_clients = 1;
    record seen;
    virtual_world world{seen.routes(), options};
    stream_client first = open_stream(world);
    stream_client second = open_stream(world);
    CHECK(second.take() == events{"goodbye 1013 too many connections", "end"});
    second.end();
    first.end();
    world.settle();
    stream_client third = open_stream(world);
    third.send(1, "in");
    world.settle();
    CHECK(third.take() == events{"1 in"});
    CHECK(seen.lines == events{"connect", "1005 \"\" by peer", "connect"});
}

TEST_CASE("authorize sees a stream as a request without a head, and its refusal is a goodbye with 1008") {
    std::vector<http::request> asked;
    bool let_in = true;
    record seen;
    router routes = seen.routes();
    routes.authorize([&](http::request request) -> asio::awaitable<authorization> {
        asked.push_back(request);
        if (!let_in) co_return authorization::refuse(http::status_code::forbidden, "not you\n");
        co_return authorization::accept("somebody");
    });
    virtual_world world{std::move(routes)};
    stream_client first = open_stream(world);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0] == http::request{.method = "STREAM"});
    REQUIRE(world->clients().all().size() == 1);
    CHECK(world->clients().all()[0].identity() == "somebody");
    let_in = false;
    stream_client second = open_stream(world);
    CHECK(second.take() == events{"goodbye 1008 not you", "end"});
    CHECK(world->clients().size() == 1);
}

TEST_CASE("what a server sends as text goes over a stream under the id of JSON-RPC, and so do its calls") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    const kephas::client handle = world->clients().all().at(0);
    CHECK(handle.try_send_text("{\"type\":\"news\"}") == send_status::queued);
    std::optional<json> answer;
    const json numbers = json::array({1, 2});
    asio::co_spawn(
        world.context(), [&]() -> asio::awaitable<void> { answer = co_await handle.call("sum", numbers); },
        [](const std::exception_ptr& failure) { CHECK_FALSE(failure); });
    world.settle();
    const events got = client.take();
    REQUIRE(got.size() == 2);
    CHECK(got[0] == "jsonrpc {\"type\":\"news\"}");
    CHECK(got[1] == R"(jsonrpc {"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1})");
    client.send(jsonrpc_id, R"({"jsonrpc":"2.0","result":3,"id":1})");
    world.settle();
    CHECK(answer == json{3});
}

TEST_CASE("an error that answers a call is no goodbye") {
    record seen;
    virtual_world world{seen.routes()};
    stream_client client = open_stream(world);
    const kephas::client handle = world->clients().all().at(0);
    bool failed = false;
    const json nothing;
    asio::co_spawn(
        world.context(), [&]() -> asio::awaitable<void> { (void)co_await handle.call("sum", nothing); },
        [&failed](const std::exception_ptr& failure) { failed = failure != nullptr; });
    world.settle();
    client.send(error_id, R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"no","data":{"close":1000}},"id":1})");
    world.settle();
    CHECK(failed);
    client.send(1, "still here");
    world.settle();
    const events got = client.take();
    REQUIRE(got.size() == 2);
    CHECK(got[1] == "1 still here");
}

TEST_CASE("a broadcast reaches both wires, each in its own frame") {
    record seen;
    virtual_world world{seen.routes()};
    memory_client web = world.open();
    stream_client stream = open_stream(world);
    stream_client other = open_stream(world);
    std::optional<broadcast_report> report;
    asio::co_spawn(
        world.context(),
        [&]() -> asio::awaitable<void> {
            report = co_await world->broadcast(command_id{7}, "to all");
            (void)co_await world->clients().broadcast_text("text to all");
        },
        [](const std::exception_ptr& failure) { CHECK_FALSE(failure); });
    world.settle();
    REQUIRE(report);
    CHECK(report->queued == 3);
    CHECK(web.take() == events{"binary " + test_client::command(7, "to all"), "text text to all"});
    CHECK(stream.take() == events{"7 to all", "jsonrpc text to all"});
    CHECK(other.take() == events{"7 to all", "jsonrpc text to all"});
}

TEST_CASE("in flight, a stream is limited as a WebSocket connection is") {
    server_options options = virtual_options();
    options.in_flight.messages = 2;
    record seen;
    virtual_world world{seen.routes(dispatch::pool), options};
    stream_client client = open_stream(world);
    for (int i = 0; i < 5; ++i) client.send(2, std::to_string(i));
    world.run_for(10s);
    CHECK(client.take().size() == 2);
    world.run_for(10s);
    CHECK(client.take().size() == 2);
    client.end();  // seen although nothing is read
    world.run_for(200ms);
    world.run_for(20s);
    CHECK(world->stats().closed == 1);
}
