// What each listener and each connection has carried, and the id by which lines of the log belong together.
#include <support/command_peer.hpp>
#include <support/metrics_parser.hpp>
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

/// Command 1 echoes on the strand and 2 in the pool, 3 tells the client's own numbers, 4 broadcasts.
router echo_routes() {
    router all;
    all.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
    all.on(command_id{2}, dispatch::pool, [](request req) -> reply { co_return payload{req.share()}; });
    all.on(command_id{3}, dispatch::on_strand, [](request req) -> reply {
        const traffic now = req.client().stats().traffic;
        co_return payload{std::to_string(now.messages_received) + " in, " + std::to_string(now.messages_sent) + " out"};
    });
    all.on(command_id{4}, dispatch::on_strand, [](request req) -> reply {
        co_await req.client().clients().broadcast(command_id{9}, payload{"news"});
        co_return std::nullopt;
    });
    return all;
}

std::uint16_t port_of_listener(const server_stats& stats, std::size_t i) {
    const std::string& url = stats.listeners.at(i).url;
    const std::size_t colon = url.find(':', url.find("://") + 3);
    return static_cast<std::uint16_t>(std::stoul(url.substr(colon + 1)));
}

server_options two_listeners() {
    server_options options = quiet_options();
    options.listen = {"ws://127.0.0.1:0/ws", "ws://127.0.0.1:0/other", "http://127.0.0.1:0"};
    options.metrics_path = "/metrics";
    options.metrics_connections = 2;
    return options;
}

}  // namespace

TEST_CASE("each connection counts its own bytes and messages, whichever way they leave") {
    running_server server{echo_routes()};
    auto one = test_client::open(server.port());
    auto other = test_client::open(server.port());
    for (int i = 0; i < 3; ++i) {
        one.send_command(1, "abc");
        CHECK(one.read_command(1) == "abc");
        one.send_command(2, std::string(5000, 'x'));
        CHECK(one.read_command(2).size() == 5000);
    }
    one.send_command(4, "");
    CHECK(one.read_command(9) == "news");
    CHECK(other.read_command(9) == "news");
    one.send_command(3, "");
    CHECK(one.read_command(3) == "8 in, 7 out");

    const auto find = [&](std::uint64_t received) {
        const std::vector<connection_stats> all = server->connections();
        const auto found = std::ranges::find_if(all, [&](const connection_stats& each) { return each.traffic.messages_received == received; });
        return found == all.end() ? connection_stats{} : *found;
    };
    REQUIRE(eventually([&] { return find(8).traffic.messages_sent == 8 && find(0).traffic.messages_sent == 1; }));
    CHECK(server->connections().size() == 2);
    const connection_stats busy = find(8);
    // 3 small frames, 3 that need two more bytes for their size, the empty 4 and 3; each with its mask and its id
    CHECK(busy.traffic.bytes_received == 3 * (2 + 4 + 4 + 3) + 3 * (4 + 4 + 4 + 5000) + 2 * (2 + 4 + 4));
    CHECK(busy.traffic.bytes_sent == 3 * (2 + 4 + 3) + 3 * (4 + 4 + 5000) + (2 + 4 + 4) + (2 + 4 + 11));
    CHECK(busy.remote_address.starts_with("127.0.0.1:"));
    CHECK(busy.listener == server->stats().listeners.at(0).url);
    CHECK(busy.age > duration::zero());
    const traffic_rates average = busy.rates();
    CHECK(average.messages_received > 0);
    CHECK(average.bytes_sent > average.bytes_received / 2);
    CHECK(find(0).traffic == traffic{0, 2 + 4 + 4, 0, 1});
}

TEST_CASE("each listener counts its clients, and keeps what those did that have left") {
    running_server server{echo_routes(), two_listeners()};
    server_stats stats = server->stats();
    REQUIRE(stats.listeners.size() == 3);
    CHECK(stats.listeners[0].url.ends_with("/ws"));
    CHECK(stats.listeners[1].url.ends_with("/other"));
    CHECK(stats.listeners[2].url.starts_with("http://"));
    const std::uint16_t first = port_of_listener(stats, 0);
    const std::uint16_t second = port_of_listener(stats, 1);
    {
        auto a = test_client::open(first);
        auto b = test_client::open(second, "/other");
        auto c = test_client::open(second, "/other");
        for (auto* each : {&a, &b, &c, &c}) {
            each->send_command(1, "12345");
            CHECK(each->read_command(1) == "12345");
        }
        REQUIRE(eventually([&] { return server->stats().traffic().messages_sent == 4; }));
        stats = server->stats();
        CHECK(stats.listeners[0].clients == 1);
        CHECK(stats.listeners[1].clients == 2);
        CHECK(stats.listeners[0].accepted == 1);
        CHECK(stats.listeners[1].accepted == 2);
        CHECK(stats.listeners[0].traffic == traffic{15, 11, 1, 1});
        CHECK(stats.listeners[1].traffic == traffic{45, 33, 3, 3});
        for (auto* each : {&a, &b, &c}) each->send_close(1000);
        REQUIRE(eventually([&] { return server->clients().size() == 0; }));
    }
    REQUIRE(eventually([&] { return server->stats().closed == 3; }));
    const server_stats after = server->stats();
    CHECK(after.listeners[0].clients == 0);
    CHECK(after.listeners[1].clients == 0);
    CHECK(after.listeners[1].traffic.messages_received == 3);
    CHECK(after.listeners[1].traffic.messages_sent == 3);
    CHECK(after.listeners[1].traffic.bytes_received == 45 + 2 * (2 + 4 + 2));  // with their close frames
    CHECK(after.traffic().messages_received == after.messages_received);
    CHECK(after.listeners[2].traffic == traffic{});
}

TEST_CASE("rates are those between two looks") {
    running_server server{echo_routes()};
    auto client = test_client::open(server.port());
    const server_stats before = server->stats();
    for (int i = 0; i < 10; ++i) {
        client.send_command(1, "x");
        CHECK(client.read_command(1) == "x");
    }
    REQUIRE(eventually([&] { return server->stats().traffic().messages_sent == 10; }));
    const server_stats after = server->stats();
    const traffic_rates rates = rates_between(before, after);
    const double seconds = std::chrono::duration<double>{after.uptime - before.uptime}.count();
    CHECK(rates.messages_received == doctest::Approx(10 / seconds));
    CHECK(rates.bytes_sent == doctest::Approx(10 * 7 / seconds));
    CHECK(rates_between(after, before) == traffic_rates{});
    CHECK(rates_between(traffic{}, traffic{1, 2, 3, 4}, duration::zero()) == traffic_rates{});
    CHECK(rates_between(traffic{1, 1, 1, 1}, traffic{3, 5, 7, 9}, 2s) == traffic_rates{1, 2, 3, 4});
}

TEST_CASE("GET /metrics tells of each listener, and of the busiest connections if it is asked to") {
    running_server server{echo_routes(), two_listeners()};
    const server_stats stats = server->stats();
    const std::uint16_t port = port_of_listener(stats, 0);
    std::vector<test_client> clients;
    for (int i = 0; i < 3; ++i) clients.push_back(test_client::open(port));
    for (int i = 0; i < 3; ++i) {
        for (int n = 0; n <= i; ++n) {
            clients[static_cast<std::size_t>(i)].send_command(1, "x");
            CHECK(clients[static_cast<std::size_t>(i)].read_command(1) == "x");
        }
    }
    REQUIRE(eventually([&] { return server->stats().traffic().messages_sent == 6; }));
    const std::string response = http_get(port_of_listener(stats, 2), "/metrics");
    const std::string text = response.substr(response.find("\r\n\r\n") + 4);
    const metrics_page page{text};
    const std::string label = "{listener=\"" + stats.listeners[0].url + "\"}";
    CHECK(page["kephas_listener_clients" + label] == 3);
    CHECK(page["kephas_listener_accepted_total" + label] == 3);
    CHECK(page["kephas_listener_received_messages_total" + label] == 6);
    CHECK(page["kephas_listener_sent_messages_total" + label] == 6);
    CHECK(page["kephas_listener_received_bytes_total" + label] == 6 * 11);
    CHECK(page["kephas_listener_sent_bytes_total" + label] == 6 * 7);
    CHECK(page.sum("kephas_connection_received_messages_total") == 5);  // the two busiest of three
    CHECK(page.sum("kephas_connection_sent_bytes_total") == 5 * 7);
    CHECK(page.types().contains("kephas_connection_age_seconds"));
    for (const connection_stats& each : server->connections()) {
        const bool busy = each.traffic.messages_received > 1;
        CHECK((text.find("client_id=\"" + each.id.to_string() + "\",remote_addr=\"" + each.remote_address + "\"") != std::string::npos) == busy);
    }
}

TEST_CASE("a client's numbers can still be read when it has left") {
    client kept;
    router all = echo_routes();
    all.on_connect([&](client who) -> asio::awaitable<void> {
        kept = who;
        co_return;
    });
    running_server server{std::move(all)};
    CHECK(client{}.stats().traffic == traffic{});
    {
        auto one = test_client::open(server.port());
        one.send_command(1, "x");
        CHECK(one.read_command(1) == "x");
        one.send_close(1000);
        (void)one.read_to_end();
    }
    REQUIRE(eventually([&] { return server->stats().closed == 1; }));
    const connection_stats last = kept.stats();
    CHECK(last.traffic.messages_received == 1);
    CHECK(last.traffic.messages_sent == 1);
    CHECK(last.age == kept.stats().age);  // it does not go on
    CHECK(last.id == kept.id());
}

TEST_CASE("attached connections are a listener of their own in the numbers") {
    asio::io_context context;
    asio::ip::tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    running_server server{echo_routes()};
    test_client client{acceptor.local_endpoint().port()};
    server->attach(acceptor.accept());
    (void)client.handshake("/ws", "");
    client.send_command(1, "x");
    CHECK(client.read_command(1) == "x");
    REQUIRE(eventually([&] { return server->stats().traffic().messages_sent == 1; }));
    const server_stats stats = server->stats();
    REQUIRE(stats.listeners.size() == 2);
    CHECK(stats.listeners[1] == listener_stats{"attached", 1, 1, {11, 7, 1, 1}});
    CHECK(server->connections().at(0).listener == "attached");
}

TEST_CASE("all lines of the log about one connection have the id of its client, from the handshake on") {
    log_lines log;
    router all;
    all.on(command_id{1}, dispatch::on_strand, [](request) -> reply {
        throw std::runtime_error{"a defect"};
        co_return std::nullopt;
    });
    std::string known;
    all.authorize([](http::request req) -> asio::awaitable<authorization> {
        if (req.query_string == "no=1") co_return authorization::refuse(http::status_code::forbidden);
        co_return authorization::accept("somebody");
    });
    all.on_connect([&](client who) -> asio::awaitable<void> {
        known = who.id().to_string();
        co_return;
    });
    server_options options = quiet_options();
    options.log = log.as_logger();
    options.rate_limit = {.messages_per_second = 1, .burst = 2};
    running_server server{std::move(all), options};
    {
        test_client refused{server.port()};
        (void)refused.handshake("/ws?no=1", "");
        (void)refused.read_to_end();
    }
    {
        test_client wrong{server.port()};
        wrong.send_raw("no HTTP at all\r\n\r\n");
        (void)wrong.read_to_end();
    }
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    (void)client.read_command(0xFFFFFFFE);
    for (int i = 0; i < 3; ++i) client.send_command(1, "");
    CHECK(log.wait_for("Rate limit exceeded for client client_id="));
    CHECK(log.wait_for("a handler failed: a defect client_id="));
    std::map<std::string, int> ids;
    int lines_of_connections = 0;
    for (const std::string& line : log.all()) {
        if (line.find("remote_addr=") == std::string::npos && line.find("a handler failed") == std::string::npos) continue;
        ++lines_of_connections;
        std::smatch found;
        const std::regex pattern{"client_id=([0-9a-f-]{36})"};
        CAPTURE(line);
        REQUIRE(std::regex_search(line, found, pattern));
        ++ids[found[1].str()];
    }
    CHECK(lines_of_connections >= 4);
    CHECK(ids.size() == 3);  // one for each connection
    CHECK(ids[known] >= 2);
}

TEST_CASE("the first bytes of a stream are in the numbers, also where they tell what it is") {
    const temporary_folder folder;
    const std::string path = (folder / "socket").string();
    server_options options = quiet_options();
    options.listen = {"unix://" + path};
    running_server server{echo_routes(), options};
    command_peer peer{path};
    peer.send(1, "hello");
    CHECK(peer.next() == "1 hello");
    REQUIRE(eventually([&] { return server->stats().traffic().messages_sent == 1; }));
    CHECK(server->stats().listeners.at(0).traffic == traffic{13, 13, 1, 1});
    CHECK(server->connections().at(0).traffic == traffic{13, 13, 1, 1});
}

TEST_CASE("a line about a file that is not sent has the id of its connection") {
    log_lines log;
    const temporary_folder folder;
    std::ofstream{folder / "page.html"} << "some bytes";
    static constexpr std::uintmax_t large = 16 * 1024 * 1024;
    std::ofstream{folder / "large.bin"} << "zeroes";
    std::filesystem::resize_file(folder / "large.bin", large);
    server_options options = quiet_options();
    options.listen = {"http://127.0.0.1:0"};
    options.files = folder.path();
    options.connections.response_bytes = large;
    options.log = log.as_logger();
    running_server server{echo_routes(), options};
    test_client slow{server.port(), 4096};
    slow.send_raw("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(slow.read_head().starts_with("HTTP/1.1 200 "));
    CHECK(http_get(server.port(), "/page.html").starts_with("HTTP/1.1 503 "));
    CHECK(log.wait_for("client_id="));
    for (const std::string& line : log.all()) CHECK(line.find("client_id=00000000") == std::string::npos);
}
