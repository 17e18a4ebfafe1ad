#include "generator.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>

namespace bench {

using namespace std::chrono_literals;

generator::generator(const options& o, const server_address& server, const tls_settings& tls, std::size_t index)
    : load{o, index}, server_{server}, tls_{tls}, workload_{o} {}

void generator::connect(std::size_t count) {
    const std::int64_t deadline = monotonic_ns() + 5'000'000'000;
    while (connections_.size() < count) {
        stop_if_told();
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
        watch(EPOLL_CTL_ADD, connections_.back().fd(), EPOLLIN, &connections_.back());
    }
}

void generator::begin(const plan& p) {
    if (options_.rate) {
        // the threads take turns: together they send at the rate of all, evenly
        const double share = static_cast<double>(share_) / static_cast<double>(options_.connections);
        schedule_.emplace(*options_.rate * share, p.begin,
                          static_cast<double>(index_) / static_cast<double>(options_.threads));
    } else if (options_.broadcast) {
        connections_.front().send_only();
        publish();
    } else {
        for (std::size_t i = 0; i < options_.depth; ++i)
            for (connection& c : connections_) ask_one(c);
        for (connection& c : connections_) flush(c);
    }
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

/// Asks for all that was due before the end, however late it is.
void generator::catch_up(const plan& p) {
    now_ = monotonic_ns();
    const std::uint64_t due = schedule_->due_by(std::min(now_, p.to - 1));
    const std::uint64_t first = scheduled_;
    for (; scheduled_ < due; ++scheduled_) {
        connections_[scheduled_ % connections_.size()].ask(schedule_->due_at(scheduled_));
        ++outstanding_;
    }
    const std::uint64_t touched = std::min<std::uint64_t>(due - first, connections_.size());
    for (std::uint64_t i = 0; i < touched; ++i)
        if (connection& c = connections_[(first + i) % connections_.size()]; !c.blocked()) flush(c);
}

void generator::flush(connection& c) {
    const bool was_blocked = c.blocked();
    c.flush(now_);
    if (c.blocked() != was_blocked) watch(EPOLL_CTL_MOD, c.fd(), c.blocked() ? EPOLLIN | EPOLLOUT : EPOLLIN, &c);
}

void generator::on_event(void* who, std::uint32_t what) {
    connection& c = *static_cast<connection*>(who);
    if ((what & ~std::uint32_t{EPOLLOUT}) != 0) {
        const std::size_t answered = c.receive(scratch_, now_);
        count_answered(answered);
        if (c.ended()) {
            watch(EPOLL_CTL_DEL, c.fd(), 0, nullptr);
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
