// The command client over real sockets: WebSocket, TLS, datagrams; several threads.
#include <kephas/client/command_client.hpp>
#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/steady_timer.hpp>

#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>
#include <support/tls_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <string>
#include <thread>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

router served_routes() {
    router table;
    table.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
    table.rpc("add", {"a", "b"}, [](int a, int b) -> asio::awaitable<int> { co_return a + b; });
    return table;
}

server_options plain_options() {
    server_options options = quiet_options();
    options.rate_limit = no_rate_limit();
    return options;
}

std::string url_of(const running_server& server, const char* scheme = "ws", const char* host = "127.0.0.1") {
    return std::string{scheme} + "://" + host + ":" + std::to_string(server.port()) + "/ws";
}

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 131 + i / 977) & 0xFF);
    return text;
}

/// Sends what comes back, answers a call, closes.
asio::awaitable<void> talk(command_client& client, std::vector<std::size_t> sizes) {
    co_await client.connect();
    for (const std::size_t size : sizes) {
        payload body{pattern(size)};
        const client_message echoed = co_await client.request(command_id{1}, std::move(body));
        CHECK(echoed.text() == pattern(size));
    }
    const json params = json::array({40, 2});
    const json sum = co_await client.call("add", params);
    CHECK(sum == json{42});
    client.close();
    const connection_end end = co_await client.closed();
    CHECK(end.clean);
    CHECK(end.code == close_code::normal);
}

/// An echo of commands in datagrams, which answers calls of "f" with 7, and command 9 with an error.
asio::awaitable<void> serve_datagrams(datagram_socket& socket) {
    while (const auto datagram = co_await socket.receive()) {
        const auto command = decode_command(datagram->bytes);
        std::vector<std::byte> answer{datagram->bytes.begin(), datagram->bytes.end()};
        if (command->id == command_jsonrpc) {
            answer = encode_command(command_jsonrpc, as_bytes(R"({"jsonrpc":"2.0","result":7,"id":1})"));
        } else if (command->id == command_id{9}) {
            answer = encode_command(command_jsonrpc_error, as_bytes(R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"no","data":{"command":9}},"id":null})"));
        }
        co_await socket.send(bytes_view{answer}, datagram->sender());
    }
}

}  // namespace

TEST_CASE("over TCP: messages of all sizes, a call, a close") {
    running_server server{served_routes(), plain_options()};
    asio::io_context context;
    command_client client{context.get_executor(), url_of(server)};
    run(context, talk(client, {0, 1, 125, 126, 65'536, 500'000, 5'000'000}));
}

TEST_CASE("with compression, both ways") {
    server_options options = plain_options();
    options.deflate.enabled = true;
    running_server server{served_routes(), options};
    asio::io_context context;
    command_client client{context.get_executor(), url_of(server), {.deflate = {.enabled = true}}};
    run(context, talk(client, {0, 1, 1'000, 100'000}));
}

TEST_CASE("over TLS: the server is who it should be, or there is no connection") {
    running_server server{served_routes(), tls_server_options()};
    asio::io_context context;
    const auto options = [](std::string ca) {
        command_client_options made;
        if (!ca.empty()) made.tls.ca = pem_text(std::move(ca));
        made.retry_first_connect = true;  // these failures are for good all the same
        return made;
    };
    SUBCASE("trusted") {
        command_client client{context.get_executor(), url_of(server, "wss", "localhost"), options(common_ca().certificate())};
        run(context, talk(client, {1, 100'000, 1'000'000}));
    }
    SUBCASE("of somebody whom nobody trusts") {
        const test_ca other;
        for (const std::string& ca : {std::string{}, other.certificate()}) {
            command_client client{context.get_executor(), url_of(server, "wss", "localhost"), options(ca)};
            const error failure = failure_of(context, client.connect());
            CHECK(failure.code() == errc::certificate_not_trusted);
            CHECK(failure.code() == condition::unauthorized);
            CHECK(client.state() == link_state::closed);
        }
    }
    SUBCASE("for another name") {
        auto named = options(common_ca().certificate());
        named.tls.server_name = "example.org";
        command_client client{context.get_executor(), url_of(server, "wss", "localhost"), named};
        CHECK(failure_of(context, client.connect()).code() == errc::certificate_name_mismatch);
    }
    SUBCASE("not verified, because the user wants it so") {
        auto careless = options({});
        careless.tls.verify = false;
        command_client client{context.get_executor(), url_of(server, "wss", "localhost"), careless};
        run(context, talk(client, {1}));
    }
}

TEST_CASE("refusals of our server keep their status") {
    running_server server{served_routes(), plain_options()};
    asio::io_context context;
    command_client lost{context.get_executor(), "ws://127.0.0.1:" + std::to_string(server.port()) + "/nowhere"};
    CHECK(failure_of(context, lost.connect()).code() == std::error_code{404, http_status_category()});
    command_client foreign{context.get_executor(), url_of(server), {.origin = "https://elsewhere.example"}};
    CHECK(failure_of(context, foreign.connect()).code() == condition::unauthorized);
}

TEST_CASE("nobody listens there, or the name does not exist") {
    asio::io_context context;
    std::uint16_t port = 0;
    {
        running_server server{served_routes(), plain_options()};
        port = server.port();
    }
    command_client client{context.get_executor(), "ws://127.0.0.1:" + std::to_string(port)};
    CHECK(failure_of(context, client.connect()).code() == std::errc::connection_refused);
}

TEST_CASE("a server that is restarted finds its client again, and what that had to say meanwhile") {
    auto first = std::make_unique<running_server>(served_routes(), plain_options());
    server_options same_port = plain_options();
    same_port.listen = {url_of(*first)};
    asio::io_context context;
    command_client_options options;
    options.reconnect.base = 20ms;
    options.reconnect.cap = 50ms;
    command_client client{context.get_executor(), url_of(*first), options};
    std::vector<link_state> states;
    std::promise<void> lost;
    client.on_state([&](const link_change& change) {
        if (!states.empty() && states.back() == change.now) return;
        states.push_back(change.now);
        if (change.now == link_state::reconnecting) lost.set_value();
    });
    std::unique_ptr<running_server> second;
    run(context, client.connect());
    std::jthread operator_of_servers{[&, away = lost.get_future()] {
        first->stop();
        away.wait();
        second = std::make_unique<running_server>(served_routes(), same_port);
    }};
    run(context, [](command_client& used) -> asio::awaitable<void> {
        while (used.stats().connections < 2) {
            steady_timer pause{co_await asio::this_coro::executor, 1ms};
            co_await pause.async_wait(asio::use_awaitable);
        }
        const client_message echoed = co_await used.request(command_id{1}, "still here");
        CHECK(echoed.text() == "still here");
    }(client));
    operator_of_servers.join();
    using enum link_state;
    CHECK(states == std::vector{connecting, connected, reconnecting, connected});
    client.close();
    run(context, [](command_client& used) -> asio::awaitable<void> { (void)co_await used.closed(); }(client));
}

TEST_CASE("many threads use one client") {
    running_server server{served_routes(), plain_options()};
    asio::thread_pool pool{3};
    command_client_options options;
    options.max_queued_messages = 8;
    command_client client{asio::make_strand(pool.get_executor()), url_of(server), options};
    asio::co_spawn(pool, client.connect(), asio::use_future).get();
    std::vector<std::future<int>> sums;
    for (int i = 0; i < 8; ++i) {
        sums.push_back(asio::co_spawn(pool, [](command_client& used, int from) -> asio::awaitable<int> {
            int good = 0;
            for (int n = 0; n < 50; ++n) {
                const json params = json::array({from, n});
                const json sum = co_await used.call("add", params);
                good += sum == json{from + n} ? 1 : 0;
                (void)used.try_send(command_id{1}, "x");
            }
            co_return good;
        }(client, i), asio::use_future));
    }
    std::thread receiver{[&] {
        asio::co_spawn(pool, [](command_client& used) -> asio::awaitable<void> {
            while (co_await used.receive()) {
            }
        }(client), asio::use_future).get();
    }};
    for (auto& each : sums) CHECK(each.get() == 50);
    CHECK(client.stats().messages_sent >= 400);
    client.close();
    const connection_end end = asio::co_spawn(pool, client.closed(), asio::use_future).get();
    CHECK(end.code == close_code::normal);
    receiver.join();
    pool.join();
}

TEST_CASE("over datagrams: requests, calls and errors; text that is too large; nobody there") {
    const temporary_folder folder;
    for (const bool is_udp : {true, false}) {
        CAPTURE(is_udp);
        asio::io_context context;
        const std::string file = (folder.path() / "server").string();
        auto socket = std::make_unique<datagram_socket>(context.get_executor(),
                                                        address::parse(is_udp ? "udp://127.0.0.1:0" : "unixgram://" + file));
        const std::string url = is_udp ? "udp://" + socket->local_address() : "unixgram://" + file;
        std::error_code served;
        asio::co_spawn(context, serve_datagrams(*socket), [](const std::exception_ptr&) {});
        command_client client{context.get_executor(), url};
        run(context, [](command_client& used) -> asio::awaitable<void> {
            co_await used.connect();
            const client_message echoed = co_await used.request(command_id{1}, "hello");
            CHECK(echoed.text() == "hello");
            const json seven = co_await used.call("f");
            CHECK(seven == json{7});
            bool refused = false;
            try {
                (void)co_await used.request(command_id{9}, "");
            } catch (const rpc_failure& failure) {
                refused = failure.code() == -32000;
            }
            CHECK(refused);
            co_await used.send(command_id{3}, "unexpected");
            const auto message = co_await used.receive();
            CHECK(message->text() == "unexpected");
        }(client));
        CHECK_FALSE(served);
        if (is_udp) CHECK(client.try_send(command_id{1}, payload{std::string(65'504, 'x')}) == std::errc::message_size);
        socket->close();
        context.restart();
        context.poll();
        const error failure = failure_of(context, [](command_client& used) -> asio::awaitable<void> {
            (void)co_await used.request(command_id{1}, "is anybody there", 5s);
        }(client));
        CHECK(failure.code() == std::errc::connection_refused);
        client.close();
        run(context, [](command_client& used) -> asio::awaitable<void> { (void)co_await used.closed(); }(client));
    }
}

TEST_CASE("over Unix datagrams a server that does not read holds nobody up who wants to leave") {
    const temporary_folder folder;
    const std::string file = (folder.path() / "server").string();
    asio::io_context context;
    datagram_socket deaf{context.get_executor(), address::parse("unixgram://" + file)};
    command_client_options options;
    options.max_queued_messages = 10'000;
    options.close_timeout = 50ms;
    options.write_timeout = 0s;
    std::vector<link_state> states;
    const auto seen = [&](link_state state) { return std::ranges::find(states, state) != states.end(); };
    const auto fill = [&](command_client& client) {
        client.on_state([&](const link_change& change) { states.push_back(change.now); });
        run(context, client.connect());
        for (int i = 0; i < 5'000; ++i) CHECK_FALSE(client.try_send(command_id{1}, "x"));
        context.restart();
        context.run_for(10ms);
        CHECK(client.stats().messages_queued > 0);
    };
    const auto ends = [&] {
        context.restart();
        context.run_for(5s);
        return context.stopped();
    };
    SUBCASE("close") {
        command_client client{context.get_executor(), "unixgram://" + file, options};
        fill(client);
        client.close();
        CHECK(ends());
        CHECK(client.state() == link_state::closed);
    }
    SUBCASE("abort") {
        options.close_timeout = 0s;
        command_client client{context.get_executor(), "unixgram://" + file, options};
        fill(client);
        client.abort();
        CHECK(ends());
        CHECK(client.state() == link_state::closed);
    }
    SUBCASE("the destructor") {
        {
            command_client client{context.get_executor(), "unixgram://" + file, options};
            fill(client);
        }
        CHECK(ends());
    }
    SUBCASE("without progress for write_timeout it is lost") {
        options.write_timeout = 50ms;
        options.reconnect.enabled = false;
        command_client client{context.get_executor(), "unixgram://" + file, options};
        fill(client);
        CHECK(ends());
        CHECK(client.state() == link_state::closed);
        CHECK_FALSE(seen(link_state::reconnecting));
    }
}
