#include "load.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>

namespace bench {

namespace {

constexpr std::size_t scratch_size = 256 * 1024;
constexpr std::int64_t patience = 10'000'000'000;

std::uint64_t share_of(std::uint64_t all, std::size_t index, std::size_t parts) {
    return all / parts + (index < all % parts ? 1 : 0);
}

}  // namespace

std::int64_t monotonic_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

load::load(const options& o, std::size_t index)
    : options_{o},
      index_{index},
      share_{share_of(o.connections, index, o.threads)},
      scratch_(scratch_size),
      budget_{o.messages ? share_of(*o.messages, index, o.threads) : std::numeric_limits<std::uint64_t>::max()},
      epoll_{epoll_create1(EPOLL_CLOEXEC)} {
    if (epoll_ < 0) throw std::system_error{errno, std::generic_category(), "epoll_create1"};
}

load::~load() { close(epoll_); }

void load::run(const plan& p) {
    recorder_.from = options_.messages ? p.begin : p.from;
    recorder_.to = p.to;
    recorder_.by_intention = options_.rate.has_value();
    bool measuring = false;
    sending_ = true;
    now_ = last_event_ = monotonic_ns();
    const auto begin_measuring = [&] {
        measuring = now_ >= p.from;
        if (measuring && p.at_from) p.at_from();
    };
    begin_measuring();
    begin(p);
    for (;;) {
        if (options_.rate) catch_up(p);
        if (sending_ && !measuring) begin_measuring();
        if (sending_ && (now_ >= p.to || budget_ == 0)) {
            sending_ = false;
            if (now_ >= p.to && p.at_to) p.at_to();
        }
        if (!sending_ && outstanding_ == 0) return;
        if (options_.rate) {
            turn(0);  // a client that polls is not woken late
        } else {
            const std::int64_t next = !measuring ? p.from : sending_ ? p.to : std::numeric_limits<std::int64_t>::max();
            turn(static_cast<int>(std::clamp<std::int64_t>((next - now_) / 1'000'000 + 1, 0, longest_wait_ms)));
        }
    }
}

void load::turn(int timeout_ms) {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
    if (count < 0 && errno != EINTR) throw std::system_error{errno, std::generic_category(), "epoll_wait"};
    now_ = monotonic_ns();
    stop_if_told();
    if (count > 0 || (sending_ && outstanding_ == 0)) last_event_ = now_;
    if (now_ - last_event_ > patience)
        throw server_fault{"nothing for ten seconds; " + std::to_string(outstanding_) + " messages not answered"};
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (i > 0) now_ = monotonic_ns();
        on_event(event.data.ptr, event.events);
    }
}

void load::stop_if_told() const {
    if (stop_.load(std::memory_order_relaxed)) throw std::runtime_error{"stopped"};
}

void load::watch(int operation, int fd, std::uint32_t what, void* who) const {
    epoll_event event{};
    event.events = what;
    event.data.ptr = who;
    if (epoll_ctl(epoll_, operation, fd, &event) != 0)
        throw std::system_error{errno, std::generic_category(), "epoll_ctl"};
}

void load::count_answered(std::size_t messages) noexcept {
    outstanding_ -= messages;
    answered_.store(answered_.load(std::memory_order_relaxed) + messages, std::memory_order_relaxed);
}

}  // namespace bench
