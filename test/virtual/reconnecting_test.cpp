// How the command client comes back: lost, silent, refused and draining servers, and what becomes of what it has to send.
#include <support/linked_client.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;
using lines = std::vector<std::string>;

namespace {

struct fixture {
    router routes() {
        router table;
        table.on(command_id{1}, dispatch::on_strand, [this](request req) -> reply {
            heard.push_back(std::string{req.text()});
            co_return std::nullopt;
        });
        table.on(command_id{4}, [](request req) -> reply {
            req.client().close(close_code{static_cast<std::uint16_t>(std::stoi(std::string{req.text()}))}, "go");
            co_return std::nullopt;
        });
        table.rpc("wait", [](rpc_request) -> asio::awaitable<json> {
            co_await pause_for(1h);
            co_return json{};
        });
        table.rpc("join", [this](rpc_request) -> asio::awaitable<json> {
            co_await pause_for(join_time);
            heard.push_back("join");
            co_return json{};
        });
        table.on_connect([this](client who) -> asio::awaitable<void> {
            clients.push_back(who);
            co_return;
        });
        return table;
    }

    lines heard;
    std::vector<client> clients;
    duration join_time{};
    client_world world{routes()};
    state_recorder states;

    std::unique_ptr<command_client> make(command_client_options options) {
        auto made = std::make_unique<command_client>(world.executor(), "ws://server/ws", std::move(options));
        states.watch(*made);
        return made;
    }
    std::unique_ptr<command_client> open(command_client_options options,
                                         const std::function<void(command_client&)>& prepare = {}) {
        auto made = make(std::move(options));
        if (prepare) prepare(*made);
        begin(*made);
        world.run_for(1ms);
        REQUIRE(made->state() == link_state::connected);
        (void)states.take();
        return made;
    }
    std::unique_ptr<command_client> open() { return open(world.options()); }
    void begin(command_client& client) {
        world.go([&client]() -> asio::awaitable<void> { co_await client.connect(); });
    }
    void refuse(int times, std::errc why = std::errc::connection_refused) {
        world.refusals.assign(static_cast<std::size_t>(times), std::make_error_code(why));
    }
    std::string how_closed(command_client& client) {
        std::string how = "not closed";
        world.go([&]() -> asio::awaitable<void> {
            const connection_end end = co_await client.closed();
            how = std::to_string(static_cast<unsigned>(end.code)) + " " + end.reason;
        });
        return how;
    }
};

std::string code_of(close_code code) { return std::to_string(static_cast<unsigned>(code)); }

}  // namespace

TEST_CASE("a lost connection is made anew, after delays that double, and the backoff begins anew once it has lasted") {
    fixture f;
    const auto client = f.open();
    f.refuse(3);
    const duration lost = f.world.world().elapsed();
    f.world.attempts.clear();
    f.world.link().reset();
    f.world.run_for(20s);
    CHECK(client->state() == link_state::connected);
    CHECK(f.states.take() ==
          lines{"reconnecting in 500", "reconnecting in 1000", "reconnecting in 2000", "reconnecting in 4000", "connected"});
    for (duration& each : f.world.attempts) each -= lost;
    CHECK(f.world.attempts == std::vector<duration>{500ms, 1'500ms, 3'500ms, 7'500ms});
    CHECK(client->stats().failed_attempts == 3);

    f.world.link().reset();  // 12.5 s later: it has lasted
    f.world.run_for(1s);
    CHECK(f.states.take() == lines{"reconnecting in 500", "connected"});
    f.world.link().reset();  // right after that
    f.world.run_for(2s);
    CHECK(f.states.take() == lines{"reconnecting in 1000", "connected"});
}

TEST_CASE("what has not left when the connection is lost leaves with the next one, in order, and nothing twice") {
    fixture f;
    const auto client = f.open();
    CHECK_FALSE(client->try_send(command_id{1}, "first"));
    f.world.settle();
    f.world.link().to_server().set_capacity(10);  // the next one is cut in the middle
    for (int i = 0; i < 5; ++i) CHECK_FALSE(client->try_send(command_id{1}, payload{"number " + std::to_string(i)}));
    f.world.settle();
    f.world.link().reset();
    f.world.settle();
    CHECK(client->state() == link_state::reconnecting);
    CHECK_FALSE(client->try_send(command_id{1}, "sent meanwhile"));
    f.world.run_for(1s);
    CHECK(f.heard == lines{"first", "number 0", "number 1", "number 2", "number 3", "number 4", "sent meanwhile"});
    CHECK(client->stats().messages_taken == 7);
    CHECK(client->stats().messages_sent == 7);
    CHECK(client->stats().messages_dropped == 0);
}

TEST_CASE("what is kept while it reconnects is bounded, in messages and in bytes") {
    fixture f;
    auto options = f.world.options();
    options.max_queued_messages = 3;
    options.max_queued_bytes = 1'000;
    const auto client = f.open(options);
    f.world.link().reset();
    f.world.settle();
    CHECK_FALSE(client->try_send(command_id{1}, payload{std::string(900, 'x')}));
    CHECK(client->try_send(command_id{1}, payload{std::string(200, 'x')}) == errc::full);
    CHECK_FALSE(client->try_send(command_id{1}, "2"));
    CHECK_FALSE(client->try_send(command_id{1}, "3"));
    CHECK(client->try_send(command_id{1}, "4") == errc::full);
    bool sent = false;
    f.world.go([&]() -> asio::awaitable<void> {
        co_await client->send(command_id{1}, "waited");
        sent = true;
    });
    CHECK_FALSE(sent);
    f.world.run_for(1s);
    CHECK(sent);
    CHECK(f.heard.size() == 4);
}

TEST_CASE("refused messages: what is sent while it reconnects fails, what had not left is dropped and counted") {
    fixture f;
    auto options = f.world.options();
    options.outbound = while_disconnected::refuse;
    options.max_queued_messages = 3;
    const auto client = f.open(options);
    f.world.link().to_server().set_capacity(0);
    for (int i = 0; i < 3; ++i) CHECK_FALSE(client->try_send(command_id{1}, "x"));
    f.world.go([&]() -> asio::awaitable<void> { co_await client->send(command_id{1}, "waits for room"); });
    f.world.link().reset();
    f.world.settle();
    CHECK(f.world.failure() == errc::not_connected);
    CHECK(client->stats().messages_dropped == 3);
    CHECK(client->try_send(command_id{1}, "x") == errc::not_connected);
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("join"); });
    CHECK(f.world.failures.size() == 2);
    f.world.run_for(1s);
    CHECK_FALSE(client->try_send(command_id{1}, "connected"));
    f.world.run_for(1s);
    CHECK(f.heard == lines{"connected"});
}

TEST_CASE("a call that waits when the connection is lost ends with closed and is not repeated; one made later is") {
    fixture f;
    const auto client = f.open();
    f.world.link().to_server().set_capacity(0);  // it does not even leave
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("join"); });
    f.world.link().reset();
    f.world.settle();
    CHECK(f.world.failure() == errc::closed);
    CHECK(client->stats().messages_dropped == 1);
    const int before = f.world.ended;
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("join"); });
    f.world.run_for(1s);
    CHECK(f.world.ended == before + 1);
    CHECK(f.world.failures.size() == 1);
    CHECK(f.heard == lines{"join"});
}

TEST_CASE("on_connected and on_reconnected run in that order, before what was queued, and before `connected`") {
    fixture f;
    f.join_time = 100ms;
    lines ran;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.on_connected([&](fresh_link link) -> asio::awaitable<void> {
            ran.push_back(link.reconnected() ? "again" : "first");
            co_await link.send(command_id{1}, "hello from the hook");
        });
        prepared.on_reconnected([&](fresh_link link) -> asio::awaitable<void> {
            (void)co_await link.call("join");
            ran.push_back("joined");
        });
    });
    CHECK(ran == lines{"first"});
    f.heard.clear();
    f.world.link().reset();
    f.world.settle();
    CHECK_FALSE(client->try_send(command_id{1}, "queued"));
    f.world.run_for(550ms);
    CHECK(client->state() == link_state::reconnecting);
    CHECK_FALSE(client->try_send(command_id{1}, "sent during the hook"));
    f.world.run_for(100ms);
    CHECK(client->state() == link_state::connected);
    CHECK(ran == lines{"first", "again", "joined"});
    CHECK(f.heard == lines{"hello from the hook", "join", "queued", "sent during the hook"});
}

TEST_CASE("a hook that throws, or takes too long, costs the connection, and the next attempt comes later") {
    fixture f;
    bool hang = false;
    int runs = 0;
    auto options = f.world.options();
    options.hook_timeout = 3s;
    const auto client = f.open(options, [&](command_client& prepared) {
        prepared.on_reconnected([&](fresh_link) -> asio::awaitable<void> {
            ++runs;
            if (hang) co_await pause_for(1h);
            if (runs < 3) throw std::runtime_error{"not let in"};
        });
    });
    SUBCASE("throws") {
        f.world.link().reset();
        f.world.run_for(10s);
        CHECK(f.states.take() == lines{"reconnecting in 500", "reconnecting in 1000", "reconnecting in 2000", "connected"});
        CHECK(client->stats().handlers_failed == 2);
    }
    SUBCASE("takes too long") {
        hang = true;
        f.world.link().reset();
        f.world.run_for(500ms + 3s + 1ms);
        hang = false;
        runs = 3;
        f.world.run_for(5s);
        CHECK(f.states.take() == lines{"reconnecting in 500", "reconnecting in 1000", "connected"});
    }
}

TEST_CASE("a hook that takes too long every time is no connection that has lasted: the delays go on doubling") {
    fixture f;
    const auto client = f.open(f.world.options(), [](command_client& prepared) {
        prepared.on_reconnected([](fresh_link) -> asio::awaitable<void> { co_await pause_for(1h); });
    });
    f.world.link().reset();
    f.world.run_for(48s);  // hook_timeout and stable_after are both 10 s
    CHECK(f.states.take() == lines{"reconnecting in 500", "reconnecting in 1000", "reconnecting in 2000", "reconnecting in 4000",
                                   "reconnecting in 8000"});
}

TEST_CASE("what a hook sends has room, however much waits for the connection") {
    fixture f;
    auto options = f.world.options();
    options.max_queued_messages = 3;
    const auto client = f.open(options, [](command_client& prepared) {
        prepared.on_reconnected([](fresh_link link) -> asio::awaitable<void> {
            for (int i = 0; i < 5; ++i) {
                payload body{"hook " + std::to_string(i)};
                co_await link.send(command_id{1}, std::move(body));
            }
            (void)co_await link.call("join");
        });
    });
    f.world.link().reset();
    f.world.settle();
    for (int i = 0; i < 3; ++i) CHECK_FALSE(client->try_send(command_id{1}, payload{std::to_string(i)}));
    CHECK(client->try_send(command_id{1}, "4") == errc::full);
    f.world.run_for(1s);
    CHECK(client->state() == link_state::connected);
    CHECK(f.heard == lines{"hook 0", "hook 1", "hook 2", "hook 3", "hook 4", "join", "0", "1", "2"});
    CHECK(client->stats().messages_queued == 0);
    CHECK(client->stats().bytes_queued == 0);
}

TEST_CASE("a connection that is lost while the hook runs: the hook ends, and runs again for the next one") {
    fixture f;
    f.join_time = 1h;
    lines ended;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.on_reconnected([&](fresh_link link) -> asio::awaitable<void> {
            try {
                (void)co_await link.call("join");
                ended.push_back("joined");
            } catch (const std::system_error& failure) {
                ended.push_back(failure.code() == errc::closed ? "closed" : "cancelled");
                throw;
            }
        });
    });
    f.world.link().reset();
    f.world.run_for(600ms);
    f.join_time = 0s;
    f.world.link().reset();
    f.world.run_for(5s);
    REQUIRE(ended.size() == 2);
    CHECK(ended[1] == "joined");
    CHECK(client->state() == link_state::connected);
}

TEST_CASE("a server that falls silent is noticed after read_timeout") {
    fixture f;
    const auto client = f.open();
    f.world.run_for(10s);
    f.world.link().to_client().hold();
    f.world.link().to_server().hold();
    const auto took = f.world.world().time_until([&] { return client->state() == link_state::reconnecting; });
    CHECK(took == 60s - 10s - 1ms);  // since the handshake, the last bytes that came
    CHECK(f.states.take() == lines{"reconnecting in 500"});
    f.world.run_for(1s);
    CHECK(client->state() == link_state::connected);
}

TEST_CASE("a server that stops reading is noticed after write_timeout") {
    fixture f;
    auto options = f.world.options();
    options.write_timeout = 20s;
    options.ping_interval = 0s;
    const auto client = f.open(options);
    f.world.link().to_server().set_capacity(0);
    CHECK_FALSE(client->try_send(command_id{1}, "kept"));
    const auto took = f.world.world().time_until([&] { return client->state() == link_state::reconnecting; });
    CHECK(took == 20s);
    f.world.run_for(1s);
    CHECK(f.heard == lines{"kept"});
}

TEST_CASE("a delayed wire changes nothing but the time") {
    fixture f;
    const auto client = f.open();
    f.world.link().to_server().hold();
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await client->call("join"); });
    f.world.run_for(20s);
    CHECK(f.heard.empty());
    f.world.link().to_server().release();
    f.world.run_for(1ms);
    CHECK(f.heard == lines{"join"});
    CHECK(f.world.failures.empty());
}

TEST_CASE("which close codes are followed by a reconnection") {
    for (const unsigned code : {1001U, 1011U, 1012U, 1013U, 3000U, 3008U, 4001U, 1000U, 1002U, 1003U, 1007U, 1008U, 1009U, 3500U, 4900U}) {
        CAPTURE(code);
        fixture f;
        const auto client = f.open();
        CHECK_FALSE(client->try_send(command_id{4}, payload{std::to_string(code)}));
        f.world.run_for(2s);
        if (may_reconnect(close_code{static_cast<std::uint16_t>(code)})) {
            CHECK(f.states.take() == lines{"reconnecting in 500", "connected"});
        } else {
            CHECK(f.states.take() == lines{"closed " + std::to_string(code)});
            CHECK(f.how_closed(*client) == std::to_string(code) + " go");
        }
    }
}

TEST_CASE("a drain of the server sends its clients to reconnect, and they find the next one") {
    fixture f;
    const auto client = f.open();
    f.refuse(2);
    f.world.world()->stop();
    f.world.run_for(1s);
    const lines seen = f.states.take();
    REQUIRE(!seen.empty());
    CHECK(seen[0] == "reconnecting in 500");
    CHECK(client->state() == link_state::reconnecting);
    client->close();
    f.world.settle();
    CHECK(client->state() == link_state::closed);
}

TEST_CASE("the user decides against the rule, and an exception of his is a no") {
    fixture f;
    auto options = f.world.options();
    bool fail = false;
    options.reconnect.decide = [&](const connection_end& end) -> std::optional<bool> {
        if (fail) throw std::runtime_error{"undecided"};
        return end.code == close_code::policy_violation ? std::optional{true} : std::nullopt;
    };
    const auto client = f.open(options);
    CHECK_FALSE(client->try_send(command_id{4}, "1008"));
    f.world.run_for(2s);
    CHECK(f.states.take() == lines{"reconnecting in 500", "connected"});
    fail = true;
    f.world.link().reset();
    f.world.run_for(2s);
    CHECK(f.states.take() == lines{"closed " + code_of(close_code::abnormal)});
}

TEST_CASE("attempts have a limit in number and in time") {
    fixture f;
    auto options = f.world.options();
    SUBCASE("number") { options.reconnect.max_attempts = 2; }
    SUBCASE("time") { options.reconnect.max_elapsed = 2s; }
    const auto client = f.open(options);
    f.refuse(100);
    f.world.link().reset();
    f.world.run_for(1min);
    CHECK(f.states.take() == lines{"reconnecting in 500", "reconnecting in 1000", "closed 1006"});
    connection_end end;
    f.world.go([&]() -> asio::awaitable<void> { end = co_await client->closed(); });
    CHECK(end.error == std::errc::connection_refused);
}

TEST_CASE("the first connect throws what failed, and may be tried again") {
    fixture f;
    const auto client = f.make(f.world.options());
    f.refuse(1);
    f.begin(*client);
    f.world.run_for(1s);
    CHECK(f.world.failure() == std::errc::connection_refused);
    CHECK(f.states.take() == lines{"connecting", "closed 1006"});
    f.begin(*client);
    f.world.run_for(1s);
    CHECK(f.world.failures.size() == 1);
    CHECK(f.states.take() == lines{"connecting", "connected"});
}

TEST_CASE("each connect and each closed has the outcome that it waited for, also if the callback begins anew") {
    fixture f;
    command_client client{f.world.executor(), "ws://server/ws", f.world.options()};
    int again = 0;
    std::vector<connection_end> ends;
    const auto wait_for_end = [&]() -> asio::awaitable<void> { ends.push_back(co_await client.closed()); };
    client.on_state([&](const link_change& change) {
        if (change.now != link_state::closed || ++again > 1) return;
        asio::co_spawn(f.world.executor(), client.connect(), [](const std::exception_ptr&) {});
    });
    f.refuse(1);
    f.world.latency = 1s;
    f.world.go([&]() -> asio::awaitable<void> { co_await client.connect(); });
    f.world.go(wait_for_end);
    f.world.run_for(10s);
    CHECK(f.world.failure() == std::errc::connection_refused);
    CHECK(client.state() == link_state::connected);
    REQUIRE(ends.size() == 1);
    CHECK(ends[0].error == std::errc::connection_refused);
}

TEST_CASE("closed() completes when the callback has returned") {
    fixture f;
    command_client client{f.world.executor(), "ws://server/ws", f.world.options()};
    bool told = false;
    bool was_told = false;
    client.on_state([&](const link_change& change) {
        if (change.now != link_state::closed) return;
        auto waiting = [&]() -> asio::awaitable<void> {
            (void)co_await client.closed();
            was_told = told;
        };
        auto kept = std::make_shared<decltype(waiting)>(std::move(waiting));
        asio::co_spawn(f.world.executor(), (*kept)(), [kept](const std::exception_ptr&) {});
        f.world.world().context().poll_one();
        f.world.world().context().poll_one();
        told = true;
    });
    f.begin(client);
    client.close();
    f.world.run_for(1s);
    CHECK(was_told);
}

TEST_CASE("with retry_first_connect the first connect goes on as later ones do") {
    fixture f;
    auto options = f.world.options();
    options.retry_first_connect = true;
    const auto client = f.make(options);
    f.refuse(2);
    f.begin(*client);
    CHECK_FALSE(client->try_send(command_id{1}, "kept"));
    f.world.run_for(1'400ms);
    CHECK(f.world.ended == 0);
    f.world.run_for(1s);
    CHECK(f.world.ended == 1);
    CHECK(f.world.failures.empty());
    CHECK(f.states.take() == lines{"connecting", "connecting in 500", "connecting in 1000", "connected"});
    CHECK(f.heard == lines{"kept"});
}

TEST_CASE("each attempt has connect_timeout, wherever it waits") {
    fixture f;
    const auto client = f.make(f.world.options());
    SUBCASE("in the transport") { f.world.latency = 1h; }
    SUBCASE("in the handshake") { f.world.served = false; }
    f.begin(*client);
    const auto took = f.world.world().time_until([&] { return f.world.ended == 1; });
    CHECK(took == 10s);
    CHECK(f.world.failure() == errc::timed_out);
}

TEST_CASE("close ends it at once in every phase without a connection") {
    fixture f;
    SUBCASE("while it connects") {
        f.world.latency = 1h;
        const auto client = f.make(f.world.options());
        f.begin(*client);
        client->close(close_code::normal, "never mind");
        f.world.settle();
        CHECK(f.states.take() == lines{"connecting", "closed 1000"});
        CHECK(f.world.failure() == errc::closed);
        CHECK(f.how_closed(*client) == "1000 never mind");
    }
    SUBCASE("in the opening handshake") {
        f.world.served = false;
        const auto client = f.make(f.world.options());
        f.begin(*client);
        client->close();
        f.world.settle();
        CHECK(client->state() == link_state::closed);
        CHECK(f.world.link().to_server().was_ended());
    }
    SUBCASE("during the backoff") {
        const auto client = f.open();
        f.refuse(100);
        f.world.link().reset();
        f.world.run_for(5s);
        CHECK_FALSE(client->try_send(command_id{1}, "kept in vain"));
        client->close();
        f.world.settle();
        CHECK(client->state() == link_state::closed);
        CHECK(client->stats().messages_dropped == 1);
        CHECK(client->stats().messages_queued == 0);
    }
    SUBCASE("during an attempt to reconnect") {
        const auto client = f.open();
        f.world.latency = 5s;
        f.world.link().reset();
        f.world.run_for(1s);
        client->close();
        f.world.settle();
        CHECK(client->state() == link_state::closed);
    }
    SUBCASE("during the hook: with a goodbye") {
        const auto client = f.open(f.world.options(), [](command_client& prepared) {
            prepared.on_reconnected([](fresh_link) -> asio::awaitable<void> { co_await pause_for(1h); });
        });
        f.world.link().reset();
        f.world.run_for(1s);
        CHECK_FALSE(client->try_send(command_id{1}, "kept in vain"));
        client->close(close_code::normal, "bye");
        f.world.run_for(10ms);
        CHECK(client->state() == link_state::closed);
        CHECK(f.heard.empty());
        CHECK(f.how_closed(*client) == "1000 bye");
    }
    SUBCASE("when connect is cancelled") {
        f.world.latency = 1h;
        const auto client = f.make(f.world.options());
        asio::cancellation_signal stop;
        std::exception_ptr failure;
        asio::co_spawn(f.world.executor(), client->connect(),
                       asio::bind_cancellation_slot(stop.slot(), [&](const std::exception_ptr& thrown) { failure = thrown; }));
        f.world.settle();
        stop.emit(asio::cancellation_type::terminal);
        f.world.settle();
        CHECK(failure != nullptr);
        CHECK(client->state() == link_state::closed);
    }
}

TEST_CASE("the reply of a handler does not go to another connection than the one that has asked") {
    fixture f;
    const auto client = f.open(f.world.options(), [](command_client& prepared) {
        prepared.rpc("slow", [](json) -> asio::awaitable<json> {
            co_await pause_for(5s);
            co_return json{"late"};
        });
        prepared.on(command_id{0x20}, [](client_message) -> asio::awaitable<std::optional<payload>> {
            co_await pause_for(5s);
            co_return payload{"late"};
        });
    });
    f.world.go([&]() -> asio::awaitable<void> { (void)co_await f.clients[0].call("slow"); });
    (void)f.clients[0].try_send(command_id{0x20}, "");
    f.world.run_for(1s);
    f.world.link().reset();
    f.world.run_for(10s);
    CHECK(client->state() == link_state::connected);
    CHECK(client->stats().messages_taken == 0);
    CHECK(client->stats().handlers_failed == 0);
}

TEST_CASE("a handler of a lost connection goes on, and is cancelled when the client is closed") {
    fixture f;
    lines ended;
    const auto client = f.open(f.world.options(), [&](command_client& prepared) {
        prepared.on(command_id{0x20}, [&](client_message) -> asio::awaitable<void> {
            try {
                co_await pause_for(1h);
            } catch (const std::system_error&) {
                ended.push_back("cancelled");
                throw;
            }
        });
    });
    (void)f.clients[0].try_send(command_id{0x20}, "");
    f.world.run_for(1s);
    f.world.link().reset();
    f.world.run_for(5s);
    CHECK(ended.empty());
    client->close();
    f.world.run_for(1s);
    CHECK(ended == lines{"cancelled"});
    CHECK(client->state() == link_state::closed);
    CHECK(client->stats().handlers_failed == 0);
}
