// One server, seven listeners, one client: the same code over all of them.
#include <kephas/client/command_client.hpp>
#include <kephas/net/steady_timer.hpp>

#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>
#include <support/tls_server.hpp>

#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

struct all_transports {
    all_transports() {
        server_options options = tls_server_options();
        const std::string socket = folder / "stream", datagrams = folder / "datagrams";
        options.listen = {"ws://127.0.0.1:0/ws",  "wss://127.0.0.1:0/ws", "tcp://127.0.0.1:0",      "tls://127.0.0.1:0",
                          "unix://" + socket,     "udp://127.0.0.1:0",    "unixgram://" + datagrams};
        options.datagrams.error_replies = true;
        server.emplace(served_routes(), options);
        const auto ends = (*server)->endpoints();
        REQUIRE(ends.size() == options.listen.size());
        const auto port = [&](std::size_t i) { return ends[i].substr(ends[i].rfind(':')); };
        urls = {"ws://127.0.0.1" + port(0) + "/ws", "wss://localhost" + port(1) + "/ws", "tcp://127.0.0.1" + port(2),
                "tls://localhost" + port(3),        "unix://" + socket,                 "udp://127.0.0.1" + port(5),
                "unixgram://" + datagrams};
    }
    static router served_routes() {
        router table;
        table.on(command_id{1}, dispatch::on_strand, [](request req) -> reply { co_return payload{req.share()}; });
        table.on(command_id{2}, [](request) -> reply {
            throw request_error{"not that"};
            co_return std::nullopt;
        });
        table.on(command_id{3}, [](request req) -> reply {
            const json doubled = co_await req.client().call("double", json{});
            co_return payload{write_json(doubled)};
        });
        table.on(command_id{4}, [](request req) -> reply {
            req.client().close(close_code{4500}, "as you wish");
            co_return std::nullopt;
        });
        table.rpc("add", {"a", "b"}, [](int a, int b) -> asio::awaitable<int> { co_return a + b; });
        table.rpc("fail", [](rpc_request) -> asio::awaitable<json> {
            throw request_error{17, "not today"};
            co_return json{};
        });
        return table;
    }
    [[nodiscard]] static command_client_options options() {
        command_client_options made;
        made.tls.ca = pem_text(common_ca().certificate());
        return made;
    }
    [[nodiscard]] static bool is_datagram(const std::string& url) {
        return url.starts_with("udp") || url.starts_with("unixgram");
    }

    temporary_folder folder;
    std::optional<running_server> server;
    std::vector<std::string> urls;
};

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 131 + i / 977) & 0xFF);
    return text;
}

/// What every transport can do.
asio::awaitable<void> ask(command_client& client, std::size_t largest) {
    co_await client.connect();
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{126}, largest}) {
        payload body{pattern(size)};
        const client_message echoed = co_await client.request(command_id{1}, std::move(body));
        CHECK(echoed.command == command_id{1});
        CHECK(echoed.text() == pattern(size));
    }
    const json params = json::array({40, 2});
    const json sum = co_await client.call("add", params);
    CHECK(sum == json{42});
    std::int64_t code = 0;
    try {
        (void)co_await client.call("fail");
    } catch (const rpc_failure& failure) {
        code = failure.code();
    }
    CHECK(code == 17);
    try {
        (void)co_await client.request(command_id{2}, "");
    } catch (const rpc_failure& failure) {
        code = failure.code();
    }
    CHECK(code == -32000);
    try {
        (void)co_await client.request(command_id{99}, "");
    } catch (const rpc_failure& failure) {
        code = failure.code();
    }
    CHECK(code == -32601);
    co_await client.send(command_id{1}, "and back");
    const auto message = co_await client.receive();
    CHECK(message->text() == "and back");
    co_await client.drained();
}

asio::awaitable<void> close(command_client& client) {
    client.close(close_code{4001}, "enough");
    const connection_end end = co_await client.closed();
    CHECK(end.clean);
    CHECK(end.code == close_code{4001});
    CHECK(end.by == connection_end::ended_by::client);
}

asio::awaitable<void> be_called_and_closed(command_client& client) {
    co_await client.connect();
    const client_message doubled = co_await client.request(command_id{3}, "");
    CHECK(doubled.text() == "\"twice\"");
    co_await client.send(command_id{4}, "");
    const connection_end end = co_await client.closed();
    CHECK(end.by == connection_end::ended_by::server);
    CHECK(end.code == close_code{4500});
    CHECK(end.reason == "as you wish");
    CHECK(end.clean);
}

}  // namespace

TEST_CASE("requests, calls, errors, messages: the same over all seven transports") {
    all_transports world;
    for (const std::string& url : world.urls) {
        CAPTURE(url);
        asio::io_context context;
        command_client client{context.get_executor(), url, all_transports::options()};
        run(context, ask(client, all_transports::is_datagram(url) ? 60'000 : 300'000));
        run(context, close(client));
    }
}

TEST_CASE("calls of the server, and its close with code and reason: the same over the five that are connections") {
    all_transports world;
    for (const std::string& url : world.urls) {
        if (all_transports::is_datagram(url)) continue;
        CAPTURE(url);
        asio::io_context context;
        command_client client{context.get_executor(), url, all_transports::options()};
        client.rpc("double", [](json) -> asio::awaitable<json> { co_return json{"twice"}; });
        run(context, be_called_and_closed(client));
    }
}

TEST_CASE("a broadcast reaches the clients of all five, and a drain sends them to reconnect with 1001") {
    all_transports world;
    asio::io_context context;
    std::vector<std::unique_ptr<command_client>> clients;
    std::vector<unsigned> codes;
    for (const std::string& url : world.urls) {
        if (all_transports::is_datagram(url)) continue;
        clients.push_back(std::make_unique<command_client>(context.get_executor(), url, all_transports::options()));
        clients.back()->on_state([&codes](const link_change& change) {
            if (change.now == link_state::reconnecting && change.attempt == 1) codes.push_back(static_cast<unsigned>(change.why.code));
        });
        run(context, clients.back()->connect());
    }
    REQUIRE(eventually([&] { return (*world.server)->clients().size() == 5; }));
    run(context, [](kephas::server& from) -> asio::awaitable<void> {
        (void)co_await from.clients().broadcast(command_id{7}, "news");
    }(**world.server));
    for (const auto& each : clients) {
        run(context, [](command_client& client) -> asio::awaitable<void> {
            const auto message = co_await client.receive();
            CHECK(message->text() == "news");
        }(*each));
    }
    std::jthread operator_of_server{[&] { world.server->stop(); }};
    run(context, [](std::vector<std::unique_ptr<command_client>>& all, std::vector<unsigned>& seen) -> asio::awaitable<void> {
        steady_timer pause{co_await asio::this_coro::executor};
        while (seen.size() < all.size()) {
            pause.expires_after(1ms);
            co_await pause.async_wait(asio::use_awaitable);
        }
        for (const auto& each : all) each->close();
        for (const auto& each : all) (void)co_await each->closed();
    }(clients, codes));
    operator_of_server.join();
    CHECK(codes == std::vector<unsigned>(5, 1001));
}
