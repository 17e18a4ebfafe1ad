#pragma once

#include <support/virtual_world.hpp>

#include <map>
#include <string>
#include <vector>

namespace kephas::test {

/// A server with a bit of everything, which counts what it is trusted to keep in balance.
struct scripted_server {
    static constexpr command_id strand_echo{1}, serial_echo{2}, pool_echo{3}, slow_echo{4}, call_back{5}, close_me{6},
        abort_me{7}, tell_all{8};

    router routes() {
        router table;
        const auto on = [&](command_id id, dispatch policy, auto body) {
            table.on(id, policy, [this, body](request req) -> asio::awaitable<std::optional<payload>> {
                const counted alive{live_handlers};
                co_return co_await body(req);
            });
        };
        using reply = asio::awaitable<std::optional<payload>>;
        const auto echo = [](request req) -> reply { co_return payload{req.share()}; };
        on(strand_echo, dispatch::on_strand, echo);
        on(serial_echo, dispatch::serial, echo);
        on(pool_echo, dispatch::pool, echo);
        on(slow_echo, dispatch::serial, [](request req) -> reply {
            co_await pause_for(std::chrono::milliseconds{250});
            co_return payload{req.share()};
        });
        on(call_back, dispatch::pool, [](request req) -> reply {
            try {
                const json answer = co_await req.client().call("f");
                co_return payload{write_json(answer)};
            } catch (const error&) {  // it has left, or has not answered
                co_return std::nullopt;
            }
        });
        on(close_me, dispatch::pool, [](request req) -> reply {
            (void)req.client().try_send(command_id{100}, "last words");
            req.client().close(close_code{4000}, "asked for");
            co_return std::nullopt;
        });
        on(abort_me, dispatch::pool, [](request req) -> reply {
            req.client().abort();
            co_await pause_for(std::chrono::hours{1});
            co_return std::nullopt;
        });
        on(tell_all, dispatch::pool, [](request req) -> reply {
            (void)co_await req.client().clients().broadcast(command_id{101}, payload::copy(req.payload()));
            co_return std::nullopt;
        });
        table.rpc("add", {"a", "b"}, [this](int a, int b) -> asio::awaitable<int> {
            const counted alive{live_handlers};
            co_return a + b;
        });
        table.authorize([this](http::request) -> asio::awaitable<authorization> {
            const counted alive{live_handlers};
            co_await pause_for(std::chrono::milliseconds{30});
            co_return authorization::accept("somebody");
        });
        table.on_connect([this](client who) -> asio::awaitable<void> {
            const counted alive{live_handlers};
            ++connected[who.id()];
            co_await who.send(command_id{99}, "welcome");
            co_await pause_for(std::chrono::milliseconds{20});
        });
        table.on_disconnect([this](client who, close_info) -> asio::awaitable<void> {
            const counted alive{live_handlers};
            ++disconnected[who.id()];
            co_await pause_for(std::chrono::milliseconds{10});
        });
        return table;
    }

    struct counted {
        explicit counted(int& counter) noexcept : counter_{counter} { ++counter_; }
        counted(const counted&) = delete;
        counted& operator=(const counted&) = delete;
        ~counted() { --counter_; }
        int& counter_;
    };
    std::map<client_id, int> connected;
    std::map<client_id, int> disconnected;
    int live_handlers = 0;
};

/// What a client does, step by step, whatever happens to it.
struct script {
    std::string name;
    std::function<void(virtual_world&, memory_client&)> run;
};

[[nodiscard]] inline std::vector<script> scripts() {
    using namespace std::chrono_literals;
    const auto id = [](command_id of) { return static_cast<std::uint32_t>(of); };
    const auto open = [](virtual_world& world, memory_client& client) {
        client.send_handshake();
        world.run_for(100ms);
        (void)client.take();
    };
    return {
        {"health",
         [](virtual_world& world, memory_client& client) {
             client.send_raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
             world.settle();
             client.end();
         }},
        {"refused with a body",
         [](virtual_world& world, memory_client& client) {
             client.send_raw("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234");
             world.settle();
             client.send_raw("56789");
             world.run_for(1s);
             client.end();
         }},
        {"a handshake in pieces, a close",
         [](virtual_world& world, memory_client& client) {
             const std::string request = memory_client::handshake();
             for (std::size_t at = 0; at < request.size(); at += 40) {
                 client.send_raw(request.substr(at, 40));
                 world.settle();
             }
             world.run_for(100ms);
             client.send_close(1000, "bye");
             world.settle();
             client.end();
         }},
        {"commands under every policy",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             for (const command_id each : {scripted_server::strand_echo, scripted_server::serial_echo,
                                           scripted_server::pool_echo, scripted_server::slow_echo}) {
                 client.send_command(id(each), "hello");
                 world.settle();
             }
             client.send_frame(9, "are you there");
             world.run_for(1s);
             client.send_close(1000);
             world.settle();
             client.end();
         }},
        {"json-rpc, single and batch",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_text(R"({"jsonrpc":"2.0","method":"add","params":[1,2],"id":1})");
             world.settle();
             client.send_text(R"([{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1},)"
                              R"({"jsonrpc":"2.0","method":"none","id":2},{"jsonrpc":"2.0","method":"add"}])");
             world.settle();  // its answer comes from a handler, that to the next text does not: nothing orders them
             client.send_text("no json");
             world.settle();
             client.send_close(1000);
             world.settle();
         }},
        {"a call back",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_command(id(scripted_server::call_back), "");
             world.run_for(1s);
             client.send_text(R"({"jsonrpc":"2.0","result":[1,2,3],"id":1})");
             world.settle();
             client.send_command(id(scripted_server::call_back), "never answered");
             world.run_for(31s);
             client.send_close(1000);
             world.settle();
         }},
        {"large messages to a slow reader",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.link().to_client().set_capacity(9'000);
             const std::string big = test_client::command(id(scripted_server::serial_echo), std::string(50'000, 'x'));
             for (int i = 0; i < 2; ++i) {
                 const std::string bytes = test_client::frame(2, big);
                 for (std::size_t at = 0; at < bytes.size(); at += 20'000) {
                     client.send_raw(bytes.substr(at, 20'000));
                     world.settle();
                 }
             }
             for (int i = 0; i < 15; ++i) {
                 (void)client.take();
                 world.run_for(100ms);
             }
             client.send_close(1000);
             world.run_for(1s);
         }},
        {"closed by the server",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_command(id(scripted_server::close_me), "");
             client.send_command(id(scripted_server::slow_echo), "too late");
             world.run_for(1s);
             client.send_close(4000);
             client.send_raw("rubbish");
             world.run_for(1s);
             client.end();
         }},
        {"aborted by the server",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_command(id(scripted_server::slow_echo), "never done");
             client.send_command(id(scripted_server::abort_me), "");
             world.run_for(1s);
         }},
        {"a broken frame behind a good one",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_command(id(scripted_server::strand_echo), "good");
             world.settle();
             client.send_raw("\xF2\x80nonsense");
             world.settle();
             client.send_close(1002);
             client.end();
         }},
        {"a departure in the middle of everything",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_command(id(scripted_server::slow_echo), "1");
             client.send_command(id(scripted_server::slow_echo), "2");
             client.send_command(id(scripted_server::tell_all), "news");
             client.send_command(id(scripted_server::call_back), "");
             world.run_for(100ms);
             client.end();
         }},
        {"a drain",
         [=](virtual_world& world, memory_client& client) {
             open(world, client);
             client.send_command(id(scripted_server::slow_echo), "still answered");
             world.run_for(100ms);
             world->stop();
             world.run_for(1s);
             client.send_close(1001);
             world.settle();
             client.end();
         }},
    };
}

}  // namespace kephas::test
