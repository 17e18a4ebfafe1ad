// How a server stops, alone and embedded: DESIGN.md 4a "Drain".
#include <support/gate.hpp>
#include <support/process.hpp>
#include <support/running_server.hpp>
#include <support/settled.hpp>
#include <support/test_client.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <future>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

reply echo(request req) { co_return payload{req.share()}; }

asio::awaitable<void> pause_for(std::chrono::milliseconds time) {
    asio::steady_timer timer{co_await asio::this_coro::executor, time};
    co_await timer.async_wait(asio::use_awaitable);
}

/// Answers the server's close frame, waits for the end of the stream in order, and closes as well.
bool hangs_up(test_client& client) {
    client.send_close(1001);
    const bool clean = client.ends_cleanly();
    client.close();
    return clean;
}

std::error_code failure_of(auto&& function) {
    try {
        function();
    } catch (const std::system_error& failure) {
        return failure.code();
    }
    return {};
}

std::string drain_program() {
    const char* path = std::getenv("KEPHAS_DRAIN_PROGRAM");  // set by meson
    return path != nullptr ? path : "test/net/drain-program";
}

router echo_routes() {
    router routes;
    routes.on(command_id{1}, echo);
    return routes;
}

router held_routes(gate& held, dispatch policy = dispatch::pool) {
    router routes;
    routes.on(command_id{1}, policy, [&held](request req) -> reply {
        co_await held.wait();
        co_return payload{req.share()};
    });
    routes.on(command_id{2}, policy, echo);
    return routes;
}

/// Whether nobody listens on that port any more: seen by binding it, which leaves no trace on the server.
bool not_listening(std::uint16_t port) {
    asio::io_context context;
    asio::ip::tcp::acceptor probe{context};
    const asio::ip::tcp::endpoint address{asio::ip::address_v4::loopback(), port};
    std::error_code ec;
    probe.open(address.protocol());
    probe.set_option(asio::socket_base::reuse_address{true});
    probe.bind(address, ec);
    return !ec;
}

bool refuses_connections(std::uint16_t port) {
    try {
        const test_client client{port};
        return false;
    } catch (const std::system_error& failure) {
        return failure.code() == std::errc::connection_refused;
    }
}

/// A context that some threads run until it has no work left.
class threads {
public:
    threads(asio::io_context& context, unsigned count) : context_{context} {
        for (unsigned i = 0; i < count; ++i) {
            ended_.push_back(std::async(std::launch::async, [&context] { context.run(); }));
        }
    }
    threads(const threads&) = delete;
    threads& operator=(const threads&) = delete;
    ~threads() { context_.stop(); }  // in case that a test has failed

    /// Whether `run()` has returned by itself on every thread within ten seconds.
    bool have_ended() {
        for (auto& each : ended_) {
            if (each.valid() && each.wait_for(10s) != std::future_status::ready) return false;
        }
        for (auto& each : ended_) {
            if (each.valid()) each.get();
        }
        return true;
    }

private:
    asio::io_context& context_;
    std::vector<std::future<void>> ended_;
};

}  // namespace

TEST_CASE("a handler that awaits a call's result gets it while the server drains") {
    router routes;
    routes.on(command_id{1}, [](request req) -> reply {
        const json answer = co_await req.client().call("ask");
        co_return payload{write_json(answer)};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_text() == R"({"jsonrpc":"2.0","method":"ask","id":1})");
    server->stop();
    REQUIRE(eventually([&] {  // the listener closes when the drain begins
        try {
            test_client{server.port() != 0 ? server.port() : std::uint16_t{1}};
            return false;
        } catch (const std::system_error&) {
            return true;
        }
    }));
    client.send_text(R"({"jsonrpc":"2.0","result":"yes","id":1})");
    CHECK(client.read_command(1) == R"("yes")");
    CHECK(client.read_close().code == 1001);
    CHECK(hangs_up(client));
    const drain_report report = server.wait();  // the connections that looked for the listener count as well
    CHECK(report.cancelled == 0);
    CHECK(report.cut == 0);
}

TEST_CASE("stop() closes every client with 1001 and returns a report") {
    server_options options = quiet_options();
    options.io_threads = 2;
    running_server server{echo_routes(), options};
    std::vector<test_client> clients;
    for (int i = 0; i < 10; ++i) {
        clients.push_back(test_client::open(server.port()));
        clients.back().send_command(1, "x");
        CHECK(clients.back().read_command(1) == "x");
    }
    auto stopped = std::async(std::launch::async, [&] { return server.stop(); });
    for (auto& client : clients) {
        CHECK(client.read_close() == received_close{1001, ""});
        CHECK(hangs_up(client));
    }
    CHECK(stopped.get() == drain_report{10, 0, 0});
    CHECK(server->clients().size() == 0);
    CHECK(refuses_connections(server.port()));
}

TEST_CASE("a drain's close code can be chosen") {
    server_options options = quiet_options();
    options.drain.code = close_code::service_restart;
    running_server server{echo_routes(), options};
    auto client = test_client::open(server.port());
    (*server).stop();
    CHECK(client.read_close().code == 1012);
    client.close();
    CHECK(server.wait().left_in_time == 1);
}

TEST_CASE("handlers that run when the drain begins finish first, and their replies arrive") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        gate held;
        server_options options = quiet_options();
        options.rate_limit = no_rate_limit();
        running_server server{held_routes(held, policy), options};
        auto client = test_client::open(server.port());
        client.send_command(1, "worth waiting for");
        REQUIRE(held.wait_for_waiting(1));
        (*server).stop();
        REQUIRE(eventually([&] { return not_listening(server.port()); }));
        std::size_t sent = 0;
        REQUIRE(eventually([&] {  // once the client has been told to leave, what comes is counted, not dispatched
            client.send_command(2, "more");
            ++sent;
            return server->stats().messages_discarded > 0;
        }));
        REQUIRE(eventually([&] {
            const server_stats stats = server->stats();
            return stats.messages_received + stats.messages_discarded == 1 + sent;
        }));
        sent -= server->stats().messages_discarded;
        held.open();
        std::vector<std::string> replies;
        for (std::size_t i = 0; i < 1 + sent; ++i) replies.push_back(client.read_message().value().payload);
        CHECK(std::ranges::count(replies, test_client::command(1, "worth waiting for")) == 1);
        CHECK(std::ranges::count(replies, test_client::command(2, "more")) == static_cast<std::ptrdiff_t>(sent));
        CHECK(client.read_close() == received_close{1001, ""});
        CHECK(hangs_up(client));
        CHECK(server.wait() == drain_report{1, 0, 0});
    }
}

TEST_CASE("a drain waits for a client whose socket is not read because its handlers hold it up") {
    gate held;
    server_options options = quiet_options();
    options.in_flight.messages = 2;
    running_server server{held_routes(held), options};
    auto client = test_client::open(server.port());
    for (int i = 0; i < 5; ++i) client.send_command(1, "x");
    REQUIRE(held.wait_for_waiting(2));
    (*server).stop();
    REQUIRE(eventually([&] { return not_listening(server.port()); }));
    held.open();
    CHECK(client.read_command(1) == "x");
    CHECK(client.read_command(1) == "x");
    CHECK(client.read_close().code == 1001);
    client.close();
    CHECK(server.wait() == drain_report{1, 0, 0});
}

TEST_CASE("at the deadline of the drain handlers are cancelled, and the client is still told") {
    gate held;
    server_options options = quiet_options();
    options.drain.deadline = 100ms;
    running_server server{held_routes(held), options};
    auto client = test_client::open(server.port());
    auto idle = test_client::open(server.port());
    client.send_command(1, "");
    REQUIRE(held.wait_for_waiting(1));
    auto stopped = std::async(std::launch::async, [&] { return server.stop(); });
    CHECK(idle.read_close().code == 1001);
    CHECK(hangs_up(idle));
    CHECK(client.read_close() == received_close{1001, ""});
    CHECK(hangs_up(client));
    CHECK(stopped.get() == drain_report{1, 1, 0});
    CHECK(server->stats().handlers_cancelled == 1);
}

TEST_CASE("a client that does not answer the close is cut after the grace") {
    server_options options = quiet_options();
    options.drain.deadline = 100ms;
    options.drain.grace = 100ms;
    running_server server{echo_routes(), options};
    auto deaf = test_client::open(server.port());
    deaf.send_command(1, "x");
    CHECK(deaf.read_command(1) == "x");
    CHECK(server.stop() == drain_report{0, 1, 1});
    CHECK(deaf.read_close().code == 1001);
}

TEST_CASE("a client that does not read at all is cut too") {
    gate held;
    router routes;
    routes.on(command_id{1}, [](request req) -> reply {
        while (req.client().try_send(command_id{2}, payload{std::string(100'000, 'x')}) == send_status::queued) {
        }
        co_return std::nullopt;
    });
    server_options options = quiet_options();
    options.drain.deadline = 100ms;
    options.drain.grace = 100ms;
    running_server server{std::move(routes), options};
    test_client deaf{server.port(), 4096};
    REQUIRE(deaf.handshake().starts_with("HTTP/1.1 101"));
    deaf.send_command(1, "");
    REQUIRE(eventually([&] { return server->stats().handlers_started == 1; }));
    CHECK(server.stop() == drain_report{0, 1, 1});
}

TEST_CASE("a second stop() cuts the drain short") {
    gate held;
    server_options options = quiet_options();
    options.drain.deadline = 60s;
    options.drain.grace = 60s;
    running_server server{held_routes(held), options};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    REQUIRE(held.wait_for_waiting(1));
    (*server).stop();
    REQUIRE(eventually([&] { return not_listening(server.port()); }));
    CHECK(held.waiting() == 1);
    const auto before = std::chrono::steady_clock::now();
    CHECK(server.stop() == drain_report{0, 1, 1});
    CHECK(std::chrono::steady_clock::now() - before < 5s);
    CHECK(held.waiting() == 0);
}

TEST_CASE("a draining server answers unfinished handshakes with 503") {
    gate held;
    gate deciding;
    router routes = held_routes(held);
    routes.authorize([&](http::request request) -> asio::awaitable<authorization> {
        if (request.query("wait")) co_await deciding.wait();
        co_return authorization::accept();
    });
    running_server server{std::move(routes)};
    auto busy = test_client::open(server.port());
    busy.send_command(1, "");
    REQUIRE(held.wait_for_waiting(1));
    test_client silent{server.port()};
    test_client half{server.port()};
    half.send_raw("GET /ws HTTP/1.1\r\nHost: loc");
    test_client undecided{server.port()};
    undecided.send_raw("GET /ws?wait=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    REQUIRE(deciding.wait_for_waiting(1));
    REQUIRE(eventually([&] { return server->stats().accepted == 4; }));
    (*server).stop();
    CHECK(silent.read_to_end().starts_with("HTTP/1.1 503 "));
    CHECK(half.read_to_end().starts_with("HTTP/1.1 503 "));
    CHECK(undecided.read_head().starts_with("HTTP/1.1 503 "));
    deciding.open();
    held.open();
    CHECK(busy.read_command(1).empty());
    busy.close();
    server.wait();
}

TEST_CASE("an authorize that never decides does not hold up the end of a drain") {
    gate deciding;
    router routes;
    routes.authorize([&](http::request) -> asio::awaitable<authorization> {
        co_await deciding.wait();
        co_return authorization::accept();
    });
    server_options options = quiet_options();
    options.drain.deadline = 50ms;
    options.drain.grace = 50ms;
    running_server server{std::move(routes), options};
    test_client undecided{server.port()};
    undecided.send_raw("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    REQUIRE(deciding.wait_for_waiting(1));
    auto stopped = std::async(std::launch::async, [&] { return server.stop(); });
    const bool ended = stopped.wait_for(10s) == std::future_status::ready;
    CHECK(ended);
    deciding.open();
    stopped.get();
}

TEST_CASE("clients are told to leave in batches") {
    server_options options = quiet_options();
    options.drain.batch = 4;
    options.drain.batch_interval = 100ms;
    options.drain.jitter = 0;
    running_server server{echo_routes(), options};
    std::vector<test_client> clients;
    for (int i = 0; i < 12; ++i) clients.push_back(test_client::open(server.port()));
    REQUIRE(eventually([&] { return server->clients().size() == 12; }));
    const auto begin = std::chrono::steady_clock::now();
    auto stopped = std::async(std::launch::async, [&] { return server.stop(); });
    std::vector<std::future<void>> peers;
    for (auto& client : clients) {
        peers.push_back(std::async(std::launch::async, [&client] {
            CHECK(client.read_close().code == 1001);
            CHECK(hangs_up(client));
        }));
    }
    for (auto& peer : peers) peer.get();
    CHECK(stopped.get() == drain_report{12, 0, 0});
    CHECK(std::chrono::steady_clock::now() - begin >= 200ms);  // three batches, two intervals
}

TEST_CASE("stop() before run() drains at once, and run() twice is an error") {
    kephas::server server{echo_routes(), quiet_options()};
    server.stop();
    CHECK(server.run() == drain_report{});
    CHECK(failure_of([&] { server.run(); }) == errc::already_running);
}

TEST_CASE("run() and serve() belong to one kind of server each") {
    asio::io_context context;
    kephas::server embedded{context, echo_routes(), quiet_options()};
    CHECK_THROWS_AS(embedded.run(), std::logic_error);
    kephas::server owned{echo_routes(), quiet_options()};
    bool refused = false;
    const auto serve = [&]() -> asio::awaitable<void> {
        try {
            (void)co_await owned.serve();
        } catch (const std::logic_error&) {
            refused = true;
        }
    };
    asio::co_spawn(context, serve(), asio::detached);
    context.run();
    CHECK(refused);
}

TEST_CASE("exceptions from listening come out of run() and serve()") {
    running_server first{echo_routes()};
    server_options options = quiet_options();
    options.listen = {"ws://127.0.0.1:" + std::to_string(first.port()) + "/ws"};
    {
        kephas::server second{echo_routes(), options};
        CHECK(failure_of([&] { second.run(); }) == errc::address_in_use);
    }
    {
        asio::io_context context;
        kephas::server second{context, echo_routes(), options};
        auto outcome = start_on(context, second.serve());
        context.run();
        CHECK(failure_of([&] { outcome.get(); }) == errc::address_in_use);
    }
    options.listen = {"nonsense"};
    kephas::server third{echo_routes(), options};
    CHECK(failure_of([&] { third.run(); }) == errc::invalid_address);
}

TEST_CASE("a server whose listening failed can be started once the address is free") {
    auto first = std::make_unique<running_server>(echo_routes());
    server_options options = quiet_options();
    options.listen = {"ws://127.0.0.1:" + std::to_string(first->port()) + "/ws"};
    kephas::server owned{echo_routes(), options};
    asio::io_context context;
    kephas::server embedded{context, echo_routes(), options};
    const auto serve = [&] {
        auto outcome = start_on(context, embedded.serve());
        context.restart();
        context.run();
        return outcome.get();
    };
    for (int attempt = 0; attempt < 2; ++attempt) {
        CHECK(failure_of([&] { owned.run(); }) == errc::address_in_use);
        CHECK(failure_of(serve) == errc::address_in_use);
    }
    first.reset();
    owned.stop();
    CHECK(owned.run() == drain_report{});
    embedded.stop();
    CHECK(serve() == drain_report{});
    CHECK(failure_of([&] { owned.run(); }) == errc::already_running);
    CHECK(failure_of(serve) == errc::already_running);
}

TEST_CASE("a server may be destroyed without ever having served") {
    { const kephas::server server{echo_routes(), quiet_options()}; }
    {
        kephas::server server{echo_routes(), quiet_options()};
        server.listen();
        CHECK(server.port() != 0);
        const test_client waiting{server.port()};  // in the kernel's queue
    }
    asio::io_context context;
    {
        kephas::server server{context, echo_routes(), quiet_options()};
        server.listen();
        CHECK(server.port() != 0);
    }
    CHECK(context.run() == 0);
}

TEST_CASE("two servers in one process do not disturb each other") {
    running_server one{echo_routes()};
    running_server two{echo_routes()};
    auto first = test_client::open(one.port());
    auto second = test_client::open(two.port());
    CHECK(eventually([&] { return one->clients().size() == 1 && two->clients().size() == 1; }));
    (*one).stop();
    CHECK(first.read_close().code == 1001);
    first.close();
    one.wait();
    second.send_command(1, "alive");
    CHECK(second.read_command(1) == "alive");
}

TEST_CASE("SIGTERM and SIGINT end a process with a report and exit code 0") {
    for (const int number : {SIGTERM, SIGINT}) {
        process child{{drain_program()}};
        const std::string line = child.read_line();
        REQUIRE(line.starts_with("port "));
        auto client = test_client::open(static_cast<std::uint16_t>(std::stoul(line.substr(5))));
        client.send_command(1, "x");
        CHECK(client.read_command(1) == "x");
        child.send_signal(number);
        CHECK(client.read_close().code == 1001);
        CHECK(hangs_up(client));
        CHECK(child.read_line() == "Shutting down gracefully... (signal " + std::to_string(number) + ")");
        CHECK(child.read_line() == "Server stopped: 1 clients left in time, 0 were cancelled, 0 cut");
        CHECK(child.wait() == 0);
    }
}

TEST_CASE("a second signal cuts the drain of a process short") {
    process child{{drain_program()}};
    const std::string line = child.read_line();
    REQUIRE(line.starts_with("port "));
    auto client = test_client::open(static_cast<std::uint16_t>(std::stoul(line.substr(5))));
    client.send_command(2, "");  // never answered
    client.send_command(1, "x");
    CHECK(client.read_command(1) == "x");
    child.send_signal(SIGTERM);
    CHECK(child.read_line().starts_with("Shutting down gracefully..."));
    child.send_signal(SIGTERM);
    CHECK(child.read_line().starts_with("Shutting down gracefully..."));
    CHECK(child.read_line() == "Server stopped: 0 clients left in time, 1 were cancelled, 1 cut");
    CHECK(child.wait() == 0);
}

TEST_CASE("embedded: serve() on a context that one or four threads run, ended by stop()") {
    for (const unsigned count : {1U, 4U}) {
        asio::io_context context{static_cast<int>(count)};
        kephas::server server{context, echo_routes(), quiet_options()};
        server.listen();
        auto outcome = start_on(context, server.serve());
        threads running{context, count};
        std::vector<test_client> clients;
        for (int i = 0; i < 8; ++i) clients.push_back(test_client::open(server.port()));
        for (int round = 0; round < 20; ++round) {
            for (auto& client : clients) client.send_command(1, std::string(static_cast<std::size_t>(round) * 500, 'e'));
            for (auto& client : clients) {
                CHECK(client.read_command(1) == std::string(static_cast<std::size_t>(round) * 500, 'e'));
            }
        }
        server.stop();
        for (auto& client : clients) {
            CHECK(client.read_close().code == 1001);
            CHECK(hangs_up(client));
        }
        CHECK(outcome.get() == drain_report{8, 0, 0});
        CHECK(running.have_ended());  // nothing of the server is left on the context
        CHECK(refuses_connections(server.port()));
    }
}

TEST_CASE("embedded: cancelling serve() means a drain, with any type of cancellation") {
    for (const auto type : {asio::cancellation_type::total, asio::cancellation_type::partial, asio::cancellation_type::terminal}) {
        for (const unsigned count : {1U, 4U}) {
            gate held;
            asio::io_context context;
            auto strand = asio::make_strand(context);
            kephas::server server{context, held_routes(held), quiet_options()};
            server.listen();
            asio::cancellation_signal signal;
            std::promise<drain_report> outcome;
            asio::co_spawn(strand, server.serve(),
                           asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr failure, drain_report report) {
                               if (failure) outcome.set_exception(failure);
                               else outcome.set_value(report);
                           }));
            threads running{context, count};
            auto client = test_client::open(server.port());
            client.send_command(1, "finish me");
            REQUIRE(held.wait_for_waiting(1));
            asio::post(strand, [&] { signal.emit(type); });
            REQUIRE(eventually([&] { return not_listening(server.port()); }));
            held.open();
            CHECK(client.read_command(1) == "finish me");
            CHECK(client.read_close().code == 1001);
            CHECK(hangs_up(client));
            CHECK(outcome.get_future().get() == drain_report{1, 0, 0});
            CHECK(running.have_ended());
        }
    }
}

TEST_CASE("embedded: cancelling serve() a second time cuts the drain short, also between two batches") {
    for (const std::size_t batch : {1U, 1000U}) {
        gate held;
        asio::io_context context;
        auto strand = asio::make_strand(context);
        server_options options = quiet_options();
        options.drain.deadline = 60s;
        options.drain.grace = 60s;
        options.drain.batch = batch;
        options.drain.batch_interval = 30s;
        kephas::server server{context, held_routes(held), options};
        server.listen();
        asio::cancellation_signal signal;
        std::promise<drain_report> outcome;
        asio::co_spawn(strand, server.serve(),
                       asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr failure, drain_report report) {
                           if (failure) outcome.set_exception(failure);
                           else outcome.set_value(report);
                       }));
        threads running{context, 2};
        std::vector<test_client> clients;
        for (int i = 0; i < 3; ++i) {
            clients.push_back(test_client::open(server.port()));
            clients.back().send_command(1, "");
        }
        REQUIRE(held.wait_for_waiting(3));
        asio::post(strand, [&] { signal.emit(asio::cancellation_type::total); });
        REQUIRE(eventually([&] { return not_listening(server.port()); }));
        asio::post(strand, [&] { signal.emit(asio::cancellation_type::total); });
        auto report = outcome.get_future();
        REQUIRE(report.wait_for(10s) == std::future_status::ready);
        CHECK(report.get() == drain_report{0, 3, 3});
        CHECK(running.have_ended());
        CHECK(held.waiting() == 0);
    }
}

TEST_CASE("embedded: a serve() that is cancelled before it has begun serves nobody") {
    asio::io_context context;
    kephas::server server{context, echo_routes(), quiet_options()};
    asio::cancellation_signal signal;
    bool completed = false;
    asio::co_spawn(context, server.serve(),
                   asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr, drain_report) { completed = true; }));
    signal.emit(asio::cancellation_type::terminal);
    context.run();
    CHECK(completed);
    CHECK(server.port() == 0);
}

TEST_CASE("embedded: serve() twice is an error") {
    asio::io_context context;
    kephas::server server{context, echo_routes(), quiet_options()};
    auto first = start_on(context, server.serve());
    auto second = start_on(context, server.serve());
    server.stop();
    context.run();
    CHECK(first.get() == drain_report{});
    CHECK(failure_of([&] { second.get(); }) == errc::already_running);
}

TEST_CASE("embedded: handlers run on the program's executor, and the program's coroutines go on beside them") {
    asio::io_context context;
    std::atomic<bool> elsewhere{false};
    const auto here = std::this_thread::get_id();
    router routes;
    routes.on(command_id{1}, [&](request req) -> reply {
        if (std::this_thread::get_id() != here) elsewhere = true;
        co_await pause_for(1ms);
        co_return payload{req.share()};
    });
    kephas::server server{context, std::move(routes), quiet_options()};
    server.listen();
    auto outcome = asio::co_spawn(
        context,
        [](kephas::server& served) -> asio::awaitable<int> {
            const drain_report report = co_await served.serve();
            co_await pause_for(1ms);  // what the program does after the drain is not cancelled
            co_return static_cast<int>(report.left_in_time);
        }(server),
        asio::use_future);
    auto peer = std::async(std::launch::async, [&] {
        auto client = test_client::open(server.port());
        client.send_command(1, "x");
        CHECK(client.read_command(1) == "x");
        server.stop();
        CHECK(client.read_close().code == 1001);
        CHECK(hangs_up(client));
    });
    context.run();
    peer.get();
    CHECK(outcome.get() == 1);
    CHECK_FALSE(elsewhere);
}

TEST_CASE("embedded: attach() takes a connection that the program accepted") {
    asio::io_context context;
    server_options options = quiet_options();
    options.listen = {};
    kephas::server server{context, echo_routes(), options};
    asio::ip::tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    const std::uint16_t port = acceptor.local_endpoint().port();
    auto outcome = start_on(context, server.serve());
    acceptor.async_accept([&](std::error_code ec, asio::ip::tcp::socket socket) {
        REQUIRE_FALSE(ec);
        server.attach(std::move(socket));
    });
    threads running{context, 2};
    auto client = test_client::open(port);
    client.send_command(1, "attached");
    CHECK(client.read_command(1) == "attached");
    REQUIRE(eventually([&] { return server.clients().size() == 1; }));
    CHECK(server.clients().all().front().remote_address().starts_with("127.0.0.1:"));
    server.stop();
    CHECK(client.read_close().code == 1001);
    CHECK(hangs_up(client));
    CHECK(outcome.get() == drain_report{1, 0, 0});
    CHECK(running.have_ended());
}

TEST_CASE("embedded: a handle that waits for the end of its client does not keep the context at work") {
    asio::io_context context;
    gate connected;
    client who;
    router routes;
    routes.on_connect([&](client fresh) -> asio::awaitable<void> {
        who = fresh;
        co_await connected.wait();
    });
    connected.open();
    kephas::server server{context, std::move(routes), quiet_options()};
    server.listen();
    auto outcome = start_on(context, server.serve());
    threads running{context, 2};
    auto peer = test_client::open(server.port());
    REQUIRE(connected.wait_for_arrivals(1));
    auto closed = start_on(context, who.closed());
    server.stop();
    CHECK(peer.read_close().code == 1001);
    CHECK(hangs_up(peer));
    CHECK(closed.get().code == close_code::going_away);
    CHECK(outcome.get().left_in_time == 1);
    CHECK(running.have_ended());
}
