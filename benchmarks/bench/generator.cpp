#include "generator.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t scratch_size = 256 * 1024;
constexpr std::size_t connections_per_address = 20'000;  // of some 28,000 ephemeral ports
constexpr int patience_ms = 10'000;
constexpr std::int64_t warm_up_ns = 200'000'000;

std::int64_t monotonic_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

int open_when_up(const options& o, std::uint32_t source) {
    const std::int64_t deadline = monotonic_ns() + 5'000'000'000;
    for (;;) {
        try {
            return open_websocket(o, source);
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::connection_refused || monotonic_ns() > deadline) throw;
        }
        std::this_thread::sleep_for(10ms);
    }
}

}  // namespace

generator::generator(const options& o)
    : options_{o}, workload_{o}, epoll_{epoll_create1(EPOLL_CLOEXEC)}, scratch_(scratch_size) {
    if (epoll_ < 0) throw std::system_error{errno, std::generic_category(), "epoll_create1"};
}

generator::~generator() { close(epoll_); }

void generator::connect(std::size_t count) {
    for (; count > 0; --count) {
        const auto address =
            INADDR_LOOPBACK + static_cast<std::uint32_t>(connections_.size() / connections_per_address);
        auto& added = connections_.emplace_back(open_when_up(options_, address), options_, workload_);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &added;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, added.fd(), &event) != 0)
            throw std::system_error{errno, std::generic_category(), "epoll_ctl"};
    }
}

void generator::flush(connection& c) {
    const bool was_blocked = c.blocked();
    c.flush(now_);
    if (c.blocked() == was_blocked) return;
    epoll_event event{};
    event.events = c.blocked() ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &c;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd(), &event);
}

void generator::turn() {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), patience_ms);
    if (count < 0 && errno != EINTR) throw std::system_error{errno, std::generic_category(), "epoll_wait"};
    if (count == 0) {
        std::size_t unanswered = 0;
        for (const connection& c : connections_) unanswered += c.unanswered();
        throw server_fault{"nothing for ten seconds; " + std::to_string(unanswered) + " messages not answered"};
    }
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        auto& c = *static_cast<connection*>(event.data.ptr);
        now_ = monotonic_ns();
        if ((event.events & ~std::uint32_t{EPOLLOUT}) != 0) {
            c.receive(scratch_, now_, latencies_);
            if (c.ended()) {
                epoll_ctl(epoll_, EPOLL_CTL_DEL, c.fd(), nullptr);
                ++ended_;
                continue;
            }
            if (sending_) c.replace_answered();
        }
        flush(c);
    }
}

void generator::turn_until(const std::function<bool()>& done) {
    while (!done()) turn();
}

measurement generator::measure(const server_process* server) {
    const auto server_cpu = [&] { return server != nullptr ? server->cpu_nanoseconds() : 0; };
    const auto answered = [&] { return latencies_.count(); };

    // as many messages unmeasured as a tenth of those measured, and at least two rounds of all
    sending_ = true;
    now_ = monotonic_ns();
    std::int64_t deadline = now_ + warm_up_ns;
    std::uint64_t wanted = options_.messages.value_or(0) / 10 + 2 * options_.in_flight * connections_.size();
    for (connection& c : connections_) {
        c.start();
        flush(c);
    }
    turn_until([&] { return answered() >= wanted && (options_.messages || now_ >= deadline); });

    latencies_.clear();
    const std::int64_t cpu_before = server_cpu();
    const std::int64_t begin = monotonic_ns();
    deadline = begin + static_cast<std::int64_t>(options_.seconds * 1e9);
    wanted = options_.messages.value_or(0);
    turn_until([&] { return options_.messages ? answered() >= wanted : now_ >= deadline; });

    measurement result;
    result.server_cpu_nanoseconds = server_cpu() - cpu_before;
    result.seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
    result.latencies = latencies_;

    sending_ = false;
    turn_until([&] {
        return std::all_of(connections_.begin(), connections_.end(), [](const auto& c) { return c.unanswered() == 0; });
    });
    return result;
}

std::size_t generator::say_goodbye() {
    for (connection& c : connections_) {
        c.leave();
        flush(c);
    }
    turn_until([&] { return ended_ == connections_.size(); });
    return static_cast<std::size_t>(
        std::count_if(connections_.begin(), connections_.end(), [](const auto& c) { return c.closed_cleanly(); }));
}

}  // namespace bench
