// A client of a command server that stays: kephas-command-client ws://localhost:8080/ws
// Each line of its input is a name to sign in with; it prints what the server says, until the end of the input or SIGINT.
#include <kephas/client/command_client.hpp>
#include <kephas/proto/json/write.hpp>

#include <asio/co_spawn.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>

#include <cstdio>
#include <exception>
#include <string>

#include <unistd.h>

namespace {

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

//[command-client
constexpr kephas::command_id welcome{0x0001}, somebody_left{0x0002}, sign_in{0x0100};

void prepare(kephas::command_client& client) {
    client.on(welcome, [](kephas::client_message message) -> asio::awaitable<void> {
        say("welcome: " + std::string{message.text()});
        co_return;
    });
    client.on(somebody_left, [](kephas::client_message message) -> asio::awaitable<void> {
        say(std::string{message.text()});
        co_return;
    });
    client.on_reconnected([](kephas::fresh_link link) -> asio::awaitable<void> {  // before everything that was queued meanwhile
        const kephas::client_message answer = co_await link.request(sign_in, "again");
        say("signed in again: " + std::string{answer.text()});
    });
    client.on_state([](const kephas::link_change& change) { say("now " + std::string{to_string(change.now)}); });
}

asio::awaitable<void> use(kephas::command_client& client) {
    co_await client.connect();
    const kephas::json params = kephas::json::array({1, 2.5});
    const kephas::json sum = co_await client.call("math.add", params);
    say("1 + 2.5 = " + kephas::write_json(sum));
    const kephas::client_message answer = co_await client.request(sign_in, "ada");
    say("signed in: " + std::string{answer.text()});
}
//]

/// A line of the input is sent as a name; a server that is away gets it when it is back.
asio::awaitable<void> read_names(kephas::command_client& client) {
    asio::posix::stream_descriptor input{co_await asio::this_coro::executor, ::dup(STDIN_FILENO)};
    std::string line;
    for (;;) {
        std::error_code ec;
        const std::size_t size = co_await asio::async_read_until(input, asio::dynamic_buffer(line), '\n',
                                                                 asio::redirect_error(asio::use_awaitable, ec));
        if (ec) break;
        kephas::payload name{line.substr(0, size - 1)};
        line.erase(0, size);
        try {
            const kephas::client_message answer = co_await client.request(sign_in, std::move(name));
            say("signed in: " + std::string{answer.text()});
        } catch (const kephas::rpc_failure& failure) {
            say("not signed in: " + failure.peer_message());
        }
    }
}

asio::awaitable<void> live(kephas::command_client& client) {
    std::exception_ptr failure;
    try {
        using namespace asio::experimental::awaitable_operators;
        co_await use(client);
        auto either = read_names(client) || client.closed();  // whichever ends first cancels the other
        co_await std::move(either);
    } catch (...) {
        failure = std::current_exception();
    }
    client.close(kephas::close_code::normal, "bye");
    const kephas::connection_end end = co_await client.closed();
    say("closed with " + std::to_string(static_cast<unsigned>(end.code)));
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

int main(int argc, char** argv) {
    int status = 0;
    try {
        asio::io_context context;
        kephas::command_client_options options;
        options.drop_unhandled = true;  // nobody calls receive()
        options.reconnect.base = std::chrono::milliseconds{100};
        kephas::command_client client{context.get_executor(), argc > 1 ? argv[1] : "ws://localhost:8080/ws", options};
        prepare(client);
        asio::signal_set signals{context, SIGINT, SIGTERM};
        signals.async_wait([&](std::error_code ec, int /*which*/) {
            if (!ec) client.close(kephas::close_code::going_away);
        });
        asio::co_spawn(context, live(client), [&](std::exception_ptr thrown) {
            signals.cancel();
            if (thrown) std::rethrow_exception(thrown);
        });
        context.run();
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "kephas-command-client: %s\n", failure.what());
        status = 1;
    }
    return status;
}
