#include "generator.hpp"

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
constexpr std::int64_t patience = 10'000'000'000;
constexpr int longest_wait_ms = 100;  // until a stop is noticed

std::uint64_t share_of(std::uint64_t all, std::size_t index, std::size_t parts) {
    return all / parts + (index < all % parts ? 1 : 0);
}

}  // namespace

std::int64_t monotonic_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

generator::generator(const options& o, const server_address& server, const tls_settings& tls, std::size_t index)
    : options_{o},
      server_{server},
      tls_{tls},
      index_{index},
      share_{share_of(o.connections, index, o.threads)},
      workload_{o},
      epoll_{epoll_create1(EPOLL_CLOEXEC)},
      scratch_(scratch_size),
      budget_{o.messages ? share_of(*o.messages, index, o.threads) : std::numeric_limits<std::uint64_t>::max()} {
    if (epoll_ < 0) throw std::system_error{errno, std::generic_category(), "epoll_create1"};
}

generator::~generator() { close(epoll_); }

void generator::connect(std::size_t count) {
    const std::int64_t deadline = monotonic_ns() + 5'000'000'000;
    while (connections_.size() < count) {
        if (stop_) throw std::runtime_error{"stopped"};
        const std::size_t number = connections_.size() * options_.threads + index_;
        try {
            channel opened = server_.open_websocket(options_, tls_, number);
            if (options_.idle) opened.forget_tls();
            connections_.emplace_back(std::move(opened), number, options_, workload_, recorder_);
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::connection_refused || !connections_.empty() || monotonic_ns() > deadline) throw;
            std::this_thread::sleep_for(10ms);
            continue;
        }
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &connections_.back();
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_.back().fd(), &event) != 0)
            throw std::system_error{errno, std::generic_category(), "epoll_ctl"};
    }
}

void generator::run(const plan& p) {
    recorder_.from = options_.messages ? p.begin : p.from;
    recorder_.to = p.to;
    recorder_.by_intention = options_.rate.has_value();
    // the threads take turns: together they send at the rate of all, evenly
    const double share = static_cast<double>(share_) / static_cast<double>(options_.connections);
    const schedule times{options_.rate.value_or(1) * share, p.begin,
                         static_cast<double>(index_) / static_cast<double>(options_.threads)};
    bool measuring = false;
    sending_ = true;
    now_ = last_event_ = monotonic_ns();
    const auto begin_measuring = [&] {
        measuring = now_ >= p.from;
        if (measuring && p.at_from) p.at_from();
    };
    begin_measuring();
    if (!options_.rate) ask_first();
    for (;;) {
        if (options_.rate) ask_scheduled(times, p.to);  // all that was due before the end, however late it is
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

void generator::ask_first() {
    if (options_.broadcast) {
        connections_.front().send_only();
        publish();
        return;
    }
    for (std::size_t i = 0; i < options_.depth; ++i)
        for (connection& c : connections_) ask_one(c);
    for (connection& c : connections_) flush(c);
}

void generator::ask_one(connection& c) {
    if (budget_ == 0) return;
    --budget_;
    c.ask();
    ++outstanding_;
}

void generator::replace(connection& c, std::size_t answered) {
    if (!sending_ || options_.rate) return;
    if (!options_.broadcast) {
        for (; answered > 0; --answered) ask_one(c);
    } else if (outstanding_ == 0) {
        publish();
    }
}

/// The next round of a broadcast: as many messages as are to be in flight, each to every other connection.
void generator::publish() {
    connection& from = connections_.front();
    const std::size_t receivers = connections_.size() - 1;
    for (std::size_t i = 0; i < options_.depth && budget_ > 0; ++i) {
        budget_ -= std::min<std::uint64_t>(budget_, receivers);
        from.ask();
        outstanding_ += receivers;
        for (std::size_t k = 1; k <= receivers; ++k) connections_[k].expect(now_);
    }
    flush(from);
}

void generator::ask_scheduled(const schedule& times, std::int64_t end) {
    now_ = monotonic_ns();
    const std::uint64_t due = times.due_by(std::min(now_, end - 1));
    const std::uint64_t first = scheduled_;
    for (; scheduled_ < due; ++scheduled_) {
        connections_[scheduled_ % connections_.size()].ask(times.due_at(scheduled_));
        ++outstanding_;
    }
    const std::uint64_t touched = std::min<std::uint64_t>(due - first, connections_.size());
    for (std::uint64_t i = 0; i < touched; ++i)
        if (connection& c = connections_[(first + i) % connections_.size()]; !c.blocked()) flush(c);
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

void generator::turn(int timeout_ms) {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
    if (count < 0 && errno != EINTR) throw std::system_error{errno, std::generic_category(), "epoll_wait"};
    now_ = monotonic_ns();
    if (stop_.load(std::memory_order_relaxed)) throw std::runtime_error{"stopped"};
    if (count > 0 || (sending_ && outstanding_ == 0)) last_event_ = now_;
    if (now_ - last_event_ > patience)
        throw server_fault{"nothing for ten seconds; " + std::to_string(outstanding_) + " messages not answered"};
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (i > 0) now_ = monotonic_ns();
        on_event(*static_cast<connection*>(event.data.ptr), event.events);
    }
}

void generator::on_event(connection& c, std::uint32_t what) {
    if ((what & ~std::uint32_t{EPOLLOUT}) != 0) {
        const std::size_t answered = c.receive(scratch_, now_);
        outstanding_ -= answered;
        answered_.store(answered_.load(std::memory_order_relaxed) + answered, std::memory_order_relaxed);
        if (c.ended()) {
            epoll_ctl(epoll_, EPOLL_CTL_DEL, c.fd(), nullptr);
            ++ended_;
            return;
        }
        replace(c, answered);
    }
    flush(c);
}

std::size_t generator::say_goodbye() {
    now_ = last_event_ = monotonic_ns();
    for (connection& c : connections_) {
        c.leave();
        flush(c);
    }
    while (ended_ < connections_.size()) turn(longest_wait_ms);
    return static_cast<std::size_t>(
        std::count_if(connections_.begin(), connections_.end(), [](const auto& c) { return c.closed_cleanly(); }));
}

}  // namespace bench
