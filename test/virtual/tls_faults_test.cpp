// The scripts of faults_test.cpp over TLS, with the faults below it: in the handshake, in the middle of records, and
// around close_notify.
#include <support/fault_runs.hpp>
#include <support/tls_bridge.hpp>
#include <support/tls_server.hpp>

#include <kephas/net/tls_stream.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

/// Connects clients that speak TLS.
class over_tls {
public:
    explicit over_tls(int version, bool close_notify = true, std::size_t room = 64 * 1024)
        : wishes_{.server_name = "", .ca = "", .version = version}, close_notify_{close_notify}, room_{room} {}

    connection operator()(virtual_world& world, const fault_plan& plan) {
        const memory_link plain;
        plain.to_server().set_capacity(1024 * 1024);  // for a client that does not notice that the handshake has failed
        const memory_link wire{room_};
        world->attach([&](const asio::any_io_executor& executor) {
            return make_tls_stream(make_faulty_stream(wire.server_end(executor), executor, plan), rules());
        });
        last_ = std::make_shared<tls_bridge>(world.context(), plain, wire, like_, wishes_, close_notify_);
        last_->start();
        last_wire_ = wire;
        world.settle();
        return {memory_client{plain}, [wire] { return wire.to_client().was_ended(); }};
    }
    [[nodiscard]] const tls_bridge& last() const noexcept { return *last_; }
    [[nodiscard]] const memory_link& last_wire() const noexcept { return *last_wire_; }

private:
    static std::shared_ptr<const tls_context> rules() {
        static const auto made = [] {
            tls_options options;
            options.certificates = {in_memory(localhost_pair())};
            return std::make_shared<const tls_context>(options, tls_material::read(options));
        }();
        return made;
    }

    tls_wishes wishes_;  // whoever the server is: that is for other tests
    tls_client like_{wishes_};
    bool close_notify_;
    std::size_t room_;
    std::shared_ptr<tls_bridge> last_;
    std::optional<memory_link> last_wire_;
};

const script& named(const std::vector<script>& all, std::string_view name) {
    for (const script& each : all) {
        if (each.name == name) return each;
    }
    throw std::invalid_argument{"no such script"};
}

constexpr stream_fault faults[] = {stream_fault::end, stream_fault::reset, stream_fault::shortened, stream_fault::blocked,
                                   stream_fault::throws};

/// Runs `each` with each fault at each operation below TLS.
std::size_t run_with_all_faults(const script& each, over_tls& client) {
    std::size_t runs = 0;
    for (const stream_fault fault : faults) {
        const auto connect = [&](virtual_world& world, const fault_plan& plan) { return client(world, plan); };
        runs += 1 + run_with_each_fault(each, fault, connect);
        CHECK_FALSE(client.last().refused());
    }
    return runs;
}

}  // namespace

TEST_CASE("a client sees the same over TLS, also in records that come and go one byte at a time, or not at once") {
    const auto none = [](stream_operation) { return stream_fault::none; };
    const auto moves = [](stream_operation operation) {
        return operation == stream_operation::read || operation == stream_operation::write;
    };
    for (const script& each : scripts()) {
        CAPTURE(each.name);
        const events expected = server_with_faults{}.run(each, none, [](virtual_world& world, const fault_plan&) {
            return connection{world.connect()};
        });
        for (const int version : {12, 13}) {
            for (const bool close_notify : {true, false}) {
                CAPTURE(version);
                CAPTURE(close_notify);
                over_tls client{version, close_notify, 10'000};
                const auto seen = [&](const fault_plan& plan) {
                    const events all = server_with_faults{}.run(each, plan, [&](virtual_world& world, const fault_plan& what) {
                        return client(world, what);
                    });
                    // Each stream that ends in order does so with close_notify.
                    CHECK(client.last().ended_properly() == (all.back() == "end"));
                    return all;
                };
                CHECK(seen(none) == expected);
                if (!close_notify) continue;
                CHECK(seen([&](stream_operation operation) {
                          return moves(operation) ? stream_fault::shortened : stream_fault::none;
                      }) == expected);
                std::size_t turn = 0;
                CHECK(seen([&](stream_operation operation) {
                          if (!moves(operation)) return stream_fault::none;
                          return turn++ % 2 == 0 ? stream_fault::blocked : stream_fault::shortened;
                      }) == expected);
            }
        }
    }
}

TEST_CASE("whatever operation below TLS fails, in the handshake, in records or at the end, the server is in order afterwards") {
    const run_meter meter;
    std::size_t runs = 0;
    const auto all = scripts();
    over_tls current{13};
    for (const script& each : all) runs += run_with_all_faults(each, current);
    over_tls older{12, false};
    for (const char* each : {"health", "commands under every policy", "a departure in the middle of everything"}) {
        runs += run_with_all_faults(named(all, each), older);
    }
    over_tls narrow{13, true, 500};  // nothing fits at once: the records of the handshake neither
    for (const char* each : {"health", "closed by the server", "a drain"}) runs += run_with_all_faults(named(all, each), narrow);
    meter.print(runs);
    CHECK(runs > 600);
}

TEST_CASE("a peer that has ended its side and is lost then is noticed at once, while a reply waits for it") {
    for (const bool close_notify : {true, false}) {
        CAPTURE(close_notify);
        router routes;
        routes.on(command_id{1}, dispatch::on_strand, [](request) -> asio::awaitable<std::optional<payload>> {
            co_return payload{std::string(500'000, 'r')};
        });
        virtual_world world{std::move(routes)};
        over_tls connect{13, close_notify, 10'000};
        auto [client, over] = connect(world, [](stream_operation) { return stream_fault::none; });
        client.send_handshake();
        world.settle();
        CHECK(client.take() == events{"HTTP/1.1 101 Switching Protocols"});
        client.send_command(1, "");
        world.settle();
        client.end();
        world.settle();
        CHECK(world->stats().closed == 0);
        connect.last_wire().reset();
        world.settle();
        CHECK(world->stats().closed == 1);
    }
}
