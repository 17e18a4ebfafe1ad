// As many connections as one process may have descriptors for, and broadcasts to all of them: every delivery is accounted
// for on both sides, and memory and CPU time grow in a straight line.
//
//   soak-many-connections [--counts-only] [rounds] [connections...]
//
// The clients are a process of their own, on plain sockets. With --counts-only what was measured is shown and not judged.
#include "soak.hpp"

#include <kephas/kephas.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr std::uint32_t news = 7;  // the command that is broadcast
constexpr std::size_t body_size = 32;
constexpr std::size_t reserve = 100;  // descriptors for everything else

struct plan {
    bool judged = true;
    std::uint32_t rounds = 20;
    std::vector<std::size_t> steps;
};

// What the server's process tells the one of the clients, and how that answers: with how many broadcasts have arrived.
enum class order_kind : std::uint32_t { open, receive };
struct order {
    order_kind what = order_kind::open;
    std::uint64_t count = 0;  // connections to have, or broadcasts that each of them has to get
};
struct answer {
    std::uint64_t connections = 0, deliveries = 0;
};

template <class T>
void put(int pipe, const T& value) {
    if (::write(pipe, &value, sizeof(value)) != sizeof(value)) throw std::runtime_error{"the other process has gone"};
}
template <class T>
bool get(int pipe, T& value) {
    const ssize_t size = ::read(pipe, &value, sizeof(value));
    if (size != 0 && size != sizeof(value)) throw std::runtime_error{"half a message from the other process"};
    return size != 0;
}

std::string broadcast_body(std::uint64_t number) {
    std::string body = "broadcast " + std::to_string(number);
    body.resize(body_size, '.');
    return body;
}

// ---- the clients, in a process of their own

class listeners {
public:
    explicit listeners(std::uint16_t port) : port_{port}, epoll_{::epoll_create1(EPOLL_CLOEXEC)} {}

    void open(std::size_t total) {
        while (members_.size() < total) {
            const int fd = connect_from(members_.size());
            soak::handshake(fd, "/ws");
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u64 = members_.size();
            if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) throw std::runtime_error{"epoll_ctl"};
            members_.push_back({fd, next_, {}});
        }
    }
    /// Until each has got `count` broadcasts more, in order, and all of their bytes.
    void receive(std::uint64_t count) {
        next_ += count;
        for (std::size_t missing = members_.size() * count; missing > 0;) {
            std::array<epoll_event, 512> events;
            const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 30'000);
            if (ready < 0 && errno == EINTR) continue;
            if (ready <= 0) throw std::runtime_error{std::to_string(missing) + " deliveries have not come"};
            for (int i = 0; i < ready; ++i) missing -= read(members_[events[static_cast<std::size_t>(i)].data.u64]);
        }
    }
    [[nodiscard]] answer totals() const noexcept { return {members_.size(), deliveries_}; }

private:
    struct member {
        int fd;
        std::uint64_t expected;  // the number of the next one
        std::string rest;        // of a frame
    };

    /// From several loopback addresses: one has 28,000 ports, of which those of earlier runs may linger.
    [[nodiscard]] int connect_from(std::size_t index) const {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int on = 1;
        ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + static_cast<std::uint32_t>(index / 5'000));
        const bool bound = fd >= 0 && ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port_);
        if (!bound || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
            throw std::system_error{errno, std::system_category(), "connection " + std::to_string(index)};
        }
        return fd;
    }
    /// How many broadcasts came.
    std::size_t read(member& who) {
        std::array<char, 4096> buffer;
        const ssize_t size = ::recv(who.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
        if (size <= 0) throw std::runtime_error{"a connection has ended"};
        who.rest.append(buffer.data(), static_cast<std::size_t>(size));
        std::size_t count = 0;
        std::string_view all = who.rest;
        while (all.size() >= 2 && all.size() >= 2U + static_cast<unsigned char>(all[1])) {
            const std::string_view body = all.substr(2, static_cast<unsigned char>(all[1]));
            if (all[0] == '\x89') {
                const char pong[] = "\x8a\x80\0\0\0\0";  // to an empty ping
                if (!body.empty() || ::send(who.fd, pong, 6, MSG_NOSIGNAL) != 6) throw std::runtime_error{"a ping"};
            } else {
                const std::string expected = std::string{"\0\0\0\7", 4} + broadcast_body(who.expected);
                if (all[0] != '\x82' || body != expected) throw std::runtime_error{"not the next broadcast"};
                ++who.expected;
                ++count;
            }
            all.remove_prefix(2 + body.size());
        }
        who.rest.erase(0, who.rest.size() - all.size());
        deliveries_ += count;
        return count;
    }

    std::uint16_t port_;
    int epoll_;
    std::vector<member> members_;
    std::uint64_t next_ = 0;  // the number of the next broadcast
    std::uint64_t deliveries_ = 0;
};

int run_clients(int orders, int answers) {
    std::uint16_t port = 0;
    if (!get(orders, port)) return 1;
    listeners all{port};
    for (order next; get(orders, next);) {
        if (next.what == order_kind::open) all.open(next.count);
        else all.receive(next.count);
        put(answers, all.totals());
    }
    return 0;
}

// ---- the server

struct row {
    std::size_t connections = 0;
    double idle_bytes = 0, told_bytes = 0;  // resident, all together: before the first broadcast, and after the last
    double cpu = 0, seconds = 0;            // of all deliveries
};

double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class broadcaster {
public:
    explicit broadcaster(kephas::server& server) : server_{server} {}

    kephas::broadcast_report send() {
        kephas::broadcast_report report;
        asio::io_context here;
        asio::co_spawn(here,
                       server_.clients().broadcast(kephas::command_id{news}, kephas::payload{broadcast_body(sent_++)}),
                       [&](std::exception_ptr failure, kephas::broadcast_report what) {
                           if (failure) std::rethrow_exception(failure);
                           report = what;
                       });
        here.run();
        return report;
    }

private:
    kephas::server& server_;
    std::uint64_t sent_ = 0;
};

void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error{what};
}

void check_accounts(const kephas::server_stats& stats, std::uint64_t deliveries) {
    const kephas::outbound_counters& sent = stats.outbound.counters;
    std::printf("messages: %lu queued = %lu written + %lu dropped + %lu replaced + %lu discarded + %lu still queued\n",
                sent.queued_messages, sent.written_messages, sent.dropped_messages, sent.replaced_messages,
                sent.discarded_messages, stats.outbound.still_queued_messages);
    require(sent.queued_messages == sent.written_messages + sent.dropped_messages + sent.replaced_messages +
                                        sent.discarded_messages + stats.outbound.still_queued_messages,
            "the counters of the messages do not add up");
    require(sent.queued_bytes == sent.written_bytes + sent.dropped_bytes + sent.replaced_bytes + sent.discarded_bytes +
                                     stats.outbound.still_queued_bytes,
            "the counters of the bytes do not add up");
    require(sent.written_messages == deliveries && sent.dropped_messages == 0 && stats.broadcast_dropped == 0,
            "not everything was delivered, or more than that");
}

/// The coefficient of determination of the straight line through the rows, and its slope.
template <class Value>
std::pair<double, double> straight_line(const std::vector<row>& rows, Value value) {
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
    for (const row& each : rows) {
        const double x = static_cast<double>(each.connections), y = value(each);
        n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y, syy += y * y;
    }
    const double covariance = n * sxy - sx * sy;
    const double spread = n * sxx - sx * sx;
    return {covariance * covariance / (spread * (n * syy - sy * sy)), covariance / spread};
}

std::vector<row> measure(const plan& what, kephas::server& server, int orders, int answers, std::uint64_t& deliveries) {
    broadcaster all{server};
    const auto tell = [&](order_kind kind, std::uint64_t count) {
        put(orders, order{kind, count});
        answer reply;
        require(get(answers, reply), "the clients have gone");
        return reply;
    };
    const double before = static_cast<double>(soak::memory("VmRSS:")) * 1024;
    std::vector<row> rows;
    std::printf("%11s %22s %22s %25s %18s\n", "connections", "bytes each, idle", "and told something", "CPU us per delivery", "ms per broadcast");
    for (const std::size_t connections : what.steps) {
        row now{.connections = connections};
        require(tell(order_kind::open, connections).connections == connections, "not everybody is connected");
        require(server.stats().clients == connections, "the server counts other clients than those");
        now.idle_bytes = static_cast<double>(soak::memory("VmRSS:")) * 1024 - before;
        for (std::uint32_t round = 0; round <= what.rounds; ++round) {
            const double cpu = cpu_seconds();
            const auto start = std::chrono::steady_clock::now();
            require(all.send() == kephas::broadcast_report{.queued = connections, .dropped = 0}, "a broadcast did not reach everybody");
            deliveries += connections;
            require(tell(order_kind::receive, 1).deliveries == deliveries, "the clients have got something else than that");
            if (round == 0) continue;  // those who are new take their first memory for it
            now.cpu += cpu_seconds() - cpu;
            now.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        now.told_bytes = static_cast<double>(soak::memory("VmRSS:")) * 1024 - before;
        const double each = static_cast<double>(connections);
        std::printf("%11zu %22.0f %22.0f %25.2f %18.1f\n", connections, now.idle_bytes / each, now.told_bytes / each,
                    now.cpu * 1e6 / each / what.rounds, now.seconds * 1e3 / what.rounds);
        rows.push_back(now);
    }
    return rows;
}

void judge(const plan& what, const std::vector<row>& rows) {
    if (rows.size() < 3) return;
    const auto [memory_fit, memory_slope] = straight_line(rows, [](const row& each) { return each.told_bytes; });
    const auto [cpu_fit, cpu_slope] = straight_line(rows, [&](const row& each) { return each.cpu / what.rounds; });
    std::printf("memory: %.0f bytes for each more, R^2 = %.4f; CPU time of a broadcast: %.2f us for each more, R^2 = %.4f\n",
                memory_slope, memory_fit, cpu_slope * 1e6, cpu_fit);
    if (!what.judged) return;
    require(memory_fit >= 0.99, "memory does not grow in a straight line");
    require(cpu_fit >= 0.95, "the time of a broadcast does not grow in a straight line");
}

void run_server(const plan& what, int orders, int answers) {
    kephas::server_options options;  // with all defaults that concern a connection
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.io_threads = 1;
    options.pool_threads = 1;
    options.connections.total = what.steps.back() + reserve / 2;
    options.log = kephas::logger{};
    kephas::server server{kephas::router{}, options};
    server.listen();
    std::thread serving{[&] { server.run(); }};
    std::exception_ptr failure;
    std::uint64_t deliveries = 0;
    try {
        put(orders, server.port());
        judge(what, measure(what, server, orders, answers, deliveries));
    } catch (...) {
        failure = std::current_exception();
    }
    ::close(orders);  // the clients end
    answer last;
    while (::read(answers, &last, sizeof(last)) > 0) {
    }
    server.stop();
    serving.join();
    if (failure) std::rethrow_exception(failure);
    const kephas::server_stats stats = server.stats();
    check_accounts(stats, deliveries);
    require(stats.opened == what.steps.back() && stats.closed == stats.opened && stats.clients == 0 &&
                stats.outbound.still_queued_messages == 0 && stats.outbox_memory == 0,
            "something is left of the connections");
}

/// As many descriptors as the system gives; steps that need more are left out, and said to be.
void fit(plan& what) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    const auto too_many = [&](std::size_t connections) { return connections + reserve > limit.rlim_cur; };
    const std::size_t count = std::erase_if(what.steps, too_many);
    if (count > 0) std::printf("skipped: the %zu largest steps need more than %lu descriptors\n", count, limit.rlim_cur);
}

}  // namespace

int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::signal(SIGPIPE, SIG_IGN);  // the other process may have gone
    plan what;
    std::vector<std::size_t> numbers;
    for (int i = 1; i < argc; ++i) {
        if (std::string_view{argv[i]} == "--counts-only") what.judged = false;
        else numbers.push_back(static_cast<std::size_t>(std::atol(argv[i])));
    }
    if (!numbers.empty()) what.rounds = static_cast<std::uint32_t>(numbers.front());
    if (numbers.size() > 1) what.steps.assign(numbers.begin() + 1, numbers.end());
    else what.steps = {1'000, 2'500, 5'000, 7'500, 10'000, 12'500, 15'000, 17'500, 19'000};
    fit(what);
    if (what.steps.empty()) return 77;

    int orders[2];
    int answers[2];
    if (::pipe(orders) != 0 || ::pipe(answers) != 0) return 1;
    const pid_t clients = ::fork();
    try {
        if (clients == 0) {
            ::close(orders[1]);
            ::close(answers[0]);
            return run_clients(orders[0], answers[1]);
        }
        ::close(orders[0]);
        ::close(answers[1]);
        run_server(what, orders[1], answers[0]);
    } catch (const std::exception& error) {
        std::printf("FAILED: %s: %s\n", clients == 0 ? "the clients" : "the server", error.what());
        return 1;
    }
    int status = 1;
    ::waitpid(clients, &status, 0);
    return status == 0 ? 0 : 1;
}
