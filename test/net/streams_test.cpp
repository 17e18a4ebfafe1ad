// Commands over TCP, TLS and Unix sockets, with WebSocket beside them in one server.
#include <support/command_peer.hpp>
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/test_client.hpp>
#include <support/tls_client.hpp>
#include <support/tls_server.hpp>

#include <kephas/net/socket_calls.hpp>

#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using reply = asio::awaitable<std::optional<payload>>;
using lines = std::vector<std::string>;

namespace {

reply echo(request req) { co_return payload{req.share()}; }

/// 1 pool, 2 serial, 3 on_strand: echo. 4 tells everybody. `sum` adds.
router stream_routes() {
    router routes;
    routes.on(command_id{1}, dispatch::pool, echo);
    routes.on(command_id{2}, dispatch::serial, echo);
    routes.on(command_id{3}, dispatch::on_strand, echo);
    routes.on(command_id{4}, dispatch::serial, [](request req) -> reply {
        const kephas::clients everybody = req.client().clients();
        const broadcast_report report = co_await everybody.broadcast(command_id{4}, payload{req.share()});
        co_return payload{std::to_string(report.queued) + " queued"};
    });
    routes.on(command_id{5}, [](request) -> reply { throw request_error{"refused"}; });
    routes.rpc("sum", dispatch::serial, [](rpc_request req) -> asio::awaitable<json> {
        std::int64_t sum = 0;
        for (const json& each : req.params().elements()) sum += each.as_int64().value_or(0);
        co_return json{sum};
    });
    return routes;
}

server_options listening_on(std::vector<std::string> addresses) {
    server_options options = quiet_options();
    options.listen = std::move(addresses);
    return options;
}

std::uint16_t port_at(const running_server& server, std::size_t index) {
    const std::string where = const_cast<running_server&>(server)->endpoints().at(index);
    return static_cast<std::uint16_t>(std::stoi(where.substr(where.rfind(':') + 1)));
}

/// What on_disconnect was told, in order.
class farewells {
public:
    void listen(router& routes) {
        routes.on_disconnect([this](client, close_info why) -> asio::awaitable<void> {
            const std::lock_guard lock{mutex_};
            all_.push_back(std::to_string(static_cast<unsigned>(why.code)) + (why.reason.empty() ? "" : " " + why.reason) +
                           (why.initiator == close_initiator::peer     ? " by peer"
                            : why.initiator == close_initiator::server ? " by server"
                                                                       : " by transport"));
            changed_.notify_all();
            co_return;
        });
    }
    /// The next one.
    std::string wait() {
        std::unique_lock lock{mutex_};
        if (!changed_.wait_for(lock, 10s, [this] { return taken_ < all_.size(); })) return "nothing";
        return all_[taken_++];
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    lines all_;
    std::size_t taken_ = 0;
};

/// One way to a server, and a client that has come by it.
struct way {
    const char* name;
    command_peer (*open)(const running_server& server, const std::string& folder);
};

command_peer over_tcp(const running_server& server, const std::string&) { return command_peer{port_at(server, 0)}; }
command_peer over_tls(const running_server& server, const std::string&) {
    auto tls = std::make_unique<tls_client>(port_at(server, 1));
    tls->handshake();
    return command_peer{std::unique_ptr<test_transport>{std::move(tls)}};
}
command_peer over_unix(const running_server&, const std::string& folder) { return command_peer{folder + "/socket"}; }

constexpr way ways[] = {{"tcp", over_tcp}, {"tls", over_tls}, {"unix", over_unix}};

server_options every_way(const temporary_folder& folder) {
    server_options options = tls_server_options();
    options.listen = {"tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://" + folder.path().string() + "/socket"};
    return options;
}

}  // namespace

TEST_CASE("commands, errors and JSON-RPC over TCP, TLS and Unix sockets are what they are over WebSocket") {
    const temporary_folder folder;
    running_server server{stream_routes(), every_way(folder)};
    for (const way& each : ways) {
        CAPTURE(each.name);
        command_peer client = each.open(server, folder.path().string());
        for (const std::uint32_t id : {1U, 2U, 3U}) {
            client.send(id, "hello");
            CHECK(client.next() == std::to_string(id) + " hello");
        }
        client.send(99, "x");
        CHECK(client.next() == R"(error {"jsonrpc":"2.0","error":{"code":-32601,"message":"unknown command","data":{"command":99}},"id":null})");
        client.send(5, "x");
        CHECK(client.next() == R"(error {"jsonrpc":"2.0","error":{"code":-32000,"message":"refused","data":{"command":5}},"id":null})");
        client.send(jsonrpc_id, R"({"jsonrpc":"2.0","method":"sum","params":[1,2,3],"id":"a"})");
        CHECK(client.next() == R"(jsonrpc {"jsonrpc":"2.0","result":6,"id":"a"})");
        client.send(jsonrpc_id, R"([{"jsonrpc":"2.0","method":"sum","params":[4],"id":1},{"jsonrpc":"2.0","method":"none","id":2}])");
        CHECK(client.next() == R"(jsonrpc [{"jsonrpc":"2.0","result":4,"id":1},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":2}])");
        client.send(jsonrpc_id, R"({"jsonrpc":"2.0","method":"none","id":3})");
        CHECK(client.next() == R"(error {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":3})");
        client.send(jsonrpc_id, "[");
        CHECK(client.next().starts_with(R"(error {"jsonrpc":"2.0","error":{"code":-32700)"));
        client.send_raw(stream_keep_alive() + stream_message(3, "behind a keep-alive"));
        CHECK(client.next() == "3 behind a keep-alive");
        client.send_raw(stream_goodbye(1000));
        CHECK(client.rest() == lines{"goodbye 1000", "end"});
    }
}

TEST_CASE("messages of any size, in pieces of any size, come whole over every way") {
    const temporary_folder folder;
    server_options options = every_way(folder);
    options.rate_limit = no_rate_limit();
    options.outbox.max_bytes = 32 * 1024 * 1024;
    running_server server{stream_routes(), options};
    for (const way& each : ways) {
        CAPTURE(each.name);
        command_peer client = each.open(server, folder.path().string());
        for (const std::size_t size : {0U, 1U, 4U, 2044U, 2048U, 16'380U, 70'000U, 10U * 1024 * 1024}) {
            std::string payload(size, ' ');
            for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>('a' + i % 23);
            for (const std::uint32_t id : {1U, 3U}) {
                client.send(id, payload);
                const std::string echoed = client.next();
                CHECK((echoed == std::to_string(id) + (size == 0 ? "" : " ") + payload));
            }
        }
        const std::string several = stream_message(3, "one") + stream_message(3, "two");
        for (const char byte : several) client.send_raw({&byte, 1});
        CHECK(client.next() == "3 one");
        CHECK(client.next() == "3 two");
    }
}

TEST_CASE("one broadcast reaches WebSocket, TCP, TLS and Unix sockets of one server") {
    const temporary_folder folder;
    server_options options = every_way(folder);
    options.listen.emplace_back("ws://127.0.0.1:0/ws");
    options.io_threads = 2;
    running_server server{stream_routes(), options};
    test_client web = test_client::open(port_at(server, 3));
    test_client local_web{folder.path().string() + "/socket"};
    REQUIRE(local_web.handshake().starts_with("HTTP/1.1 101 "));
    std::vector<command_peer> streams;
    for (const way& each : ways) {
        streams.push_back(each.open(server, folder.path().string()));
        streams.back().send(3, "here");
        CHECK(streams.back().next() == "3 here");
    }
    REQUIRE(eventually([&] { return server->clients().size() == 5; }));
    streams[0].send(4, "to all");
    CHECK(streams[0].next() == "4 to all");
    CHECK(streams[0].next() == "4 5 queued");
    CHECK(streams[1].next() == "4 to all");
    CHECK(streams[2].next() == "4 to all");
    CHECK(web.read_command(4) == "to all");
    CHECK(local_web.read_command(4) == "to all");
    web.send_command(4, "and back");
    for (command_peer& each : streams) CHECK(each.next() == "4 and back");
    CHECK(local_web.read_command(4) == "and back");
    for (const kephas::client& each : server->clients().all()) CHECK(each.try_send_text("text") == send_status::queued);
    for (command_peer& each : streams) CHECK(each.next() == "jsonrpc text");
    CHECK(local_web.read_text() == "text");
}

TEST_CASE("on a Unix socket the first four bytes decide, however they come") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    running_server server{stream_routes(), listening_on({"unix://" + path})};
    test_client web{path};
    const std::string request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for (const char byte : request) web.send_raw({&byte, 1});
    CHECK(web.read_head().starts_with("HTTP/1.1 101 "));
    web.send_command(3, "web");
    CHECK(web.read_command(3) == "web");

    test_client health{path};
    health.send_raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(health.read_to_end().ends_with(R"({"status":"ok"})"));

    command_peer stream{path};
    for (const char byte : stream_message(3, "stream")) stream.send_raw({&byte, 1});
    CHECK(stream.next() == "3 stream");

    command_peer listener_only{path};
    listener_only.send_raw(stream_keep_alive());
    REQUIRE(eventually([&] { return server->clients().size() == 3; }));
    stream.send(4, "to all");
    CHECK(listener_only.next() == "4 to all");

    // "GET" as the first bytes of a length, which is far too long all the same
    command_peer almost{path};
    almost.send_raw("GETX");
    CHECK(almost.rest() == lines{"goodbye 1009 binary message exceeds the limit of 10485764 bytes", "end"});
}

TEST_CASE("who says nothing on a Unix socket has the time of a handshake") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    server_options options = listening_on({"unix://" + path});
    options.handshake_timeout = 50ms;
    running_server server{stream_routes(), options};
    command_peer silent{path};
    CHECK(silent.rest() == lines{"end"});
    command_peer half{path};
    half.send_raw("GET");
    CHECK(half.rest().size() == 1);
    CHECK(server->stats().handshake_timeouts == 2);
    command_peer speaks{path};
    speaks.send(3, "x");
    CHECK(speaks.next() == "3 x");
}

TEST_CASE("a Unix socket has the mode that the options say, and an abstract one has no file") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    server_options options = listening_on({"unix://" + path, "unix://@" + path});
    options.unix_access.mode = 0600;
    {
        running_server server{stream_routes(), options};
        struct stat info{};
        REQUIRE(::stat(path.c_str(), &info) == 0);
        CHECK((info.st_mode & 07777U) == 0600);
        CHECK(server->endpoints() == lines{path, "@" + path});
        command_peer abstract{"@" + path};
        abstract.send(3, "no file");
        CHECK(abstract.next() == "3 no file");
    }
    struct stat info{};
    CHECK(::stat(path.c_str(), &info) != 0);
    running_server usual{stream_routes(), listening_on({"unix://" + path})};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777U) == 0770);
}

TEST_CASE("authorize sees who has opened a Unix socket, on both wires, and the client knows it later") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    std::mutex mutex;
    std::vector<http::request> asked;
    router routes = stream_routes();
    routes.authorize([&](http::request r) -> asio::awaitable<authorization> {
        const std::lock_guard lock{mutex};
        asked.push_back(r);
        co_return authorization::accept();
    });
    running_server server{std::move(routes), listening_on({"unix://" + path, "tcp://127.0.0.1:0"})};
    const peer_credentials mine{::getpid(), ::getuid(), ::getgid()};
    command_peer stream{path};
    stream.send(3, "x");
    CHECK(stream.next() == "3 x");
    REQUIRE(server->clients().all().size() == 1);
    CHECK(server->clients().all()[0].peer_credentials() == mine);
    CHECK(server->clients().all()[0].remote_address() == "unix");
    test_client web{path};
    REQUIRE(web.handshake().starts_with("HTTP/1.1 101 "));
    command_peer far{port_at(server, 1)};
    far.send(3, "x");
    CHECK(far.next() == "3 x");
    const std::lock_guard lock{mutex};
    REQUIRE(asked.size() == 3);
    CHECK(asked[0].method == "STREAM");
    CHECK(asked[0].credentials == mine);
    CHECK(asked[1].method == "GET");
    CHECK(asked[1].credentials == mine);
    CHECK_FALSE(asked[2].credentials);
}

TEST_CASE("authorize sees the certificate of a client that has said nothing yet") {
    const temporary_folder folder;
    server_options options = every_way(folder);
    options.tls.clients = client_certificates::required;
    options.tls.client_ca = pem_text(common_ca().certificate());
    router routes = stream_routes();
    routes.authorize([](http::request r) -> asio::awaitable<authorization> {
        if (!r.tls || !r.tls->certificate) co_return authorization::refuse(http::status_code::unauthorized, "who are you?\n");
        co_return authorization::accept(r.tls->certificate->common_name);
    });
    running_server server{std::move(routes), options};
    const key_pair alice = common_ca().issue({.names = {"alice.example"}, .common_name = "alice", .for_client = true});
    tls_client alices{port_at(server, 1), {.certificate = alice}};
    alices.handshake();
    REQUIRE(eventually([&] { return server->clients().size() == 1; }));
    CHECK(server->clients().all()[0].identity() == "alice");
    command_peer plain{port_at(server, 0)};
    CHECK(plain.rest() == lines{"goodbye 1008 who are you?", "end"});
    CHECK(server->stats().refusals[static_cast<std::size_t>(refusal_reason::unauthorized)] == 1);
}

TEST_CASE("every end has a code and a reason, on both sides") {
    const temporary_folder folder;
    farewells told;
    router routes = stream_routes();
    told.listen(routes);
    server_options options = every_way(folder);
    options.max_binary_payload = 1000;
    options.linger_timeout = 50ms;
    running_server server{std::move(routes), options};
    const auto begun = [&](const way& each) {
        command_peer client = each.open(server, folder.path().string());
        client.send(3, "here");
        CHECK(client.next() == "3 here");
        return client;
    };
    for (const way& each : ways) {
        CAPTURE(each.name);
        {
            command_peer client = begun(each);
            client.send_raw(stream_goodbye(4001, "enough"));
            CHECK(client.rest() == lines{"goodbye 4001", "end"});
            CHECK(told.wait() == "4001 enough by peer");
        }
        {
            command_peer client = begun(each);
            client.send_raw(std::string("\0\0\0\2", 4));
            CHECK(client.rest() == lines{"goodbye 1002 Invalid message format", "end"});
            CHECK(told.wait() == "1002 Invalid message format by server");
        }
        {
            command_peer client = begun(each);
            client.send_raw(big_endian_text(1005) + "the rest is never read");
            CHECK(client.rest() == lines{"goodbye 1009 binary message exceeds the limit of 1004 bytes", "end"});
            CHECK(told.wait() == "1009 binary message exceeds the limit of 1004 bytes by server");
        }
        {
            command_peer client = begun(each);
            for (const kephas::client& one : server->clients().all()) one.close(close_code{4000}, "over");
            CHECK(client.rest() == lines{"goodbye 4000 over", "end"});
            client.send_raw(stream_goodbye(4000));
            CHECK(told.wait() == "4000 over by server");
        }
    }
    for (const std::size_t i : {0U, 2U}) {  // what a client over TLS cannot do without saying so
        command_peer client = begun(ways[i]);
        client.shutdown_send();
        CHECK(client.rest() == lines{"goodbye 1000", "end"});
        CHECK(told.wait() == "1005 by peer");
        command_peer cut = begun(ways[i]);
        cut.send_raw("\0");
        cut.send_raw(std::string(2, '\0'));
        cut.shutdown_send();
        CHECK(cut.rest() == lines{"end"});
        CHECK(told.wait() == "1006 connection lost by transport");
    }
    command_peer gone = begun(ways[0]);
    gone.reset();
    CHECK(told.wait() == "1006 connection lost by transport");
}

TEST_CASE("connections beyond a limit are told so in their own language") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    server_options options = listening_on({"tcp://127.0.0.1:0", "unix://" + path, "ws://127.0.0.1:0/ws"});
    options.connections.total = 1;
    running_server server{stream_routes(), options};
    command_peer first{port_at(server, 0)};
    first.send(3, "in");
    CHECK(first.next() == "3 in");

    command_peer stream{port_at(server, 0)};
    CHECK(stream.rest() == lines{"goodbye 1013 too many connections", "end"});
    command_peer local{path};
    local.send(3, "x");
    CHECK(local.rest() == lines{"goodbye 1013 too many connections", "end"});
    command_peer silent{path};  // found out by its patience
    CHECK(silent.rest() == lines{"goodbye 1013 too many connections", "end"});
    test_client web{path};
    CHECK(web.handshake().starts_with("HTTP/1.1 503 "));
    CHECK(test_client{port_at(server, 2)}.handshake().starts_with("HTTP/1.1 503 "));
    CHECK(server->stats().http_responses[5] == 2);
    CHECK(server->stats().refusals[static_cast<std::size_t>(refusal_reason::connections)] == 5);
    first.close();
    CHECK(eventually([&] {
        command_peer next{port_at(server, 0)};
        next.send(3, "in");
        return next.next() == "3 in";
    }));
}

TEST_CASE("an address has its limits over streams too") {
    server_options options = listening_on({"tcp://127.0.0.1:0"});
    options.connections.per_address = 2;
    running_server server{stream_routes(), options};
    command_peer one{port_at(server, 0)}, two{port_at(server, 0)};
    for (command_peer* each : {&one, &two}) {
        each->send(3, "in");
        CHECK(each->next() == "3 in");
    }
    command_peer three{port_at(server, 0)};
    CHECK(three.rest() == lines{"goodbye 1013 too many connections from your address", "end"});
}

TEST_CASE("a consumer that does not read is cut off, and the others notice nothing") {
    const temporary_folder folder;
    server_options options = every_way(folder);
    options.rate_limit = no_rate_limit();
    options.outbox.max_bytes = 256 * 1024;
    options.outbox.max_messages = 64;
    running_server server{stream_routes(), options};
    command_peer lazy{port_at(server, 0), 4096};
    lazy.send(3, "here");
    CHECK(lazy.next() == "3 here");
    command_peer keen = over_unix(server, folder.path().string());
    const std::string large(64 * 1024, 'x');
    for (int i = 0; i < 200 && server->stats().slow_consumers == 0; ++i) {
        keen.send(4, large);
        CHECK(keen.next() == "4 " + large);
        CHECK(keen.next().starts_with("4 "));
    }
    CHECK(eventually([&] { return server->clients().size() == 1; }));
    const lines rest = lazy.rest();
    if (rest.size() >= 2 && rest.back() == "end") CHECK(rest[rest.size() - 2] == "goodbye 3008 slow consumer");
    CHECK(eventually([&] { return server->stats().slow_consumers == 1; }));
}

TEST_CASE("the drain says goodbye over every way") {
    const temporary_folder folder;
    server_options options = every_way(folder);
    options.drain.code = close_code::service_restart;
    running_server server{stream_routes(), options};
    std::vector<command_peer> streams;
    for (const way& each : ways) {
        streams.push_back(each.open(server, folder.path().string()));
        streams.back().send(3, "here");
        CHECK(streams.back().next() == "3 here");
    }
    server->stop();
    for (command_peer& each : streams) {
        CHECK(each.rest() == lines{"goodbye 1012", "end"});
        each.send_raw(stream_goodbye(1012));
    }
    streams.clear();
    const drain_report report = server.wait();
    CHECK(report == drain_report{3, 0, 0});
}

TEST_CASE("who has said nothing on a Unix socket is refused by the drain with a goodbye") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    running_server server{stream_routes(), listening_on({"unix://" + path})};
    command_peer silent{path};
    test_client web{path};
    web.send_raw("GET /ws HT");
    REQUIRE(eventually([&] { return server->stats().handshake_bytes == 10; }));
    REQUIRE(eventually([&] { return server->stats().handshakes == 2; }));
    server->stop();
    CHECK(silent.rest() == lines{"goodbye 1013 the server is shutting down", "end"});
    CHECK(web.read_to_end().starts_with("HTTP/1.1 503 "));
}

TEST_CASE("a stream that is refused gives its share of the memory for handshakes back at once") {
    const temporary_folder folder;
    const std::string path = folder.path().string() + "/socket";
    server_options options = listening_on({"unix://" + path});
    options.connections.handshake_bytes = 10;
    options.linger_timeout = 10s;
    running_server server{stream_routes(), options};
    command_peer large{path};
    large.send(3, "more than there is room for");
    CHECK(large.next().starts_with("goodbye 1013"));
    CHECK(server->stats().connections == 1);  // it has not ended its side
    CHECK(server->stats().handshake_bytes == 0);
}

TEST_CASE("a peer that does not acknowledge what was sent is given up when one that is silent would be") {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    socket_calls::keep_alive(fd, 40s);
    const auto option = [fd](int name) {
        int value = 0;
        socklen_t size = sizeof(value);
        CHECK(::getsockopt(fd, IPPROTO_TCP, name, &value, &size) == 0);
        return value;
    };
    CHECK(option(TCP_KEEPIDLE) == 40);
    CHECK(option(TCP_KEEPINTVL) * option(TCP_KEEPCNT) == 40);
    CHECK(option(TCP_USER_TIMEOUT) == 80'000);
    (void)::close(fd);
}

TEST_CASE("hostile bytes cost one connection, and the next client notices nothing") {
    const temporary_folder folder;
    server_options options = every_way(folder);
    options.close_timeout = 200ms;
    options.linger_timeout = 200ms;
    running_server server{stream_routes(), options};
    std::uint32_t random = 12345;
    for (int i = 0; i < 60; ++i) {
        command_peer client = ways[static_cast<std::size_t>(i) % 3].open(server, folder.path().string());
        std::string noise;
        for (int j = 0; j < 300; ++j) {
            random = random * 1664525 + 1013904223;
            noise += static_cast<char>(random >> 24U);
        }
        if (i % 2 == 0) noise.insert(0, 4, '\0');
        try {
            client.send_raw(noise);
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it was cut off already
        }
    }
    for (const way& each : ways) {
        command_peer client = each.open(server, folder.path().string());
        client.send(3, "unaffected");
        CHECK(client.next() == "3 unaffected");
    }
}

TEST_CASE("a length that is never filled costs nothing") {
    server_options options = listening_on({"tcp://127.0.0.1:0"});
    options.rate_limit = no_rate_limit();
    running_server server{stream_routes(), options};
    std::vector<command_peer> waiting;
    for (int i = 0; i < 50; ++i) {
        waiting.emplace_back(port_at(server, 0));
        waiting.back().send_raw(big_endian_text(10 * 1024 * 1024) + "abc");
    }
    command_peer client{port_at(server, 0)};
    client.send(3, "x");
    CHECK(client.next() == "3 x");
    CHECK(server->clients().size() == 51);
}

TEST_CASE("addresses that make no sense are refused with a sentence") {
    const auto refusal = [](std::string address) -> std::string {
        try {
            server one{stream_routes(), listening_on({std::move(address)})};
            one.listen();
        } catch (const std::exception& failure) {
            return failure.what();
        }
        return {};
    };
    CHECK(refusal("tcp://127.0.0.1").find("port") != std::string::npos);
    CHECK(refusal("tcp://example.com:80").find("an IP address") != std::string::npos);
    CHECK(refusal("tls://127.0.0.1:0").find("tls") != std::string::npos);
    CHECK(refusal("unix://").find("absolute path") != std::string::npos);
    CHECK(refusal("unix://relative").find("absolute path") != std::string::npos);
    CHECK(refusal("unix://@").find("missing") != std::string::npos);
    CHECK(refusal("unix:///" + std::string(200, 'x')).find("107 bytes") != std::string::npos);
    CHECK(refusal("ftp://127.0.0.1:21").find("scheme") != std::string::npos);
    CHECK(refusal("tcp://:0").empty());
}

TEST_CASE("a program's own socket becomes a stream of commands") {
    asio::io_context context;
    server embedded{context, stream_routes(), listening_on({})};
    std::optional<drain_report> report;
    asio::co_spawn(context, embedded.serve(), [&](const std::exception_ptr& failure, drain_report how) {
        CHECK_FALSE(failure);
        report = how;
    });
    asio::ip::tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    std::thread thread{[&context] { context.run(); }};
    {
        command_peer client{acceptor.local_endpoint().port()};
        embedded.attach_commands(acceptor.accept());
        client.send(1, "attached");
        CHECK(client.next() == "1 attached");
    }
    embedded.stop();
    thread.join();
    CHECK(report.has_value());
}
