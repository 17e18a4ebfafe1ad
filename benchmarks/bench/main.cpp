// Puts load on a WebSocket echo server over the loopback interface, checks every reply, and measures from outside: the
// latency of each message, and what the server's process spends on it.
#include "generator.hpp"
#include "options.hpp"
#include "server_process.hpp"
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

namespace {

using bench::generator;
using bench::options;
using bench::server_process;
using namespace std::chrono_literals;

/// Waits until the process has kept its size for half a second.
std::int64_t settled_resident_bytes(const server_process& server) {
    std::int64_t last = server.resident_bytes();
    for (int unchanged = 0; unchanged < 5; ++unchanged) {
        std::this_thread::sleep_for(100ms);
        if (const auto now = server.resident_bytes(); now != last) {
            last = now;
            unchanged = -1;
        }
    }
    return last;
}

/// What the server allocates once, for the first client, is not counted: the first connection is there before.
void measure_idle(const options& o, const server_process& server) {
    generator clients{o};
    clients.connect(1);
    const auto before = settled_resident_bytes(server);
    clients.connect(o.connections);
    const auto after = settled_resident_bytes(server);
    const double each = static_cast<double>(after - before) / static_cast<double>(o.connections);
    if (o.json) {
        fmt::print("{{\"connections\":{},\"server_resident_bytes\":{},\"resident_bytes_per_connection\":{:.1f}}}\n",
                   o.connections, after, each);
    } else {
        fmt::print("{} idle connections: {:.0f} resident bytes each, {:.1f} MiB in all\n", o.connections, each,
                   static_cast<double>(after) / (1 << 20));
    }
}

void report(const options& o, const bench::measurement& m, std::size_t clean_closes, const server_process* server) {
    const auto messages = static_cast<double>(m.latencies.count());
    const auto us = [&](double fraction) { return static_cast<double>(m.latencies.percentile(fraction)) / 1000; };
    const double max = static_cast<double>(m.latencies.max()) / 1000;
    const double cpu = static_cast<double>(m.server_cpu_nanoseconds) / 1000 / messages;
    const auto resident = server != nullptr ? server->resident_bytes() : 0;
    if (o.json) {
        fmt::print("{{\"connections\":{},\"messages\":{},\"seconds\":{:.6f},\"messages_per_second\":{:.0f},",
                   o.connections, m.latencies.count(), m.seconds, messages / m.seconds);
        fmt::print("\"p50_us\":{:.2f},\"p90_us\":{:.2f},\"p99_us\":{:.2f},\"max_us\":{:.2f},", us(0.5), us(0.9),
                   us(0.99), max);
        if (server != nullptr)
            fmt::print("\"server_cpu_us_per_message\":{:.4f},\"server_resident_bytes\":{},", cpu, resident);
        fmt::print("\"clean_closes\":{}}}\n", clean_closes);
        return;
    }
    fmt::print("messages  {} in {:.3f} s: {:.0f} per second\n", m.latencies.count(), m.seconds, messages / m.seconds);
    fmt::print("latency   p50 {:.1f}, p90 {:.1f}, p99 {:.1f}, max {:.1f} us\n", us(0.5), us(0.9), us(0.99), max);
    if (server != nullptr)
        fmt::print("server    {:.3f} us CPU per message, {:.1f} MiB resident\n", cpu,
                   static_cast<double>(resident) / (1 << 20));
    fmt::print("closed    {} of {} connections with pong and close\n", clean_closes, o.connections);
}

void run(const options& o) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    std::optional<server_process> server;
    if (o.server_pid != 0) server.emplace(o.server_pid);
    if (o.idle) return measure_idle(o, *server);

    const auto clients = std::make_unique<generator>(o);
    clients->connect(o.connections);
    const auto* const process = server ? &*server : nullptr;
    const bench::measurement result = clients->measure(process);
    report(o, result, clients->say_goodbye(), process);
}

}  // namespace

int main(int argc, char** argv) {
    int exit_code = 0;
    const auto o = bench::parse_options(argc, argv, exit_code);
    if (!o) return exit_code;
    try {
        run(*o);
    } catch (const std::exception& e) {
        fmt::print(stderr, "kephas-bench: {}\n", e.what());
        return 1;
    }
}
