// Two shards share no lock: what one thread's clients do, the other's never wait for.
#include "counting_locks.hpp"
#include "round_trips.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

/// The threads on which handlers ran.
class handler_threads {
public:
    void note() {
        const std::lock_guard lock{mutex_};
        ids_.insert(std::this_thread::get_id());
    }
    [[nodiscard]] std::size_t count() {
        const std::lock_guard lock{mutex_};
        return ids_.size();
    }

private:
    std::mutex mutex_;
    std::set<std::thread::id> ids_;
};

struct lock_counts {
    std::size_t locks = 0;
    std::vector<counts::locked_mutex> shared;  // that more than one thread has locked
};

lock_counts locks_of_echoes(dispatch policy, std::size_t in_flight) {
    constexpr std::size_t messages = 32'000;
    constexpr std::size_t clients = 4;
    handler_threads threads;
    std::atomic<bool> noting{true};
    router routes;
    routes.on(command_id{echo_command}, policy, [&](request req) -> asio::awaitable<std::optional<payload>> {
        if (noting) threads.note();
        co_return payload{req.share()};
    });
    server_options options = unlimited_options();
    options.io_threads = 2;
    options.pool_threads = 2;
    running_server server{std::move(routes), options};
    // one thread per client, so that both shards are busy at the same time; none of them locks anything meanwhile
    std::vector<round_trips> connections;
    for (std::size_t i = 0; i < clients; ++i) connections.emplace_back(server.port(), in_flight);
    const auto make = [&](std::size_t count) {
        std::vector<std::jthread> working;
        for (round_trips& each : connections) working.emplace_back([&each, count] { each.make(count / clients); });
    };
    make(messages / 8);
    if (policy == dispatch::on_strand) REQUIRE(threads.count() == 2);  // clients on both shards
    noting = false;
    counts::watch_locks();
    make(messages);
    lock_counts result;
    for (const counts::locked_mutex& each : counts::watched_locks()) {
        result.locks += each.locks;
        if (each.threads > 1) result.shared.push_back(each);
    }
    static constexpr std::array<std::string_view, 3> names{"pool", "serial", "on_strand"};
    fmt::print("{:>9}, 2 + 2 threads, {:2} in flight: {:.3f} locks per message, {} mutexes locked by more than one thread\n",
               names[static_cast<std::size_t>(policy)], in_flight,
               static_cast<double>(result.locks) / static_cast<double>(messages), result.shared.size());
    return result;
}

}  // namespace

TEST_CASE("a mutex that two threads lock is noticed, and one that only one locks is not") {
    std::mutex shared;
    std::mutex own;
    counts::watch_locks();
    { const std::scoped_lock lock{shared}; }
    for (int i = 0; i < 3; ++i) const std::scoped_lock lock{own};
    std::thread{[&] {
        REQUIRE(shared.try_lock());
        shared.unlock();
    }}.join();
    const auto all = counts::watched_locks();
    const auto of = [&](const std::mutex& which) {
        const auto found = std::ranges::find(all, static_cast<const void*>(&which), &counts::locked_mutex::address);
        REQUIRE(found != all.end());
        return *found;
    };
    CHECK(of(shared).threads == 2);
    CHECK(of(shared).locks == 2);
    CHECK(of(own).threads == 1);
    CHECK(of(own).locks == 3);
}

TEST_CASE("echoes on the strands of two shards lock no mutex that both threads lock") {
    for (const std::size_t in_flight : {1U, 32U}) {
        const lock_counts counted = locks_of_echoes(dispatch::on_strand, in_flight);
        CHECK(counted.locks > 0);
        CHECK(counted.locks <= (in_flight == 1 ? 10 * 32'000 : 32'000 * 3 / 2));  // uncontended ones, of the outbox and of Asio
        CHECK(counted.shared.empty());
        if (std::getenv("TRACE_LOCKS") != nullptr) {
            for (const auto& each : counted.shared) fmt::print("{} by {} threads, {} times\n", each.address, each.threads, each.locks);
        }
    }
}

// A hand-over between threads takes locks; how many is only shown.
TEST_CASE("echoes on the handler pool lock a few mutexes per burst") {
    for (const dispatch policy : {dispatch::serial, dispatch::pool}) {
        CHECK(locks_of_echoes(policy, 1).locks > 0);
        CHECK(locks_of_echoes(policy, 32).locks <= 32'000 * 4);
    }
}
