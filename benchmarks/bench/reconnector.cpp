#include "reconnector.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t different_keys = 64;  // made beforehand: hashing is not what is measured here

}  // namespace

reconnector::reconnector(const options& o, const server_address& server, std::size_t index)
    : load{o, index}, server_{server}, workload_{o}, places_(share_) {
    for (std::size_t i = 0; i < different_keys; ++i) {
        keys_.push_back(make_handshake_key(i));
        requests_.push_back(browser_request(o.server, keys_.back()));
    }
}

void reconnector::prepare() {
    const std::int64_t deadline = monotonic_ns() + 5'000'000'000;
    const std::uint64_t budget = std::exchange(budget_, 1);
    for (;;) {
        now_ = last_event_ = monotonic_ns();
        try {
            open(places_.front());
            while (outstanding_ > 0) turn(longest_wait_ms);
            break;
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::connection_refused || monotonic_ns() > deadline) throw;
            stop_if_told();
            places_.front().opening.reset();
            budget_ = 1;
            outstanding_ = 0;
            std::this_thread::sleep_for(10ms);
        }
    }
    budget_ = budget;
    clean_closes_ = 0;
    recorder_ = {};
}

void reconnector::begin(const plan&) {
    for (place& each : places_) open(each);
}

void reconnector::open(place& p) {
    if (budget_ == 0) return;
    --budget_;
    ++outstanding_;
    p.number = begun_++ * options_.threads + index_;
    p.begun = monotonic_ns();
    p.key = &keys_[p.number % different_keys];
    p.unsent = requests_[p.number % different_keys];
    p.answer.clear();
    p.opening.emplace(server_.begin_connecting());
    // on the loopback interface it is connected by now
    p.waits_for_room = true;
    watch(EPOLL_CTL_ADD, p.opening->fd(), EPOLLIN | EPOLLOUT, &p);
    shake_hands(p);
}

void reconnector::on_event(void* who, std::uint32_t) {
    place& p = *static_cast<place*>(who);
    if (p.opening)
        shake_hands(p);
    else
        converse(p);
}

void reconnector::shake_hands(place& p) {
    channel& server = *p.opening;
    if (!p.unsent.empty()) {
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(p.unsent.data());
        const ssize_t sent = server.write({bytes, p.unsent.size()});
        if (sent == channel::ended) throw std::system_error{errno, std::generic_category(), "connect"};
        p.unsent.erase(0, static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
        wait_for_room(p, !p.unsent.empty());
        return;
    }
    const ssize_t got = server.read(scratch_);
    if (got == channel::would_block) return;
    if (got == channel::ended) fail(p, "no answer to the handshake");
    p.answer.append(reinterpret_cast<const char*>(scratch_.data()), static_cast<std::size_t>(got));
    if (!check_answer(p.answer, *p.key)) return;
    p.open.emplace(std::move(server), p.number, options_, workload_, echoes_, p.number);
    p.opening.reset();
    p.open->ask();
    p.open->flush(now_);
    wait_for_room(p, p.open->blocked());
}

void reconnector::converse(place& p) {
    connection& c = *p.open;
    if (c.receive(scratch_, now_) > 0) c.leave(farewell::close);
    if (c.ended()) return end(p);
    c.flush(now_);
    wait_for_room(p, c.blocked());
}

void reconnector::end(place& p) {
    if (p.open->lost()) fail(p, "reset by the server, and not ended");
    if (!p.open->closed_cleanly()) fail(p, "ended without a close frame that answers that of the client");
    p.open.reset();  // takes it out of the epoll set, too
    ++clean_closes_;
    recorder_.answered(p.begun, now_);
    count_answered(1);
    if (sending_) open(p);
}

void reconnector::wait_for_room(place& p, bool wanted) {
    if (p.waits_for_room == wanted) return;
    p.waits_for_room = wanted;
    const int fd = p.opening ? p.opening->fd() : p.open->fd();
    watch(EPOLL_CTL_MOD, fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, &p);
}

void reconnector::fail(const place& p, const std::string& what) {
    throw server_fault{"connection " + std::to_string(p.number) + ": " + what};
}

}  // namespace bench
