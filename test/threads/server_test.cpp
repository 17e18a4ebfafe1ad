// Everything at once from many threads. ThreadSanitizer says whether it was right; without it, nothing may be lost.
#include <kephas/base/error.hpp>

#include <kephas/server/call_table.hpp>

#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <array>
#include <future>
#include <random>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

server_options many_threads() {
    server_options options = quiet_options();
    options.io_threads = 3;
    options.pool_threads = 3;
    options.rate_limit = no_rate_limit();
    options.control_rate_limit = no_rate_limit();
    options.drain.deadline = 500ms;
    options.drain.grace = 500ms;
    return options;
}

asio::awaitable<void> pause_for(std::chrono::milliseconds time) {
    asio::steady_timer timer{co_await asio::this_coro::executor, time};
    co_await timer.async_wait(asio::use_awaitable);
}

/// Small random numbers, the same ones in each run.
class dice {
public:
    explicit dice(unsigned seed) : engine_{seed} {}
    unsigned operator()() { return static_cast<unsigned>(engine_()); }

private:
    std::minstd_rand engine_;
};

/// A route for each policy that echoes, with and without a suspension.
router busy_routes(std::atomic<int>& connected) {
    router routes;
    for (const auto& [id, policy] : {std::pair{1U, dispatch::pool}, {2U, dispatch::serial}, {3U, dispatch::on_strand}}) {
        routes.on(command_id{id}, policy, [](request req) -> reply {
            if (req.payload().size() % 3 == 0) co_await pause_for(1ms);
            co_return payload{req.share()};
        });
    }
    routes.on_connect([&connected](client who) -> asio::awaitable<void> {
        ++connected;
        who.emplace_attachment<int>(1);
        co_return;
    });
    routes.on_disconnect([&connected](client who, close_info) -> asio::awaitable<void> {
        co_await pause_for(1ms);
        CHECK(who.attachment<int>() != nullptr);
        --connected;
    });
    return routes;
}

void end(test_client& client, unsigned how) {
    switch (how % 4) {
        case 0: client.reset(); break;
        case 1: client.close(); break;
        case 2: client.send_close(1000); break;
        default: client.shutdown_send(); break;
    }
}

/// Clients that come, talk and die at random, until they are told to stop.
class crowd {
public:
    crowd(std::uint16_t port, unsigned threads) {
        for (unsigned t = 0; t < threads; ++t) {
            threads_.emplace_back([this, port, t] {
                dice random{t + 1};
                while (!stop_) live_once(port, random);
            });
        }
    }
    ~crowd() { leave(); }
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;

    void leave() {
        stop_ = true;
        for (auto& thread : threads_) thread.join();
        threads_.clear();
    }
    [[nodiscard]] unsigned lives() const { return lives_; }

private:
    void live_once(std::uint16_t port, dice& random) {
        try {
            auto client = test_client::open(port);
            const unsigned messages = random() % 20;
            for (unsigned i = 0; i < messages; ++i) {
                client.send_command(1 + random() % 3, std::string(random() % 3000, 'm'));
                if (random() % 4 == 0) (void)client.read_frame();
            }
            end(client, random());
            ++lives_;
        } catch (const std::exception&) {  // the server closed it first
        }
    }

    std::atomic<bool> stop_{false};
    std::atomic<unsigned> lives_{0};
    std::vector<std::thread> threads_;
};

/// Runs `work` on that many threads at once and waits for them.
template <class Work>
void on_threads(unsigned count, Work work) {
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < count; ++t) threads.emplace_back([&work, t] { work(t); });
    for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("eight threads send to clients that die at random") {
    std::atomic<int> connected{0};
    running_server server{busy_routes(connected), many_threads()};
    crowd clients{server.port(), 4};
    on_threads(8, [&](unsigned t) {
        dice random{t + 100};
        asio::io_context context;
        for (int i = 0; i < 150; ++i) {
            const auto all = server->clients().all();
            if (all.empty()) {
                std::this_thread::yield();
                continue;
            }
            const client& to = all[random() % all.size()];
            (void)to.try_send(command_id{9}, payload{std::string(random() % 5000, 's')});
            asio::co_spawn(context, to.send(command_id{9}, "awaited"), [](std::exception_ptr) {});
            context.restart();
            context.run();  // waits for room until its client takes something, or dies
        }
    });
    clients.leave();
    CHECK(clients.lives() > 0);
    CHECK(eventually([&] { return connected == 0; }));
    CHECK(eventually([&] { return server->clients().size() == 0; }));
}

TEST_CASE("broadcasts while clients connect and disconnect") {
    std::atomic<int> connected{0};
    running_server server{busy_routes(connected), many_threads()};
    auto witness = test_client::open(server.port());
    REQUIRE(eventually([&] { return server->clients().size() == 1; }));  // the 101 comes before the registration
    crowd clients{server.port(), 4};
    static constexpr unsigned broadcasters = 3;
    static constexpr unsigned each = 60;
    on_threads(broadcasters, [&](unsigned t) {
        for (unsigned i = 0; i < each; ++i) {
            asio::io_context context;
            auto outcome = asio::co_spawn(context, server->broadcast(command_id{7 + t}, payload{std::to_string(i)}),
                                          asio::use_future);
            context.run();
            CHECK(outcome.get().queued >= 1);
        }
    });
    // the witness got every one of them, each broadcaster's in order
    std::array<unsigned, broadcasters> seen{};
    for (unsigned i = 0; i < broadcasters * each; ++i) {
        const auto frame = witness.read_message();
        REQUIRE(frame);
        const auto from = static_cast<unsigned char>(frame->payload[3]) - 7U;
        REQUIRE(from < broadcasters);
        CHECK(frame->payload.substr(4) == std::to_string(seen[from]++));
    }
    clients.leave();
    witness.close();
    CHECK(eventually([&] { return connected == 0; }));
}

TEST_CASE("broadcasts from handlers on all strands while clients connect and disconnect") {
    std::atomic<int> connected{0};
    router routes = busy_routes(connected);
    routes.on(command_id{4}, dispatch::on_strand, [](request req) -> reply {
        const auto report = co_await req.client().clients().broadcast(command_id{7}, payload{req.share()});
        CHECK(report.queued >= 1);
        co_return std::nullopt;
    });
    running_server server{std::move(routes), many_threads()};
    auto witness = test_client::open(server.port());
    REQUIRE(eventually([&] { return server->clients().size() == 1; }));
    static constexpr unsigned broadcasters = 4;
    static constexpr unsigned each = 60;
    {
        crowd clients{server.port(), 4};
        on_threads(broadcasters, [&](unsigned t) {
            auto sender = test_client::open(server.port());
            for (unsigned i = 0; i < each; ++i) {
                const std::string text = std::string(1, static_cast<char>('a' + t)) + std::to_string(i);
                sender.send_command(4, text);
                while (i % 2 == 0 && sender.read_command(7) != text) {  // every other one is on its way with the next
                }
            }
        });
        std::array<unsigned, broadcasters> seen{};
        for (unsigned i = 0; i < broadcasters * each; ++i) {
            const std::string text = witness.read_command(7);
            const auto from = static_cast<unsigned>(text[0] - 'a');
            REQUIRE(from < broadcasters);
            CHECK(text.substr(1) == std::to_string(seen[from]++));
        }
    }
    witness.close();
    CHECK(eventually([&] { return connected == 0; }));
}

TEST_CASE("many threads close, abort and send to the same clients") {
    std::atomic<int> connected{0};
    running_server server{busy_routes(connected), many_threads()};
    for (int round = 0; round < 5; ++round) {
        std::vector<test_client> peers;
        for (int i = 0; i < 12; ++i) peers.push_back(test_client::open(server.port()));
        REQUIRE(eventually([&] { return connected == 12; }));
        const auto all = server->clients().all();
        on_threads(6, [&](unsigned t) {
            dice random{t + 7};
            for (std::size_t i = 0; i < 40; ++i) {
                const client& who = all[random() % all.size()];
                switch (random() % 6) {
                    case 0: who.close(close_code{4000}, "over"); break;
                    case 1: who.abort(); break;
                    case 2: who.attach(std::make_shared<int>(2)); break;
                    case 3: CHECK(who.remote_address().starts_with("127.")); break;
                    case 4: (void)who.close_info(); break;
                    default: (void)who.try_send(command_id{1}, "x"); break;
                }
            }
            for (const client& who : all) who.close();
        });
        peers.clear();
        CHECK(eventually([&] { return connected == 0; }));
        for (const client& who : all) CHECK_FALSE(who.is_alive());
    }
}

TEST_CASE("what many threads attach while the headers of the handshake go is not lost with them") {
    for (int round = 0; round < 20; ++round) {
        std::promise<client> arrived;
        router routes;
        routes.on_connect([&](client who) -> asio::awaitable<void> {
            arrived.set_value(std::move(who));
            co_return;  // from here on the headers go
        });
        running_server server{std::move(routes), many_threads()};
        const auto peer = test_client::open(server.port());
        const client who = arrived.get_future().get();
        on_threads(3, [&](unsigned t) {
            if (t > 0) who.attach(std::make_shared<unsigned>(t));
            for (int i = 0; i < 50; ++i) {
                const auto host = who.header("host");  // it is there still, or it is not
                if (host) CHECK_FALSE(host->empty());
                CHECK_FALSE(who.close_info().has_value());
                if (t > 0) CHECK(who.attachment<unsigned>() != nullptr);
            }
        });
        CHECK(who.attachment<unsigned>() != nullptr);
        CHECK(eventually([&] { return !who.header("host").has_value(); }));
        CHECK(who.attachment<unsigned>() != nullptr);
    }
}

TEST_CASE("of the first calls of a client, which many threads make while it leaves, none is forgotten") {
    for (int round = 0; round < 200; ++round) {
        call_table calls;
        std::array<std::shared_ptr<pending_call>, 3> opened;
        on_threads(4, [&](unsigned t) {
            if (t == 3) return calls.close();
            std::uint64_t id = 0;
            std::error_code ec;
            (void)calls.any_pending();
            opened[t] = calls.open(3, id, ec);
            CHECK((opened[t] != nullptr || ec == errc::closed));
        });
        for (const auto& call : opened) {
            if (call) CHECK(call->failure == errc::closed);
        }
        CHECK_FALSE(calls.any_pending());
    }
}

TEST_CASE("a server is destroyed right after stop, while clients come and talk and others hold handles") {
    for (int round = 0; round < 8; ++round) {
        std::atomic<int> connected{0};
        std::vector<client> handles;
        auto server = std::make_unique<running_server>(busy_routes(connected), many_threads());
        crowd clients{server->port(), 3};
        REQUIRE(eventually([&] {
            handles = (*server)->clients().all();
            return clients.lives() > 5;
        }));
        const kephas::clients everybody = (*server)->clients();
        std::atomic<bool> gone{false};
        std::thread user{[&] {
            while (!gone) {
                for (const client& who : everybody.all()) {
                    (void)who.try_send(command_id{9}, "x");
                    who.close();
                }
                for (const client& who : handles) {
                    (void)who.try_send(command_id{9}, "x");
                    who.abort();
                }
            }
        }};
        server->stop();
        server.reset();
        gone = true;
        user.join();
        clients.leave();
        CHECK(connected == 0);
        CHECK(everybody.size() == 0);
        for (const client& who : handles) CHECK_FALSE(who.is_alive());
    }
}

TEST_CASE("stop() from many threads at once") {
    for (int round = 0; round < 8; ++round) {
        std::atomic<int> connected{0};
        running_server server{busy_routes(connected), many_threads()};
        auto client = test_client::open(server.port());
        client.send_command(1, "xxx");
        on_threads(4, [&](unsigned) { (*server).stop(); });
        (void)server.stop();
        CHECK(connected == 0);
    }
}

TEST_CASE("embedded on a context that four threads run, with clients that die at random") {
    for (int round = 0; round < 3; ++round) {
        std::atomic<int> connected{0};
        asio::io_context context{4};
        server_options options = many_threads();
        kephas::server server{context, busy_routes(connected), options};
        server.listen();
        auto outcome = asio::co_spawn(context, server.serve(), asio::use_future);
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t) threads.emplace_back([&context] { context.run(); });
        auto steady = test_client::open(server.port());
        REQUIRE(eventually([&] { return server.clients().size() == 1; }));
        const client_id steady_id = server.clients().all().front().id();
        crowd clients{server.port(), 4};
        for (unsigned i = 0; i < 100; ++i) {
            for (unsigned id = 1; id <= 3; ++id) {
                const std::string text(i * 37, 'e');
                steady.send_command(id, text);
                CHECK(steady.read_command(id) == text);
            }
            for (const client& who : server.clients().all()) {
                if (who.id() == steady_id) continue;
                (void)who.try_send_text("{}");
                if (i % 10 == 0) who.close();
            }
        }
        server.stop();
        (void)outcome.get();
        for (auto& thread : threads) thread.join();  // nothing of the server is left on the context
        clients.leave();
        CHECK(connected == 0);
    }
}
