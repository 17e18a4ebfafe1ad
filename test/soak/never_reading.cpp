// Clients that never read, while broadcasts go out faster than anybody could take them: the memory of the server stays
// within what its budget allows, what was sent adds up to the byte, and clients that read hardly notice.
//
//   soak-never-reading [clients] [seconds] [budget in MiB] [limit of the resident memory in MiB]
//
// The clients are a process of their own, on plain sockets. Half of those that never read get broadcasts under
// `drop_oldest`, half under `close`; these come back as soon as they see that they were closed.
#include "soak.hpp"

#include <kephas/kephas.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t message_size = 64 * 1024;
constexpr int broadcasts_per_second = 800;
constexpr int steady_clients = 50;

struct plan {
    int clients = 2'000;
    int seconds = 60;
    std::size_t budget = 128;  // MiB
    long limit = 256;          // MiB
};

// ---- the clients, in a process of their own

/// Connects, sends the handshake, reads its answer, and never reads again.
class crowd_of_sleepers {
public:
    crowd_of_sleepers(std::uint16_t port, int count) : port_{port}, epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
        for (int i = 0; i < count; ++i) open(i % 2 == 0);
    }
    void turn() {
        epoll_event events[256];
        const int count = ::epoll_wait(epoll_, events, 256, 20);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            const bool dropping = dropping_.at(fd);
            dropping_.erase(fd);
            ::close(fd);
            ++comebacks_;
            open(dropping);
        }
    }
    [[nodiscard]] long comebacks() const noexcept { return comebacks_; }

private:
    void open(bool dropping) {
        const int fd = soak::connect_to(port_, 4096);
        soak::handshake(fd, dropping ? "/ws?policy=drop" : "/ws?policy=close");
        dropping_.emplace(fd, dropping);
        epoll_event event{};
        event.events = EPOLLRDHUP;  // and EPOLLHUP, EPOLLERR; not that there is something to read
        event.data.fd = fd;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }

    std::uint16_t port_;
    int epoll_;
    std::unordered_map<int, bool> dropping_;
    long comebacks_ = 0;
};

/// Round trips of clients that read, one after the other, until `stop`.
soak::latencies talk(std::vector<int>& sockets, const std::atomic<bool>& stop) {
    soak::latencies all;
    while (!stop) {
        for (const int fd : sockets) all.add(soak::echo(fd, 1, "are you there?"));
        std::this_thread::sleep_for(10ms);  // the rhythm of the load, nothing waits for it
    }
    return all;
}

int run_clients(std::uint16_t port, const plan& what, int started) {
    std::vector<int> steady;
    for (int i = 0; i < steady_clients; ++i) {
        steady.push_back(soak::connect_to(port));
        soak::handshake(steady.back(), "/ws");
    }
    const auto measure = [&](auto&& meanwhile) {
        std::atomic<bool> stop{false};
        soak::latencies result;
        std::thread talking{[&] { result = talk(steady, stop); }};
        meanwhile();
        stop = true;
        talking.join();
        return result;
    };
    soak::latencies before = measure([] { std::this_thread::sleep_for(2s); });
    crowd_of_sleepers sleepers{port, what.clients};
    if (::write(started, "x", 1) != 1) return 1;  // the broadcasts may begin
    soak::latencies during = measure([&] {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{what.seconds};
        while (std::chrono::steady_clock::now() < end) sleepers.turn();
    });
    std::printf("round trip of %d clients that read, in microseconds: median %.0f, p99 %.0f without load; median %.0f, p99 %.0f with it\n",
                steady_clients, before.quantile(0.5), before.quantile(0.99), during.quantile(0.5), during.quantile(0.99));
    std::printf("clients that were closed and came back: %ld\n", sleepers.comebacks());
    return 0;
}

// ---- the server

class audience {
public:
    void add(const kephas::client& who) {
        const std::lock_guard lock{mutex_};
        (who.query("policy") == "drop" ? dropping_ : closing_).emplace(who.id(), who);
    }
    void remove(const kephas::client& who) {
        const std::lock_guard lock{mutex_};
        dropping_.erase(who.id());
        closing_.erase(who.id());
    }
    void send(const kephas::slice& message) {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, who] : dropping_) {
            (void)who.try_send(kephas::command_id{7}, kephas::payload{message}, kephas::overflow_policy::drop_oldest);
        }
        for (const auto& [id, who] : closing_) {
            (void)who.try_send(kephas::command_id{7}, kephas::payload{message}, kephas::overflow_policy::close);
        }
    }

private:
    std::mutex mutex_;
    std::unordered_map<kephas::client_id, kephas::client> dropping_, closing_;
};

bool adds_up(const kephas::outbound_totals& sent) {
    const kephas::outbound_counters& c = sent.counters;
    std::printf("messages: %lu queued = %lu written + %lu dropped + %lu replaced + %lu discarded + %lu still queued\n",
                c.queued_messages, c.written_messages, c.dropped_messages, c.replaced_messages, c.discarded_messages,
                sent.still_queued_messages);
    std::printf("bytes:    %lu queued = %lu written + %lu dropped + %lu replaced + %lu discarded + %lu still queued\n",
                c.queued_bytes, c.written_bytes, c.dropped_bytes, c.replaced_bytes, c.discarded_bytes,
                sent.still_queued_bytes);
    return c.queued_messages == c.written_messages + c.dropped_messages + c.replaced_messages + c.discarded_messages +
                                    sent.still_queued_messages &&
           c.queued_bytes ==
               c.written_bytes + c.dropped_bytes + c.replaced_bytes + c.discarded_bytes + sent.still_queued_bytes;
}

int run_server(const plan& what, int tell_port, int started, pid_t clients) {
    audience listeners;
    kephas::router routes;
    routes.on(kephas::command_id{1}, kephas::dispatch::on_strand,
              [](kephas::request req) -> asio::awaitable<std::optional<kephas::payload>> {
                  co_return kephas::payload{req.share()};
              });
    routes.on_connect([&](kephas::client who) -> asio::awaitable<void> {
        if (who.query("policy")) listeners.add(who);
        co_return;
    });
    routes.on_disconnect([&](kephas::client who, kephas::close_info) -> asio::awaitable<void> {
        listeners.remove(who);
        co_return;
    });
    kephas::server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.io_threads = 1;
    options.pool_threads = 1;
    options.rate_limit = kephas::no_rate_limit();
    options.outbox_budget = what.budget * 1024 * 1024;
    options.write_timeout = kephas::duration::zero();  // they are slow on purpose, for as long as it takes
    options.drain.deadline = 1s;
    options.log = kephas::logger{};
    kephas::server server{std::move(routes), options};
    server.listen();
    const std::uint16_t port = server.port();
    if (::write(tell_port, &port, sizeof(port)) != sizeof(port)) return 1;
    std::thread serving{[&] { server.run(); }};

    char go = 0;
    if (::read(started, &go, 1) != 1) return 1;
    const long before = soak::memory("VmRSS:");
    const auto begin = std::chrono::steady_clock::now();
    long sent = 0;
    std::size_t most_charged = 0;
    for (; std::chrono::steady_clock::now() - begin < std::chrono::seconds{what.seconds}; ++sent) {
        std::this_thread::sleep_until(begin + sent * 1'000'000us / broadcasts_per_second);
        kephas::slice message = kephas::slice::allocate(message_size);
        std::fill(message.bytes().begin(), message.bytes().end(), static_cast<std::byte>(sent));
        listeners.send(message);
        if (sent % 40 == 0) most_charged = std::max(most_charged, server.stats().outbox_memory);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const kephas::server_stats stats = server.stats();
    bool sums = adds_up(stats.outbound);
    const long peak = soak::memory("VmHWM:");
    std::printf("%ld broadcasts of 64 KiB in %.1f s to %d clients that never read\n", sent, seconds, what.clients);
    std::printf("budget: %zu MiB, at most %zu MiB charged\n", what.budget, most_charged >> 20);
    std::printf("resident memory: %ld MiB before, peak %ld MiB\n", before >> 10, peak >> 10);
    int status = 1;
    ::waitpid(clients, &status, 0);
    server.stop();
    serving.join();
    const kephas::server_stats after = server.stats();
    sums = adds_up(after.outbound) && sums && after.outbound.still_queued_bytes == 0 && after.outbox_memory == 0;
    const bool bounded = peak >> 10 <= what.limit && most_charged <= (what.budget << 20) + 2 * message_size * 1024;
    if (!sums) std::printf("FAILED: the counters do not add up\n");
    if (!bounded) std::printf("FAILED: more memory than %ld MiB\n", what.limit);
    return sums && bounded && status == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    plan what;
    if (argc > 1) what.clients = std::atoi(argv[1]);
    if (argc > 2) what.seconds = std::atoi(argv[2]);
    if (argc > 3) what.budget = static_cast<std::size_t>(std::atol(argv[3]));
    if (argc > 4) what.limit = std::atol(argv[4]);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    int port_pipe[2];
    int start_pipe[2];
    if (::pipe(port_pipe) != 0 || ::pipe(start_pipe) != 0) return 1;
    const pid_t clients = ::fork();
    if (clients == 0) {
        std::uint16_t port = 0;
        if (::read(port_pipe[0], &port, sizeof(port)) != sizeof(port)) return 1;
        try {
            return run_clients(port, what, start_pipe[1]);
        } catch (const std::exception& error) {
            std::printf("FAILED: a client: %s\n", error.what());
            return 1;
        }
    }
    ::close(start_pipe[1]);
    return run_server(what, port_pipe[1], start_pipe[0], clients);
}
