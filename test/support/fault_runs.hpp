#pragma once

#include <kephas/net/faulty_stream.hpp>

#include <support/scripted_server.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

namespace kephas::test {

[[nodiscard]] inline std::string name(stream_fault fault) {
    switch (fault) {
        case stream_fault::none: return "none";
        case stream_fault::end: return "end";
        case stream_fault::reset: return "reset";
        case stream_fault::shortened: return "shortened";
        case stream_fault::blocked: return "blocked";
        case stream_fault::throws: return "throws";
    }
    return "?";
}

/// A client, and whether the server has ended its connection; where that is not told, its link says so.
struct connection {
    memory_client client;
    std::function<bool()> over = {};
};

/// A server that clients come to one after the other, whose connections fail. After each of them it must be in order,
/// and at last it must drain and have counted everything.
class server_with_faults {
public:
    /// Connects a client; the operations of the server's end on the wire fail as the plan says.
    using connector = std::function<connection(virtual_world&, const fault_plan&)>;

    server_with_faults() = default;
    server_with_faults(const server_with_faults&) = delete;
    server_with_faults& operator=(const server_with_faults&) = delete;
    ~server_with_faults() { check_end(); }

    /// What the client has seen.
    events run(const script& each, const fault_plan& plan, const connector& connect) {
        auto [client, over] = connect(world_, plan);
        each.run(world_, client);
        // A connection that has lost its peer is not kept for ever, ...
        CHECK(world_.time_until([&, &link = client.link(), &ended = over] {
            return ended ? ended() : link.to_client().was_ended();
        }));
        CHECK(world_.time_until([&] { return world_->clients().size() == 0 && app_.live_handlers == 0; }));
        world_.run_for(std::chrono::seconds{10});  // on_disconnect, and what lingers
        check_left();
        for (int i = 0; i < 100 && !client.link().to_client().at_end(); ++i) {  // what it has not read
            (void)client.take();
            world_.settle();
        }
        return client.history();
    }
    /// The script has stopped it: nobody else will come.
    [[nodiscard]] bool ended() const noexcept { return world_.ended(); }
    /// How many connections have ended with an exception so far.
    [[nodiscard]] std::size_t exceptions() const {
        std::size_t count = 0;
        for (const auto& line : world_.log()) count += line.find("exception") != std::string::npos;
        return count;
    }

private:
    /// Nothing of a client is left, and the next one is served.
    void check_left() {
        CHECK(app_.live_handlers == 0);
        CHECK(app_.connected == app_.disconnected);
        CHECK(std::ranges::all_of(app_.connected, [](const auto& each) { return each.second == 1; }));
        CHECK(world_->stats().internal_errors == exceptions());
        if (world_.ended()) return;
        memory_client next = world_.connect();
        next.send_handshake();
        world_.run_for(std::chrono::milliseconds{60});  // authorize and on_connect
        CHECK(next.take() == events{"HTTP/1.1 101 Switching Protocols", "binary " + test_client::command(99, "welcome")});
        next.send_command(1, "hello");
        world_.settle();
        CHECK(next.take() == events{"binary " + test_client::command(1, "hello")});
        next.send_close(1000);
        world_.settle();
        next.end();
    }
    /// It drains, and everything is counted.
    void check_end() {
        CHECK_NOTHROW((void)world_.stop());
        CHECK(app_.connected == app_.disconnected);
        const server_stats stats = world_->stats();
        CHECK(stats.clients == 0);
        CHECK(stats.connections == 0);
        CHECK(stats.opened == app_.connected.size());
        CHECK(stats.opened == stats.closed);
        CHECK(stats.accepted >= stats.opened + stats.refused + stats.handshake_timeouts);
        CHECK(stats.handlers_failed == 0);
    }

    scripted_server app_;
    virtual_world world_{app_.routes()};
};

/// Runs `each` with the fault at its operation number 0, 1, 2, ... until it ends without having met it. Returns how many
/// operations there were. `kind`: only those of one kind.
inline std::size_t run_with_each_fault(const script& each, stream_fault fault, const server_with_faults::connector& connect,
                                       std::optional<stream_operation> kind = {}) {
    auto server = std::make_unique<server_with_faults>();
    for (std::size_t which = 0;; ++which) {
        INFO(each.name << ": operation " << which << " fails with " << name(fault));
        if (server->ended()) {
            server.reset();  // one virtual clock at a time
            server = std::make_unique<server_with_faults>();
        }
        const std::size_t before = server->exceptions();
        nth_fault broken{which, fault};
        (void)server->run(each, kind ? broken.plan(*kind) : broken.plan(), connect);
        CHECK(server->exceptions() - before <= (fault == stream_fault::throws ? 1 : 0));
        if (!broken.reached()) return which;
        REQUIRE(which < 10'000);  // otherwise the script does not end
    }
}

/// What so many runs have cost, on the terminal. Processor time: the machine may be busy with something else.
class run_meter {
public:
    void print(std::size_t runs) const {
        const double took = static_cast<double>(std::clock() - begin_) / CLOCKS_PER_SEC;
        std::printf("%zu runs in %.2f s of processor time: %.0f a second\n", runs, took, static_cast<double>(runs) / took);
    }

private:
    std::clock_t begin_ = std::clock();
};

}  // namespace kephas::test
