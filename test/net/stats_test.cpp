// server.stats(), GET /metrics and GET /ready: everything that is counted, and that it adds up.
#include <support/gate.hpp>
#include <support/metrics_parser.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/use_future.hpp>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

server_options options_with(auto change) {
    server_options options = quiet_options();
    change(options);
    return options;
}

std::string status_of(const std::string& response) { return response.substr(9, 3); }
std::string body_of(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }
std::uint16_t port_of_endpoint(const std::string& endpoint) {
    return static_cast<std::uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
}

/// WebSocket at the first listener, HTTP at the second one.
server_options with_metrics(server_options options = quiet_options()) {
    options.listen = {"ws://127.0.0.1:0/ws", "http://127.0.0.1:0"};
    options.metrics_path = "/metrics";
    return options;
}
metrics_page scrape(kephas::server& server) {
    const std::string response = http_get(port_of_endpoint(server.endpoints()[1]), "/metrics");
    REQUIRE(status_of(response) == "200");
    return metrics_page{body_of(response)};
}

/// The close counters as text: "peer 1000 2".
std::vector<std::string> lines(const std::vector<close_count>& closes) {
    std::vector<std::string> all;
    for (const close_count& each : closes) {
        static constexpr const char* names[] = {"peer", "server", "transport"};
        all.push_back(names[static_cast<unsigned>(each.initiator)] + std::string{" "} + each.code + " " + std::to_string(each.count));
    }
    return all;
}

/// Command 1 echoes, 2 waits, 3 fails, 4 refuses; under every policy with 10 times the policy added.
router every_ending(gate& held) {
    router routes;
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        const std::uint32_t base = static_cast<std::uint32_t>(policy) * 10;
        routes.on(command_id{base + 1}, policy, [](request req) -> reply { co_return payload{req.share()}; });
        routes.on(command_id{base + 2}, policy, [&held](request) -> reply {
            co_await held.wait();
            co_return payload{"done"};
        });
        routes.on(command_id{base + 3}, policy, [](request) -> reply {
            throw std::runtime_error{"broken"};
            co_return std::nullopt;
        });
        routes.on(command_id{base + 4}, policy, [](request) -> reply {
            throw request_error{"no"};
            co_return std::nullopt;
        });
    }
    return routes;
}

void check_sums(const server_stats& stats) {
    CHECK(stats.handlers_started == stats.handlers_running + stats.handlers_completed + stats.handlers_failed +
                                        stats.handlers_cancelled + stats.handlers_timed_out);
    std::uint64_t closes = 0;
    for (const close_count& each : stats.closes) closes += each.count;
    CHECK(closes == stats.closed);
}

}  // namespace

TEST_CASE("before it serves and after it has, a server tells what it counted") {
    kephas::server server{router{}, quiet_options()};
    server_stats stats = server.stats();
    CHECK(stats.uptime == duration::zero());
    CHECK_FALSE(stats.draining);
    CHECK(stats.accepted == 0);
    CHECK(stats.closes.empty());
    CHECK_NOTHROW(metrics_page{to_prometheus(stats)});
    server.listen();
    CHECK(server.stats().uptime == duration::zero());
    std::thread thread{[&] { server.run(); }};
    CHECK(status_of(http_get(server.port(), "/health")) == "200");
    stats = server.stats();
    CHECK(stats.uptime > duration::zero());
    CHECK(stats.accepted == 1);
    CHECK(stats.http_responses == std::array<std::uint64_t, 6>{0, 0, 1, 0, 0, 0});
    server.stop();
    thread.join();
    stats = server.stats();
    CHECK(stats.draining);
    CHECK(stats.accepted == 1);
    CHECK(stats.connections == 0);
    CHECK(stats.handshakes == 0);
}

TEST_CASE("handlers are counted by how they end, under every policy, and the counts add up") {
    gate held;
    running_server server{every_ending(held)};
    auto client = test_client::open(server.port());
    std::uint64_t rounds = 0;
    for (const std::uint32_t base : {0U, 10U, 20U}) {
        ++rounds;
        for (int i = 0; i < 5; ++i) {
            client.send_command(base + 1, "x");
            CHECK(client.read_command(base + 1) == "x");
        }
        client.send_command(base + 3, "");
        (void)client.read_command(0xFFFFFFFE);
        client.send_command(base + 4, "");
        (void)client.read_command(0xFFFFFFFE);
        CHECK(eventually([&] { return server->stats().handlers_running == 0; }));  // counted behind its reply
        const server_stats stats = server->stats();
        CHECK(stats.handlers_started == rounds * 7);
        CHECK(stats.handlers_completed == rounds * 6);
        CHECK(stats.handlers_failed == rounds);
        CHECK(stats.handlers_running == 0);
        CHECK(stats.handlers_queued == 0);
        CHECK(stats.messages_received == rounds * 7);
        check_sums(stats);
    }
}

TEST_CASE("handlers that run and messages that wait for theirs are told apart") {
    gate held;
    running_server server{every_ending(held)};
    auto client = test_client::open(server.port());
    for (int i = 0; i < 4; ++i) client.send_command(12, "");  // serial: one at a time
    REQUIRE(eventually([&] {  // three wait also before the fourth has come and the first has begun
        const server_stats stats = server->stats();
        return stats.handlers_queued == 3 && stats.handlers_running == 1;
    }));
    for (int i = 0; i < 2; ++i) client.send_command(2, "");
    REQUIRE(eventually([&] { return server->stats().handlers_running == 3; }));
    CHECK(server->stats().handlers_queued == 3);
    client.reset();
    CHECK(eventually([&] { return server->stats().closed == 1; }));
    const server_stats stats = server->stats();
    CHECK(stats.handlers_running == 0);
    CHECK(stats.handlers_queued == 0);
    CHECK(stats.handlers_cancelled == 6);
    check_sums(stats);
}

TEST_CASE("callbacks that fail are counted for themselves") {
    router routes;
    routes.on_connect([](client) -> asio::awaitable<void> {
        throw std::runtime_error{"broken"};
        co_return;
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    CHECK(client.read_close().code == 1011);
    client.close();
    CHECK(eventually([&] { return server->stats().closed == 1; }));
    const server_stats stats = server->stats();
    CHECK(stats.callbacks_failed == 1);
    CHECK(stats.handlers_started == 0);
    CHECK(stats.handlers_failed == 0);
    CHECK(lines(stats.closes) == std::vector<std::string>{"server 1011 1"});
}

TEST_CASE("closes are counted by who began them and by their code") {
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [](request req) -> reply {
        req.client().close(close_code{4321}, "bye");
        co_return std::nullopt;
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.rate_limit.burst = 3; })};
    const auto leave = [&](auto how) {
        const std::uint64_t before = server->stats().closed;
        auto client = test_client::open(server.port());
        how(client);
        client.close();
        CHECK(eventually([&] { return server->stats().closed == before + 1; }));
    };
    leave([](test_client& client) { client.send_close(1000), client.read_close(); });
    leave([](test_client& client) { client.send_close(1000), client.read_close(); });
    leave([](test_client& client) { client.send_close(3999), client.read_close(); });
    leave([](test_client& client) { client.send_frame(8, ""), client.read_close(); });
    leave([](test_client& client) { client.reset(); });
    leave([](test_client& client) { client.send_command(1, ""), client.read_close(); });
    leave([](test_client& client) { client.send_raw("\xFF\xFF"), client.read_close(); });
    leave([](test_client& client) {
        for (int i = 0; i < 4; ++i) client.send_command(9, "");
        CHECK(client.read_close().code == 1008);
    });
    const server_stats stats = server->stats();
    CHECK(lines(stats.closes) == std::vector<std::string>{"peer 1000 2", "peer 1005 1", "peer 3xxx 1", "server 1002 1", "server 1008 1",
                                                          "server 4xxx 1", "transport 1006 1"});
    CHECK(stats.rate_limited == 1);
    check_sums(stats);
}

TEST_CASE("a client that does not read is counted as a slow consumer") {
    router routes;
    running_server server{std::move(routes), options_with([](server_options& o) { o.linger_timeout = 50ms; })};
    test_client slow{server.port(), 4096};
    REQUIRE(status_of(slow.handshake()) == "101");
    REQUIRE(eventually([&] { return server->clients().size() == 1; }));
    while (server->clients().size() == 1) {
        auto sent = asio::io_context{};
        asio::co_spawn(sent, server->broadcast(command_id{1}, payload{std::string(100'000, 'x')}), asio::detached);
        sent.run();
    }
    slow.reset();
    CHECK(eventually([&] { return server->stats().slow_consumers == 1; }));
}

TEST_CASE("refusals are counted by their reason") {
    router routes;
    routes.authorize([](http::request request) -> asio::awaitable<authorization> {
        if (request.query("no")) co_return authorization::refuse(http::status_code::forbidden, "no\n");
        co_return authorization::accept();
    });
    running_server server{std::move(routes), options_with([](server_options& o) {
                              o.max_clients = 1;
                              o.handshake_timeout = 100ms;
                              o.connections.per_address = 3;
                          })};
    const auto status = [&](std::string_view target, std::string_view headers) {
        test_client client{server.port(), 0, "127.0.0.2"};
        const std::string head = client.handshake(target, headers);
        (void)client.read_to_end();
        return status_of(head);
    };
    CHECK(status("/ws", "Origin: http://evil.example\r\n") == "403");
    CHECK(status("/ws?no=1", "") == "403");
    CHECK(status("/ws", "Host: again\r\n") == "400");
    auto open = test_client::open(server.port());
    CHECK(status("/ws", "") == "503");
    {
        test_client silent{server.port(), 0, "127.0.0.3"};
        CHECK(silent.ends_cleanly());
    }
    std::deque<test_client> many;
    for (int i = 0; i < 5; ++i) many.emplace_back(server.port(), 0, "127.0.0.4");
    CHECK(eventually([&] { return server->stats().refused_for(refusal_reason::address_connections) == 2; }));
    const server_stats stats = server->stats();
    CHECK(stats.refused_for(refusal_reason::origin) == 1);
    CHECK(stats.refused_for(refusal_reason::unauthorized) == 1);
    CHECK(stats.refused_for(refusal_reason::malformed) == 1);
    CHECK(stats.refused_for(refusal_reason::clients) == 1);
    CHECK(stats.refused_for(refusal_reason::timed_out) >= 1);
    CHECK(stats.refused == 6);  // all but the timeouts
    CHECK(stats.http_responses[4] + stats.http_responses[5] == 6);
}

TEST_CASE("bytes and connections are those that the clients see") {
    gate held;
    running_server server{every_ending(held)};
    auto client = test_client::open(server.port());
    // It is registered before it gets the 101, and counted as opened behind it.
    REQUIRE(eventually([&] { return server->stats().opened == 1 && server->stats().handshakes == 0; }));
    const server_stats before = server->stats();
    CHECK(before.clients == 1);
    CHECK(before.connections == 1);
    client.send_command(1, std::string(100, 'x'));
    CHECK(client.read_command(1).size() == 100);
    const server_stats after = server->stats();
    CHECK(after.bytes_received - before.bytes_received == 2 + 4 + 4 + 100);  // header, mask, id, payload
    CHECK(eventually([&] { return server->stats().bytes_sent - before.bytes_sent == 2 + 4 + 100; }));
    test_client half{server.port()};
    half.send_raw("GET /ws HT");
    CHECK(eventually([&] { return server->stats().handshake_bytes == 10; }));
    CHECK(server->stats().handshakes == 1);
    CHECK(server->stats().connections == 2);
    half.close();
    CHECK(eventually([&] { return server->stats().connections == 1; }));
    CHECK(server->stats().handshake_bytes == 0);
}

TEST_CASE("calls of clients are counted until they have ended") {
    router routes;
    routes.on(command_id{1}, [](request req) -> reply {
        const json answer = co_await req.client().call("question", json{});
        co_return payload{"answered"};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    CHECK(client.read_text().find("question") != std::string::npos);
    CHECK(server->stats().calls_pending == 1);
    client.send_text(R"({"jsonrpc":"2.0","id":1,"result":42})");
    CHECK(client.read_command(1) == "answered");
    CHECK(server->stats().calls_pending == 0);
    CHECK(server->stats().calls_started == 1);
}

TEST_CASE("GET /metrics is what stats() tells, in the format of Prometheus") {
    gate held;
    running_server server{every_ending(held), with_metrics()};
    auto client = test_client::open(server.port());
    auto other = test_client::open(server.port());
    for (int i = 0; i < 3; ++i) {
        client.send_command(1, "x");
        CHECK(client.read_command(1) == "x");
    }
    client.send_command(3, "");
    (void)client.read_command(0xFFFFFFFE);
    client.send_command(2, "");
    REQUIRE(held.wait_for_waiting(1));
    other.send_close(1000);
    (void)other.read_close();
    other.close();
    REQUIRE(eventually([&] { return server->stats().closed == 1; }));

    const std::string response = http_get(port_of_endpoint(server->endpoints()[1]), "/metrics");
    CHECK(status_of(response) == "200");
    CHECK(response.find("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n") != std::string::npos);
    const metrics_page page{body_of(response)};
    for (const auto& [name, type] : page.types()) CHECK(name.starts_with("kephas_"));
    CHECK(page.types().size() >= 25);
    CHECK(page["kephas_clients"] == 1);
    CHECK(page["kephas_connections"] == 2);  // with this one
    CHECK(page["kephas_handshakes"] == 1);
    CHECK(page["kephas_connections_opened_total"] == 2);
    CHECK(page["kephas_connections_closed_total{initiator=\"peer\",code=\"1000\"}"] == 1);
    CHECK(page.sum("kephas_connections_closed_total") == 1);
    CHECK(page["kephas_connections_refused_total{reason=\"address_rate\"}"] == 0);
    CHECK(page["kephas_messages_received_total"] == 5);
    CHECK(page["kephas_handlers_started_total"] == 5);
    CHECK(page["kephas_handlers_running"] == 1);
    CHECK(page["kephas_handlers_ended_total{outcome=\"completed\"}"] == 3);
    CHECK(page["kephas_handlers_ended_total{outcome=\"failed\"}"] == 1);
    CHECK(page["kephas_uptime_seconds"] > 0);
    CHECK(page["kephas_outbox_messages_total{state=\"written\"}"] == 4);
    CHECK(page["kephas_outbox_messages_total{state=\"queued\"}"] == 4);
    CHECK(page["kephas_outbox_waiting_messages"] == 0);
    CHECK(page["kephas_draining"] == 0);
    CHECK(page["kephas_received_bytes_total"] > 5 * 10);
    const std::string head = http_request(port_of_endpoint(server->endpoints()[1]), "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(status_of(head) == "200");
    CHECK(body_of(head).empty());
    held.open();
    CHECK(client.read_command(2) == "done");
}

TEST_CASE("no counter of /metrics ever decreases, while clients come, fail and go") {
    gate held;
    running_server server{every_ending(held), with_metrics(options_with([](server_options& o) { o.io_threads = 2; }))};
    std::atomic<bool> done{false};
    std::vector<std::thread> crowd;
    for (int i = 0; i < 3; ++i) {
        crowd.emplace_back([&] {
            while (!done) {
                auto client = test_client::open(server.port());
                for (const std::uint32_t command : {1U, 11U, 21U, 3U, 14U}) client.send_command(command, "");
                for (int replies = 0; replies < 5; ++replies) (void)client.read_message();
                client.send_command(2, "");
            }
        });
    }
    metrics_page last = scrape(*server);
    for (int i = 0; i < 50; ++i) {
        const metrics_page next = scrape(*server);
        for (const auto& [series, value] : last.samples()) {
            const std::string metric = series.substr(0, series.find('{'));
            if (next.types().at(metric) != "counter") continue;
            CAPTURE(series);
            CHECK(next[series] >= value);
        }
        last = next;
    }
    done = true;
    for (auto& thread : crowd) thread.join();
    CHECK(eventually([&] { return server->stats().clients == 0 && server->stats().handlers_running == 0; }));
    check_sums(server->stats());
}

TEST_CASE("metrics are off by default, on http listeners only, and for their peers only") {
    {
        running_server server{router{}, options_with([](server_options& o) { o.listen = {"http://127.0.0.1:0"}; })};
        CHECK(status_of(http_get(server.port(), "/metrics")) == "404");
    }
    {
        running_server server{router{}, with_metrics()};
        CHECK(status_of(http_get(server.port(), "/metrics")) == "404");  // the WebSocket port may be public
        CHECK(status_of(http_get(port_of_endpoint(server->endpoints()[1]), "/metrics/")) == "404");
        CHECK(status_of(http_get(port_of_endpoint(server->endpoints()[1]), "/metrics?x=1")) == "200");
    }
    running_server server{router{}, options_with([](server_options& o) {
                              o.listen = {"http://127.0.0.1:0"};
                              o.metrics_path = "/internal/numbers";
                              o.metrics_from = {"127.0.0.2"};
                              o.trusted_proxies = {"127.0.0.3"};
                          })};
    const auto status = [&](const char* from, const std::string& headers) {
        test_client client{server.port(), 0, from};
        client.send_raw("GET /internal/numbers HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n");
        return status_of(client.read_to_end());
    };
    CHECK(status("127.0.0.1", "") == "404");
    CHECK(status("127.0.0.2", "") == "200");
    CHECK(status("127.0.0.1", "X-Forwarded-For: 127.0.0.2\r\n") == "404");
    CHECK(status("127.0.0.3", "X-Forwarded-For: 127.0.0.2\r\n") == "200");
    CHECK(status("127.0.0.3", "X-Forwarded-For: 203.0.113.9\r\n") == "404");
}

TEST_CASE("metrics options that make no sense are refused, and one that has no effect is told") {
    const auto make = [](auto change) { kephas::server server{router{}, options_with(change)}; };
    CHECK_THROWS_AS(make([](server_options& o) { o.metrics_path = "metrics"; }), std::invalid_argument);
    CHECK_THROWS_AS(make([](server_options& o) { o.metrics_from = {"everybody"}; }), std::invalid_argument);
    log_lines log;
    running_server server{router{}, options_with([&](server_options& o) {
                              o.metrics_path = "/metrics";
                              o.log = log.as_logger();
                          })};
    CHECK(log.wait_for("metrics_path is set"));
}

TEST_CASE("an embedded server counts and tells the same") {
    asio::io_context context;
    gate held;
    kephas::server server{context, every_ending(held), with_metrics()};
    server.listen();
    auto outcome = asio::co_spawn(context, server.serve(), asio::use_future);
    std::thread first{[&] { context.run(); }};
    std::thread second{[&] { context.run(); }};
    {
        auto client = test_client::open(server.port());
        for (const std::uint32_t base : {0U, 10U, 20U}) {
            client.send_command(base + 1, "x");
            CHECK(client.read_command(base + 1) == "x");
            client.send_command(base + 3, "");
            (void)client.read_command(0xFFFFFFFE);
        }
        const metrics_page page = scrape(server);
        CHECK(page["kephas_messages_received_total"] == 6);
        CHECK(page["kephas_handlers_ended_total{outcome=\"completed\"}"] == 3);
        CHECK(page["kephas_handlers_ended_total{outcome=\"failed\"}"] == 3);
        CHECK(page["kephas_clients"] == 1);
        check_sums(server.stats());
    }
    server.stop();
    first.join();
    second.join();
    outcome.get();
    CHECK(server.stats().clients == 0);
    CHECK(server.stats().connections == 0);
}

TEST_CASE("GET /ready is 503 when nobody else can be let in, and 200 again") {
    running_server server{router{}, options_with([](server_options& o) { o.max_clients = 1; })};
    CHECK(http_get(server.port(), "/ready").ends_with(R"({"status":"ready"})"));
    {
        const auto only = test_client::open(server.port());
        const std::string answer = http_get(server.port(), "/ready");
        CHECK(status_of(answer) == "503");
        CHECK(answer.ends_with(R"({"status":"full"})"));
        CHECK(status_of(http_get(server.port(), "/health")) == "200");
    }
    CHECK(eventually([&] { return status_of(http_get(server.port(), "/ready")) == "200"; }));
}

TEST_CASE("every metric that is written is documented, and nothing else") {
    const char* root = std::getenv("KEPHAS_SOURCE_ROOT");  // set by meson
    std::ifstream file{std::filesystem::path{root != nullptr ? root : "."} / "docs/running.md"};
    std::stringstream buffer;
    buffer << file.rdbuf();
    const std::string documentation = buffer.str();
    const metrics_page page{to_prometheus(server_stats{})};
    for (const auto& [name, type] : page.types()) {
        CAPTURE(name);
        CHECK(documentation.find("| `" + name + "` | " + type + " |") != std::string::npos);
    }
    std::size_t rows = 0;
    for (std::size_t at = 0; (at = documentation.find("| `kephas_", at)) != std::string::npos; ++at) ++rows;
    CHECK(rows == page.types().size());
}
