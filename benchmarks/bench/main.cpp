// Measures a WebSocket echo server from outside: the latency of each message, and what the server's process spends on
// it.
#include "options.hpp"
#include "report.hpp"
#include "run.hpp"
#include "server_process.hpp"
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace {

using namespace bench;

/// As many as the process may have. Throws if that is not enough for the connections.
void provide_descriptors(std::size_t connections) {
    constexpr std::size_t others = 32;  // standard streams, an epoll set for each of a few threads, files of /proc
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < connections + others)
        throw std::runtime_error{fmt::format("{} connections need as many open files, and the limit is {} (ulimit -Hn)",
                                             connections, files.rlim_max)};
}

circumstances here_and_now() {
    circumstances c{"unknown", std::string(64, '\0')};
    std::ifstream cpus{"/proc/cpuinfo"};
    for (std::string line; std::getline(cpus, line);)
        if (line.starts_with("model name")) {
            c.machine = line.substr(std::min(line.find(": ") + 2, line.size()));
            break;
        }
    c.machine += fmt::format(", {} CPUs", sysconf(_SC_NPROCESSORS_ONLN));
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    c.date.resize(std::strftime(c.date.data(), c.date.size(), "%Y-%m-%d %H:%M UTC", &utc));
    return c;
}

void show(const progress& p) {
    const std::string of = p.of > 0 ? fmt::format(" of {:.1f}", p.of) : "";
    fmt::print(stderr, "\r{:.1f}{} s, {} messages, {:.0f} per second\x1b[K", p.seconds, of, p.messages,
               static_cast<double>(p.messages) / p.seconds);
    std::fflush(stderr);
}

void report_idle(const options& o, const server_process& server) {
    const idle_memory m = measure_idle(o, server);
    if (o.json) {
        fmt::print("{{\"connections\":{},\"server_resident_bytes\":{},\"resident_bytes_per_connection\":{:.1f}}}\n",
                   o.connections, m.resident_bytes, m.each);
    } else {
        fmt::print("{} idle connections: {:.0f} resident bytes each, {:.1f} MiB in all\n", o.connections, m.each,
                   static_cast<double>(m.resident_bytes) / (1 << 20));
    }
}

void measure(const options& o, const server_process* server) {
    if (!o.html.empty() && !std::ofstream{o.html, std::ios::app})  // a wrong name is to be known before the work
        throw std::system_error{errno, std::generic_category(), o.html};
    const bool watched = isatty(STDERR_FILENO) == 1;
    const measurement m = run(o, server, watched ? show : std::function<void(const progress&)>{});
    if (watched) fmt::print(stderr, "\r\x1b[K");
    if (!o.html.empty()) {
        std::ofstream page{o.html};
        page << html_report(o, m, here_and_now());
        page.close();
        if (!page) throw std::runtime_error{o.html + ": cannot be written"};
    }
    fmt::print("{}", o.json ? json_report(o, m) : text_report(o, m));
}

}  // namespace

int main(int argc, char** argv) {
    int exit_code = 0;
    const auto o = parse_options(argc, argv, exit_code);
    if (!o) return exit_code;
    try {
        std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
        provide_descriptors(o->connections);
        std::optional<server_process> server;
        if (o->pid != 0) server.emplace(o->pid);
        if (o->idle)
            report_idle(*o, *server);
        else
            measure(*o, server ? &*server : nullptr);
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}kephas-bench: {}\n", isatty(STDERR_FILENO) == 1 ? "\r\x1b[K" : "", e.what());
        return 1;
    }
}
