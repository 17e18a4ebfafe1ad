// Clients that are killed in the middle of nested awaits: every handler ends, and how long that takes.
//
//   soak-departures [clients at a time] [rounds]
//
// Each client has handlers suspended three coroutines deep, under all three policies, and more messages sent than may be
// in flight, so that the server does not read from it when it dies. Half of the clients end with a reset, half with the
// end of the stream.
#include "soak.hpp"

#include <kephas/kephas.hpp>

#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

using instant = std::chrono::steady_clock::time_point;
using reply = asio::awaitable<std::optional<kephas::payload>>;

/// The handlers that live now; to be waited for.
class census {
public:
    void change(int by) {
        const std::lock_guard lock{mutex_};
        live_ += by;
        changed_.notify_all();
    }
    void gone(double microseconds) {
        const std::lock_guard lock{mutex_};
        took_.add(microseconds);
    }
    bool wait_for(int live) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, 60s, [&] { return live_ == live; });
    }
    [[nodiscard]] soak::latencies took() {
        const std::lock_guard lock{mutex_};
        return took_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int live_ = 0;
    soak::latencies took_;
};

census handlers;
std::vector<std::atomic<instant::rep>> died;  // by the number of the client

struct alive {
    explicit alive(std::size_t number) : client{number} { handlers.change(1); }
    ~alive() {
        const auto since = std::chrono::steady_clock::now().time_since_epoch().count() - died[client].load();
        handlers.gone(static_cast<double>(since) / 1'000);
        handlers.change(-1);
    }
    alive(const alive&) = delete;
    alive& operator=(const alive&) = delete;
    std::size_t client;
};

asio::awaitable<void> innermost() {
    asio::steady_timer never{co_await asio::this_coro::executor, std::chrono::hours{1}};
    co_await never.async_wait(asio::use_awaitable);
}

asio::awaitable<void> middle(std::size_t client) {
    const alive here{client};
    co_await innermost();
}

reply handler(kephas::request req) {
    const std::size_t client = std::stoul(std::string{req.text()});
    co_await middle(client);
    co_return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
    const int clients = argc > 1 ? std::atoi(argv[1]) : 1'000;
    const int rounds = argc > 2 ? std::atoi(argv[2]) : 10;
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    died = std::vector<std::atomic<instant::rep>>(static_cast<std::size_t>(clients));

    kephas::router routes;
    routes.on(kephas::command_id{1}, kephas::dispatch::pool, handler);
    routes.on(kephas::command_id{2}, kephas::dispatch::serial, handler);
    routes.on(kephas::command_id{3}, kephas::dispatch::on_strand, handler);
    kephas::server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.pool_threads = 2;
    options.in_flight.messages = 6;
    options.rate_limit = kephas::no_rate_limit();
    options.log = kephas::logger{};
    kephas::server server{std::move(routes), options};
    server.listen();
    std::thread serving{[&] { server.run(); }};

    // Of the messages of a client, those run that may be in flight: the pool's all, one of the serial and on_strand ones. The
    // others begin when their client has gone already, and end at their first co_await.
    const std::vector<std::uint32_t> commands{1, 2, 3, 1, 2, 1, 1, 2, 3};
    constexpr int running = 5;
    bool ended = true;
    for (int round = 0; ended && round < rounds; ++round) {
        std::vector<int> sockets;
        for (int i = 0; i < clients; ++i) {
            sockets.push_back(soak::connect_to(server.port()));
            soak::handshake(sockets.back(), "/ws");
            for (const std::uint32_t command : commands) soak::send_command(sockets.back(), command, std::to_string(i));
        }
        ended = handlers.wait_for(clients * running);
        if (!ended) std::printf("FAILED: not all handlers have begun\n");
        for (int i = 0; i < clients; ++i) {
            if (i % 2 == 0) {
                const linger reset{1, 0};
                ::setsockopt(sockets[static_cast<std::size_t>(i)], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            }
            died[static_cast<std::size_t>(i)] = std::chrono::steady_clock::now().time_since_epoch().count();
            ::close(sockets[static_cast<std::size_t>(i)]);
        }
        if (ended && !handlers.wait_for(0)) {
            std::printf("FAILED: handlers live on\n");
            ended = false;
        }
    }
    server.stop();
    serving.join();
    soak::latencies took = handlers.took();
    std::printf("%d clients, %d at a time: %zu handlers ended by the departure of their client\n", clients * rounds, clients,
                took.count());
    std::printf("from the end of the connection to the end of the handler, in ms: median %.1f, p99 %.1f, longest %.1f\n",
                took.quantile(0.5) / 1'000, took.quantile(0.99) / 1'000, took.quantile(1) / 1'000);
    const kephas::server_stats stats = server.stats();
    const auto least = static_cast<std::uint64_t>(clients) * static_cast<std::uint64_t>(rounds) * running;
    std::printf("handlers started %lu, cancelled %lu; clients opened %lu, closed %lu\n", stats.handlers_started,
                stats.handlers_cancelled, stats.opened, stats.closed);
    const bool counted = took.count() >= least && took.count() == stats.handlers_started &&
                         stats.handlers_cancelled == stats.handlers_started && stats.opened == stats.closed &&
                         stats.clients == 0;
    if (!counted) std::printf("FAILED: the counts differ\n");
    return ended && counted ? 0 : 1;
}
