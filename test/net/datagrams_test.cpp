// Commands in datagrams, over UDP and Unix sockets: asked and answered, and nothing more.
#include <support/command_stream.hpp>
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <kephas/net/steady_timer.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using reply = asio::awaitable<std::optional<payload>>;

namespace {

/// A datagram socket of the test's own, connected to the server.
class datagram_peer {
public:
    explicit datagram_peer(std::uint16_t port, in_addr_t host = INADDR_LOOPBACK)
        : fd_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(host);
        connect(reinterpret_cast<const sockaddr*>(&to), sizeof(to));
    }
    /// `own` is the file at which it can be answered; empty: nowhere.
    datagram_peer(const std::string& path, const std::string& own) : fd_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        if (!own.empty()) {
            const sockaddr_un mine = name(own);
            REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&mine), size_of(own)) == 0);
        }
        const sockaddr_un to = name(path);
        connect(reinterpret_cast<const sockaddr*>(&to), size_of(path));
    }
    datagram_peer(const datagram_peer&) = delete;
    datagram_peer& operator=(const datagram_peer&) = delete;
    ~datagram_peer() { (void)::close(fd_); }

    void send_raw(std::string_view bytes) const {
        REQUIRE(::send(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    }
    void send(std::uint32_t id, std::string_view payload) const { send_raw(big_endian_text(id) + std::string{payload}); }
    /// The next datagram, as "1 hello"; "nothing" if none comes within `patience`.
    [[nodiscard]] std::string next(int patience = 10'000) const {
        pollfd waiting{fd_, POLLIN, 0};
        if (::poll(&waiting, 1, patience) <= 0) return "nothing";
        std::string bytes(70'000, '\0');
        const ssize_t size = ::recv(fd_, bytes.data(), bytes.size(), 0);
        if (size < 4) return "short";
        stream_lines line;
        line.add(big_endian_text(static_cast<std::uint32_t>(size)));
        line.add({bytes.data(), static_cast<std::size_t>(size)});
        return line.next().value_or("?");
    }
    [[nodiscard]] std::string ask(std::uint32_t id, std::string_view payload) const {
        send(id, payload);
        return next();
    }

private:
    static sockaddr_un name(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        return address;
    }
    static socklen_t size_of(const std::string& path) {
        return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    }
    void connect(const sockaddr* to, socklen_t size) const {
        if (::connect(fd_, to, size) != 0) throw std::system_error{errno, std::system_category(), "connect"};
    }

    int fd_;
};

std::uint16_t port_at(running_server& server, std::size_t index) {
    const std::string where = server->endpoints().at(index);
    return static_cast<std::uint16_t>(std::stoi(where.substr(where.rfind(':') + 1)));
}

server_options listening_on(std::vector<std::string> addresses) {
    server_options options = quiet_options();
    options.listen = std::move(addresses);
    return options;
}

reply echo(request req) { co_return payload{req.share()}; }

/// Echoes once it may.
reply held_until(std::shared_future<void> opened, request req) {
    while (opened.wait_for(0s) != std::future_status::ready) {
        steady_timer timer{co_await asio::this_coro::executor, 1ms};
        co_await timer.async_wait(asio::use_awaitable);
    }
    co_return payload{req.share()};
}

/// 1 to 3: echo under each policy. 4: as many bytes as are asked for. 5: throws. 6: what the sender is.
router datagram_routes() {
    router routes;
    routes.on(command_id{1}, dispatch::pool, echo);
    routes.on(command_id{2}, dispatch::serial, echo);
    routes.on(command_id{3}, dispatch::on_strand, echo);
    routes.on(command_id{4}, [](request req) -> reply { co_return payload{std::string(std::stoul(std::string{req.text()}), 'x')}; });
    routes.on(command_id{5}, [](request) -> reply { throw request_error{"refused"}; });
    routes.on(command_id{6}, [](request req) -> reply {
        const client sender = req.client();
        const bool gone = !sender.is_alive() && sender.try_send(command_id{1}, "x") == send_status::closed &&
                          sender.close_info().has_value() && sender.clients().size() == 0;
        const close_info why = co_await sender.closed();
        co_return payload{sender.remote_address() + (gone && why.code == close_code::no_status ? " gone" : " there")};
    });
    routes.on(command_id{7}, [](request) -> reply { co_return std::nullopt; });
    routes.rpc("sum", dispatch::on_strand, [](rpc_request req) -> asio::awaitable<json> {
        std::int64_t sum = 0;
        for (const json& each : req.params().elements()) sum += each.as_int64().value_or(0);
        co_return json{sum};
    });
    routes.rpc("pool_sum", [](rpc_request req) -> asio::awaitable<json> {
        co_return json{static_cast<std::int64_t>(req.params().size())};
    });
    return routes;
}

}  // namespace

TEST_CASE("a command in a datagram is answered by one, over UDP and Unix sockets, under every policy") {
    const temporary_folder folder;
    const std::string path = (folder / "datagrams").string();
    running_server server{datagram_routes(), listening_on({"udp://127.0.0.1:0", "unixgram://" + path, "ws://127.0.0.1:0/ws"})};
    const datagram_peer udp{port_at(server, 0)};
    const datagram_peer local{path, (folder / "mine").string()};
    for (const datagram_peer* peer : {&udp, &local}) {
        for (const std::uint32_t id : {1U, 2U, 3U}) {
            CHECK(peer->ask(id, "hello") == std::to_string(id) + " hello");
            CHECK(peer->ask(id, "") == std::to_string(id));
        }
        CHECK(peer->ask(jsonrpc_id, R"({"jsonrpc":"2.0","method":"sum","params":[1,2],"id":7})") ==
              R"(jsonrpc {"jsonrpc":"2.0","result":3,"id":7})");
        CHECK(peer->ask(jsonrpc_id, R"([{"jsonrpc":"2.0","method":"sum","params":[4],"id":1},)"
                                    R"({"jsonrpc":"2.0","method":"none","id":2},{"jsonrpc":"2.0","method":"pool_sum","params":[1,2],"id":3}])") ==
              R"(jsonrpc [{"jsonrpc":"2.0","result":4,"id":1},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":2},{"jsonrpc":"2.0","result":2,"id":3}])");
    }
    CHECK(server->port() != 0);
    CHECK(server->clients().size() == 0);
    CHECK(server->stats().connections == 0);
    CHECK(server->stats().datagrams_received == 16);
    CHECK(eventually([&] { return server->stats().datagrams_answered == 16; }));
}

TEST_CASE("a server on all addresses answers from the one that was asked, under every policy") {
    running_server server{datagram_routes(), listening_on({"udp://0.0.0.0:0"})};
    for (const in_addr_t host : {0x7f000001U, 0x7f000002U}) {
        const datagram_peer peer{port_at(server, 0), host};  // connected: what comes from elsewhere does not reach it
        for (const std::uint32_t id : {1U, 2U, 3U}) CHECK(peer.ask(id, "hello") == std::to_string(id) + " hello");
    }
}

TEST_CASE("the sender of a datagram is nobody who could be sent to") {
    const temporary_folder folder;
    const std::string path = (folder / "datagrams").string();
    running_server server{datagram_routes(), listening_on({"udp://127.0.0.1:0", "unixgram://" + path})};
    const datagram_peer udp{port_at(server, 0)};
    const std::string told = udp.ask(6, "");
    CHECK(told.starts_with("6 127.0.0.1:"));
    CHECK(told.ends_with(" gone"));
    const datagram_peer local{path, (folder / "mine").string()};
    CHECK(local.ask(6, "") == "6 unix gone");
}

TEST_CASE("errors are not answered, unless they are wanted") {
    for (const bool wanted : {false, true}) {
        CAPTURE(wanted);
        server_options options = listening_on({"udp://127.0.0.1:0"});
        options.datagrams.error_replies = wanted;
        running_server server{datagram_routes(), options};
        const datagram_peer peer{port_at(server, 0)};
        peer.send(99, "unknown");
        peer.send(jsonrpc_id, "[");
        peer.send(jsonrpc_id, R"({"jsonrpc":"2.0","method":"none","id":1})");
        peer.send(jsonrpc_id, R"([{"jsonrpc":"2.0","method":"none","id":2}])");
        if (wanted) {
            CHECK(peer.next() == R"(error {"jsonrpc":"2.0","error":{"code":-32601,"message":"unknown command","data":{"command":99}},"id":null})");
            CHECK(peer.next().find("-32700") != std::string::npos);
            CHECK(peer.next() == R"(error {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1})");
            CHECK(peer.next().find(R"("id":2)") != std::string::npos);
        }
        peer.send(5, "throws");
        if (wanted) CHECK(peer.next().find("refused") != std::string::npos);
        CHECK(peer.ask(3, "and the next") == "3 and the next");  // nothing came before it
    }
}

TEST_CASE("what makes no sense is dropped and counted") {
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.max_binary_payload = 1000;
    running_server server{datagram_routes(), options};
    const datagram_peer peer{port_at(server, 0)};
    for (const char* bad : {"", "a", "abc"}) peer.send_raw(bad);
    peer.send(1, std::string(1001, 'x'));
    CHECK(peer.ask(1, std::string(1000, 'y')) == "1 " + std::string(1000, 'y'));
    CHECK(server->stats().datagrams_malformed == 4);
    CHECK(peer.ask(3, "fine") == "3 fine");
    peer.send(7, "no reply wanted");
    CHECK(peer.ask(3, "still fine") == "3 still fine");
}

TEST_CASE("a reply that does not fit into a datagram is lost, counted and logged") {
    log_lines log;
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.log = log.as_logger();
    running_server server{datagram_routes(), options};
    const datagram_peer peer{port_at(server, 0)};
    CHECK(peer.ask(4, "65503") == "4 " + std::string(65503, 'x'));
    peer.send(4, "65504");
    CHECK(log.wait_for("a reply of 65508 bytes was not sent"));
    CHECK(eventually([&] { return server->stats().datagrams_unanswered == 1; }));
    CHECK(peer.ask(3, "and on") == "3 and on");
}

TEST_CASE("who has no name cannot be answered") {
    const temporary_folder folder;
    const std::string path = (folder / "datagrams").string();
    running_server server{datagram_routes(), listening_on({"unixgram://" + path})};
    const datagram_peer nameless{path, {}};
    nameless.send(1, "hello?");
    CHECK(eventually([&] { return server->stats().datagrams_unanswered == 1; }));
    const datagram_peer named{path, (folder / "mine").string()};
    CHECK(named.ask(1, "hello") == "1 hello");
}

TEST_CASE("a sender has the rate of a client, and the others notice nothing") {
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.rate_limit = {.messages_per_second = 0.001, .burst = 5};
    running_server server{datagram_routes(), options};
    const datagram_peer peer{port_at(server, 0)};
    for (int i = 0; i < 5; ++i) CHECK(peer.ask(3, std::to_string(i)) == "3 " + std::to_string(i));
    for (int i = 0; i < 20; ++i) peer.send(3, "too many");
    CHECK(eventually([&] { return server->stats().datagrams_rate_limited == 20; }));
    CHECK(peer.next(0) == "nothing");
    CHECK(server->stats().datagrams_answered == 5);
}

TEST_CASE("beyond what may be in flight datagrams are dropped, and each reply makes room again") {
    std::promise<void> open;
    const std::shared_future<void> opened{open.get_future()};
    router routes = datagram_routes();
    std::atomic<int> begun{0};
    routes.on(command_id{20}, [&](request req) -> reply {
        ++begun;
        return held_until(opened, std::move(req));
    });
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.datagrams.in_flight = 3;
    running_server server{std::move(routes), options};
    const datagram_peer peer{port_at(server, 0)};
    for (int i = 0; i < 3; ++i) peer.send(20, "held");
    REQUIRE(eventually([&] { return begun == 3; }));
    for (int i = 0; i < 7; ++i) peer.send(20, "dropped");
    CHECK(eventually([&] { return server->stats().datagrams_overloaded == 7; }));
    open.set_value();
    for (int i = 0; i < 3; ++i) CHECK(peer.next() == "20 held");
    CHECK(eventually([&] { return peer.ask(3, "room") == "3 room"; }));
}

TEST_CASE("the drain waits for handlers of datagrams, and sends their replies") {
    router routes = datagram_routes();
    std::atomic<bool> begun{false};
    routes.on(command_id{20}, [&](request req) -> reply {
        begun = true;
        steady_timer timer{co_await asio::this_coro::executor, 100ms};
        co_await timer.async_wait(asio::use_awaitable);
        co_return payload{req.share()};
    });
    running_server server{std::move(routes), listening_on({"udp://127.0.0.1:0"})};
    const datagram_peer peer{port_at(server, 0)};
    peer.send(20, "in time");
    REQUIRE(eventually([&] { return begun.load(); }));
    CHECK(server.stop() == drain_report{});
    CHECK(peer.next() == "20 in time");
}

TEST_CASE("a handler of a datagram that does not end is cancelled by the drain") {
    router routes = datagram_routes();
    std::atomic<int> begun{0}, cancelled{0};
    const auto endless = [&](request) -> reply {
        ++begun;
        steady_timer timer{co_await asio::this_coro::executor, 1h};
        try {
            co_await timer.async_wait(asio::use_awaitable);
        } catch (const std::system_error&) {
            ++cancelled;
            throw;
        }
        co_return std::nullopt;
    };
    routes.on(command_id{20}, dispatch::pool, endless);
    routes.on(command_id{21}, dispatch::on_strand, endless);
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.drain.deadline = 50ms;
    running_server server{std::move(routes), options};
    const datagram_peer peer{port_at(server, 0)};
    peer.send(20, "");
    peer.send(21, "");
    REQUIRE(eventually([&] { return begun == 2; }));
    (void)server.stop();
    CHECK(cancelled == 2);
    CHECK(server->stats().handlers_cancelled == 2);
}

TEST_CASE("a server says at its start that authorize is not asked for datagrams") {
    log_lines log;
    router routes = datagram_routes();
    routes.authorize([](http::request) -> asio::awaitable<authorization> { co_return authorization::accept(); });
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.log = log.as_logger();
    running_server server{std::move(routes), options};
    CHECK(log.wait_for("listening on udp://127.0.0.1:"));
    CHECK(log.wait_for("authorize is not asked for datagrams"));
}

TEST_CASE("an embedded server serves datagrams on a strand") {
    asio::io_context context;
    server embedded{context, datagram_routes(), listening_on({"udp://127.0.0.1:0"})};
    embedded.listen();
    std::optional<drain_report> report;
    asio::co_spawn(context, embedded.serve(), [&](const std::exception_ptr& failure, drain_report how) {
        CHECK_FALSE(failure);
        report = how;
    });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&context] { context.run(); });
    const std::string where = embedded.endpoints().at(0);
    const datagram_peer peer{static_cast<std::uint16_t>(std::stoi(where.substr(where.rfind(':') + 1)))};
    for (const std::uint32_t id : {1U, 2U, 3U}) CHECK(peer.ask(id, "x") == std::to_string(id) + " x");
    embedded.stop();
    for (auto& each : threads) each.join();
    CHECK(report.has_value());
}

TEST_CASE("in the drain a reply leaves when it is there, whoever else is still at work") {
    std::promise<void> slow, quick;
    const std::shared_future<void> slow_may{slow.get_future()}, quick_may{quick.get_future()};
    router routes = datagram_routes();
    std::atomic<int> begun{0};
    routes.on(command_id{20}, [&](request req) -> reply {
        ++begun;
        return held_until(slow_may, std::move(req));
    });
    routes.on(command_id{21}, [&](request req) -> reply {
        ++begun;
        return held_until(quick_may, std::move(req));
    });
    running_server server{std::move(routes), listening_on({"udp://127.0.0.1:0"})};
    const datagram_peer peer{port_at(server, 0)};
    peer.send(20, "slow");
    for (int i = 0; i < 3; ++i) peer.send(21, "quick");
    REQUIRE(eventually([&] { return begun == 4; }));
    server->stop();
    REQUIRE(eventually([&] { return server->stats().draining; }));
    quick.set_value();
    for (int i = 0; i < 3; ++i) CHECK(peer.next(3000) == "21 quick");
    slow.set_value();
    CHECK(peer.next() == "20 slow");
    (void)server.stop();
    CHECK(server->stats().datagrams_answered == 4);
    CHECK(server->stats().datagrams_unanswered == 0);
}

TEST_CASE("a handler of a datagram that takes too long is cancelled, and makes room for others") {
    router routes = datagram_routes();
    const auto endless = [&](request) -> reply {
        steady_timer timer{co_await asio::this_coro::executor, 1h};
        co_await timer.async_wait(asio::use_awaitable);
        co_return std::nullopt;
    };
    routes.on(command_id{20}, dispatch::pool, endless);
    routes.on(command_id{21}, dispatch::on_strand, endless);
    server_options options = listening_on({"udp://127.0.0.1:0"});
    CHECK(options.datagrams.handler_timeout == 10s);
    options.datagrams.handler_timeout = 50ms;
    options.datagrams.in_flight = 2;
    SUBCASE("by its own limit") {}
    SUBCASE("by that of all handlers, if it is shorter") {
        options.datagrams.handler_timeout = 1h;
        options.handler_timeout = 50ms;
    }
    running_server server{std::move(routes), options};
    const datagram_peer peer{port_at(server, 0)};
    peer.send(20, "");
    peer.send(21, "");
    CHECK(eventually([&] { return server->stats().handlers_timed_out == 2; }));
    CHECK(peer.ask(3, "room") == "3 room");
}

TEST_CASE("datagrams whose handlers fail cannot fill the log, which says where they come from") {
    log_lines log;
    router routes = datagram_routes();
    routes.on(command_id{20}, dispatch::on_strand, [](request) -> reply { throw std::runtime_error{"a defect"}; });
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.rate_limit = no_rate_limit();
    options.log = log.as_logger();
    running_server server{std::move(routes), options};
    const datagram_peer peer{port_at(server, 0)};
    static constexpr std::uint64_t many = 50;
    for (std::uint64_t i = 0; i < many; ++i) peer.send(20, "");
    REQUIRE(eventually([&] { return server->stats().handlers_failed == many; }));
    int lines = 0;
    for (const std::string& line : log.all()) {
        if (line.find("a handler failed: a defect") == std::string::npos) continue;
        ++lines;
        CHECK(line.find("remote_addr=127.0.0.1:") != std::string::npos);
    }
    CHECK(lines >= 1);
    CHECK(lines <= 20);
}

TEST_CASE("beyond the bytes that datagrams may take together they are dropped") {
    std::promise<void> open;
    const std::shared_future<void> opened{open.get_future()};
    router routes = datagram_routes();
    std::atomic<int> begun{0};
    routes.on(command_id{20}, [&](request req) -> reply {
        ++begun;
        return held_until(opened, std::move(req));
    });
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.datagrams.bytes = 5000;
    running_server server{std::move(routes), options};
    const datagram_peer peer{port_at(server, 0)};
    const std::string large(3000, 'x');
    for (int i = 0; i < 2; ++i) peer.send(20, large);
    REQUIRE(eventually([&] { return begun == 2; }));
    for (int i = 0; i < 3; ++i) peer.send(20, "dropped");
    CHECK(eventually([&] { return server->stats().datagrams_overloaded == 3; }));
    open.set_value();
    for (int i = 0; i < 2; ++i) CHECK(peer.next() == "20 " + large);
    CHECK(eventually([&] {
        peer.send(3, "room");
        return peer.next(100) == "3 room";
    }));
}

TEST_CASE("each reply is either answered or unanswered, and what is not sent is logged") {
    log_lines log;
    const temporary_folder folder;
    const std::string path = (folder / "datagrams").string();
    std::promise<void> open;
    const std::shared_future<void> opened{open.get_future()};
    router routes = datagram_routes();
    std::atomic<int> begun{0};
    routes.on(command_id{20}, [&](request req) -> reply {
        ++begun;
        return held_until(opened, std::move(req));
    });
    server_options options = listening_on({"unixgram://" + path});
    options.log = log.as_logger();
    running_server server{std::move(routes), options};
    const auto counts = [&] {
        const server_stats stats = server->stats();
        return std::pair{stats.datagrams_answered, stats.datagrams_unanswered};
    };
    using both = std::pair<std::uint64_t, std::uint64_t>;
    std::string line;
    SUBCASE("the peer has gone") {
        {
            const datagram_peer gone{path, (folder / "gone").string()};
            gone.send(20, "");
        }
        REQUIRE(eventually([&] { return begun == 1; }));
        line = "a reply was not sent: ";
    }
    SUBCASE("the peer has no name") {
        const datagram_peer nameless{path, {}};
        nameless.send(1, "hello");
        line = "a reply of 9 bytes was not sent: ";
    }
    SUBCASE("nothing as large can be sent") {
        const datagram_peer asks{path, (folder / "asks").string()};
        asks.send(4, "10000000");
        line = "a reply of 10000004 bytes was not sent: ";
    }
    open.set_value();
    CHECK(log.wait_for(line));
    CHECK(counts() == both{0, 1});
    const datagram_peer named{path, (folder / "named").string()};
    CHECK(named.ask(1, "hello") == "1 hello");
    CHECK(eventually([&] { return counts() == both{1, 1}; }));
    CHECK(server->stats().traffic().bytes_sent == 9);
    CHECK(server->stats().traffic().messages_sent == 1);
    CHECK(server->stats().bytes_sent == 9);
}

TEST_CASE("the listener and the server count the same messages: those that were not dropped") {
    running_server server{datagram_routes(), listening_on({"udp://127.0.0.1:0"})};
    const datagram_peer peer{port_at(server, 0)};
    for (const char* bad : {"", "a", "abc"}) peer.send_raw(bad);
    peer.send(99, "unknown");
    CHECK(peer.ask(3, "fine") == "3 fine");
    const server_stats stats = server->stats();
    CHECK(server->port() == port_at(server, 0));  // of a server that has no other
    CHECK(stats.datagrams_received == 5);
    CHECK(stats.traffic().messages_received == stats.messages_received);
    CHECK(stats.messages_received == 2);
}

TEST_CASE("an error in a datagram never goes under the id of the command: servers could answer each other for ever") {
    server_options options = listening_on({"udp://127.0.0.1:0"});
    options.datagrams.error_replies = true;
    options.command_errors = error_replies::same_channel;
    running_server server{datagram_routes(), options};
    const datagram_peer peer{port_at(server, 0)};
    CHECK(peer.ask(99, "unknown").starts_with("error "));
    CHECK(peer.ask(5, "throws").starts_with("error "));
    peer.send(jsonrpc_id, R"({"jsonrpc":"2.0","method":"none","id":1})");
    CHECK(peer.next().starts_with("error "));
}
