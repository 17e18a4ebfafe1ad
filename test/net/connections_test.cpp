// The limits on connections: how many, how fast, from whom, and what they may hold before they are open.
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

server_options options_with(auto change) {
    server_options options = quiet_options();
    change(options);
    return options;
}

std::string status_of(const std::string& response) { return response.substr(9, 3); }
bool has_line(const std::string& response, const std::string& line) {
    return response.find("\r\n" + line + "\r\n") != std::string::npos;
}

/// An opening handshake from a loopback address: the client, and the status that it got.
struct attempt {
    explicit attempt(std::uint16_t port, const char* from = "127.0.0.1", std::string_view headers = {})
        : client{port, 0, from}, head{client.handshake("/ws", headers)}, status{status_of(head)} {}
    test_client client;
    std::string head;
    std::string status;
};

router routes_that_tell_the_address() {
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [](request req) -> asio::awaitable<std::optional<payload>> {
        co_return payload{req.client().remote_address()};
    });
    return routes;
}

std::string told_address(test_client& client) {
    client.send_command(1, "");
    return client.read_command(1);
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("by default ten times as many connections come from one address as any burst would allow") {
    running_server server{router{}};
    std::deque<attempt> open;
    for (int i = 0; i < 300; ++i) CHECK(open.emplace_back(server.port()).status == "101");
}

TEST_CASE("beyond the total a connection is answered 503 with Retry-After, and one that leaves makes room") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.connections.total = 3;
                              o.connections.retry_after = 1500ms;
                          })};
    attempt first{server.port()};
    attempt second{server.port()};
    test_client silent{server.port()};  // of any kind
    REQUIRE(eventually([&] { return server->stats().accepted == 3; }));
    CHECK(first.status == "101");
    CHECK(second.status == "101");
    const std::string refusal = http_get(server.port(), "/health");
    CHECK(status_of(refusal) == "503");
    CHECK(has_line(refusal, "Retry-After: 2"));
    CHECK(has_line(refusal, "Connection: close"));
    CHECK(refusal.ends_with("\r\n\r\ntoo many connections\n"));
    CHECK(attempt{server.port()}.status == "503");
    silent.close();
    CHECK(eventually([&] { return status_of(http_get(server.port(), "/health")) == "200"; }));
}

TEST_CASE("a refused connection gets its answer, however much it sends and however late") {
    running_server server{router{}, options_with([](server_options& o) { o.connections.total = 1; })};
    const attempt only{server.port()};
    const std::string large = "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n" + std::string(20'000, 'b');
    for (int i = 0; i < 20; ++i) {
        test_client early{server.port()};
        early.send_raw(large);
        CHECK(status_of(early.read_to_end()) == "503");
    }
    test_client late{server.port()};
    CHECK(status_of(late.read_head()) == "503");  // before it has sent anything
    late.send_raw(large);
    CHECK_NOTHROW(late.read_to_end());
}

TEST_CASE("refused connections that stay cost a bounded number of descriptors, and those for a bounded time") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.connections.total = 1;
                              o.connections.lingering = 5;
                              o.linger_timeout = 300ms;
                          })};
    const attempt only{server.port()};
    const std::size_t before = open_descriptors();
    std::deque<test_client> refused;
    for (int i = 0; i < 40; ++i) {
        refused.emplace_back(server.port());
        CHECK(status_of(refused.back().read_to_end()) == "503");
    }
    CHECK(open_descriptors() <= before + refused.size() + 5 + 1);  // the last one is perhaps still being answered
    CHECK(eventually([&] { return open_descriptors() == before + refused.size(); }));
}

TEST_CASE("a drain does not wait for refused connections") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.connections.total = 1;
                              o.linger_timeout = 1h;
                          })};
    attempt only{server.port()};
    test_client refused{server.port()};
    CHECK(status_of(refused.read_to_end()) == "503");
    only.client.reset();
    CHECK(eventually([&] { return server->stats().clients == 0; }));
    server.stop();
}

TEST_CASE("one address may have so many connections, beyond it 429; others are not concerned") {
    running_server server{router{}, options_with([](server_options& o) { o.connections.per_address = 2; })};
    attempt first{server.port()};
    const attempt second{server.port()};
    CHECK(first.status == "101");
    CHECK(second.status == "101");
    const attempt third{server.port()};
    CHECK(third.status == "429");
    CHECK(has_line(third.head, "Retry-After: 5"));
    CHECK(attempt{server.port(), "127.0.0.2"}.status == "101");
    first.client.close();
    CHECK(eventually([&] { return attempt{server.port()}.status == "101"; }));
}

TEST_CASE("one address may open so many connections at once, beyond it 429; others are not concerned") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.connections.per_address_rate = 0.001;
                              o.connections.per_address_burst = 3;
                          })};
    for (int i = 0; i < 3; ++i) CHECK(status_of(http_get(server.port(), "/health")) == "200");
    const std::string refusal = http_get(server.port(), "/health");
    CHECK(status_of(refusal) == "429");
    CHECK(refusal.ends_with("too many new connections from your address\n"));
    CHECK(attempt{server.port(), "127.1.2.3"}.status == "101");
}

TEST_CASE("a rate is not used up by time and comes back with it") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.connections.per_address_rate = 50;
                              o.connections.per_address_burst = 1;
                          })};
    int let_in = 0;
    const auto start = std::chrono::steady_clock::now();
    while (let_in < 5) let_in += status_of(http_get(server.port(), "/health")) == "200" ? 1 : 0;
    CHECK(std::chrono::steady_clock::now() - start >= 80ms);
}

TEST_CASE("an embedded server has the same limits") {
    asio::io_context context;
    kephas::server server{context, router{}, options_with([](server_options& o) { o.connections.per_address = 1; })};
    server.listen();
    asio::co_spawn(context, server.serve(), asio::detached);
    std::thread thread{[&] { context.run(); }};
    const attempt first{server.port()};
    CHECK(first.status == "101");
    CHECK(attempt{server.port()}.status == "429");
    CHECK(attempt{server.port(), "127.0.0.2"}.status == "101");
    server.stop();
    thread.join();
}

TEST_CASE("unfinished handshakes are limited in number; open connections are none of them") {
    running_server server{router{}, options_with([](server_options& o) { o.connections.handshakes = 2; })};
    std::deque<attempt> open;
    for (int i = 0; i < 5; ++i) CHECK(open.emplace_back(server.port()).status == "101");
    std::deque<test_client> silent;
    for (int i = 0; i < 2; ++i) silent.emplace_back(server.port());
    REQUIRE(eventually([&] { return server->stats().accepted == 7; }));
    CHECK(attempt{server.port()}.status == "503");
    silent.clear();
    CHECK(eventually([&] { return attempt{server.port()}.status == "101"; }));
}

TEST_CASE("what all unfinished handshakes hold together is limited") {
    running_server server{router{}, options_with([](server_options& o) { o.connections.handshake_bytes = 6'000; })};
    const std::string part = "GET /ws HTTP/1.1\r\nX-Padding: " + std::string(4'000, 'x');
    std::deque<test_client> slow;
    slow.emplace_back(server.port());
    slow.back().send_raw(part);
    slow.emplace_back(server.port());
    slow.back().send_raw(part);
    // one of the two, whoever is read last
    CHECK(eventually([&] { return server->stats().refused == 1; }));
    CHECK(attempt{server.port()}.status == "101");  // a small one still fits
    slow.clear();
    CHECK(eventually([&] {
        test_client third{server.port()};
        third.send_raw(part + "\r\nHost: localhost\r\n\r\n");
        return status_of(third.read_head()) == "426";
    }));
}

TEST_CASE("what comes behind a handshake that is not decided yet counts among what it holds") {
    gate deciding;
    router routes;
    routes.authorize([&](http::request) -> asio::awaitable<authorization> {
        co_await deciding.wait();
        co_return authorization::accept();
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.connections.handshake_bytes = 2'000; })};
    const std::string request =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    test_client modest{server.port()};
    modest.send_raw(request + std::string(500, 'x'));
    REQUIRE(deciding.wait_for_waiting(1));
    test_client eager{server.port()};
    eager.send_raw(request + std::string(1'800, 'x'));
    CHECK(status_of(eager.read_head()) == "503");
    CHECK(eventually([&] { return server->stats().handshake_bytes == request.size() + 500; }));
    deciding.open();
    CHECK(status_of(modest.read_head()) == "101");
    CHECK(eventually([&] { return server->stats().handshake_bytes == 0; }));
}

TEST_CASE("more header lines than max_headers are 431, however short they are") {
    const auto request = [](int lines) {
        std::string text = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
        for (int i = 1; i < lines; ++i) text += "A: \r\n";
        return text + "\r\n";
    };
    running_server defaults{router{}};
    CHECK(status_of(http_request(defaults.port(), request(100))) == "200");
    CHECK(status_of(http_request(defaults.port(), request(101))) == "431");
    running_server few{router{}, options_with([](server_options& o) { o.max_headers = 10; })};
    CHECK(status_of(http_request(few.port(), request(10))) == "200");
    CHECK(status_of(http_request(few.port(), request(11))) == "431");
}

TEST_CASE("files that are being sent take a bounded amount of memory together") {
    const temporary_folder folder;
    constexpr std::size_t size = 8 * 1024 * 1024;  // more than the kernel takes at once
    folder.write("large.bin", std::string(size, 'x'));
    folder.write("small.txt", "small");
    running_server server{router{}, options_with([&](server_options& o) {
                              o.listen = {"http://127.0.0.1:0"};
                              o.files = folder.path();
                              o.connections.response_bytes = size + 100;
                          })};
    const std::string request = "GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    test_client slow{server.port(), 4096};
    slow.send_raw(request);
    CHECK(status_of(slow.read_head()) == "200");
    const std::string refusal = http_get(server.port(), "/large.bin");
    CHECK(status_of(refusal) == "503");
    CHECK(has_line(refusal, "Retry-After: 5"));
    CHECK(refusal.ends_with("too many downloads\n"));
    CHECK(status_of(http_get(server.port(), "/small.txt")) == "200");
    CHECK(slow.read_to_end().size() == size);
    slow.close();
    CHECK(eventually([&] { return status_of(http_get(server.port(), "/small.txt")) == "200"; }));
    CHECK(eventually([&] { return http_get(server.port(), "/large.bin").size() > size; }));
}

TEST_CASE("who takes a file byte by byte does not hold its memory for as long as it likes") {
    const temporary_folder folder;
    constexpr std::size_t size = 8 * 1024 * 1024;
    folder.write("large.bin", std::string(size, 'x'));
    running_server server{router{}, options_with([&](server_options& o) {
                              o.listen = {"http://127.0.0.1:0"};
                              o.files = folder.path();
                              o.write_timeout = 100ms;
                          })};
    test_client slow{server.port(), 4096};
    slow.send_raw("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(status_of(slow.read_head()) == "200");
    char few[256];
    while (server->stats().connections == 1) {
        (void)::recv(slow.native_handle(), few, sizeof(few), MSG_DONTWAIT);
        std::this_thread::sleep_for(1ms);  // the pace of the attack
    }
    CHECK(server->stats().response_bytes == 0);
    CHECK(server->stats().bytes_sent < size);
}

TEST_CASE("a flood of refused connections is a few lines of the log, and then one a second that counts the others") {
    log_lines log;
    running_server server{router{}, options_with([&](server_options& o) {
                              o.connections.per_address = 1;
                              o.log = log.as_logger();
                          })};
    const attempt only{server.port()};
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 300; ++i) CHECK(status_of(test_client{server.port()}.read_head()) == "429");
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - start).count();
    const auto lines = log.all();
    const auto refused = std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
        return line.starts_with("refused a connection: its address has as many as it may remote_addr=127.0.0.1");
    });
    CHECK(refused >= 10);
    CHECK(refused <= 10 + seconds);
    CHECK(server->stats().refused == 300);
}

TEST_CASE("X-Forwarded-For of a trusted proxy is the client's address, of anybody else it is nothing") {
    running_server server{routes_that_tell_the_address(),
                          options_with([](server_options& o) { o.trusted_proxies = {"127.0.0.8/29", "10.0.0.0/8"}; })};
    const auto address = [&](const char* from, std::string_view header) {
        attempt made{server.port(), from, header};
        CHECK(made.status == "101");
        return told_address(made.client);
    };
    CHECK(address("127.0.0.9", "X-Forwarded-For: 203.0.113.9\r\n") == "203.0.113.9");
    CHECK(address("127.0.0.9", "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.1.1.1\r\n") == "203.0.113.9");
    CHECK(address("127.0.0.9", "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2001:DB8::9\r\n") == "2001:db8::9");
    CHECK(address("127.0.0.9", "X-Forwarded-For: unknown\r\n").starts_with("127.0.0.9:"));
    CHECK(address("127.0.0.9", "").starts_with("127.0.0.9:"));
    CHECK(address("127.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n").starts_with("127.0.0.1:"));
}

TEST_CASE("the limits per address count who is behind a trusted proxy, not the proxy") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.trusted_proxies = {"127.0.0.1"};
                              o.connections.per_address = 1;
                          })};
    attempt first{server.port(), "127.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n"};
    CHECK(first.status == "101");
    attempt second{server.port(), "127.0.0.1", "X-Forwarded-For: 203.0.113.2\r\n"};
    CHECK(second.status == "101");
    const attempt again{server.port(), "127.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n"};
    CHECK(again.status == "429");
    CHECK(has_line(again.head, "Retry-After: 5"));
    CHECK(attempt{server.port(), "127.0.0.1", "X-Forwarded-For: 2001:db8::1\r\n"}.status == "101");
    first.client.close();
    CHECK(eventually([&] { return attempt{server.port(), "127.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n"}.status == "101"; }));
    CHECK(attempt{server.port(), "127.0.0.2", "X-Forwarded-For: 203.0.113.2\r\n"}.status == "101");  // it is just 127.0.0.2
}

TEST_CASE("a proxy on a Unix socket is trusted when it is named") {
    const temporary_folder folder;
    const std::string file = folder / "proxy.sock";
    for (const bool trusted : {false, true}) {
        running_server server{routes_that_tell_the_address(), options_with([&](server_options& o) {
                                  o.listen = {"unix://" + file};
                                  if (trusted) o.trusted_proxies = {"unix"};
                                  o.connections.per_address = 1;
                              })};
        test_client first{file};
        CHECK(status_of(first.handshake("/ws", "X-Forwarded-For: 203.0.113.1\r\n")) == "101");
        CHECK(told_address(first) == (trusted ? "203.0.113.1" : "unix"));
        test_client second{file};
        CHECK(status_of(second.handshake("/ws", "X-Forwarded-For: 203.0.113.1\r\n")) == (trusted ? "429" : "101"));
    }
}

TEST_CASE("limits and proxies that make no sense are refused where they are given") {
    const auto make = [](auto change) { kephas::server server{router{}, options_with(change)}; };
    CHECK_THROWS_AS(make([](server_options& o) { o.trusted_proxies = {"10.0.0.1/8"}; }), std::invalid_argument);
    CHECK_THROWS_AS(make([](server_options& o) { o.trusted_proxies = {"proxy.example"}; }), std::invalid_argument);
    CHECK_THROWS_AS(make([](server_options& o) {
                        o.connections.per_address_rate = 1;
                        o.connections.per_address_burst = 0.5;
                    }),
                    std::invalid_argument);
}
