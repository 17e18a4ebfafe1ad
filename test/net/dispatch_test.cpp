// Where handlers run, in which order, and how many of them: DESIGN.md 4 "Dispatch", 4a "In flight", "Order", "Payloads".
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <poll.h>

#include <array>
#include <latch>
#include <random>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;
constexpr std::array every_policy{dispatch::pool, dispatch::serial, dispatch::on_strand};

reply echo(request req) { co_return payload{req.share()}; }

asio::awaitable<void> pause_for(std::chrono::milliseconds time) {
    asio::steady_timer timer{co_await asio::this_coro::executor, time};
    co_await timer.async_wait(asio::use_awaitable);
}

server_options unlimited() {
    server_options options = quiet_options();
    options.rate_limit = no_rate_limit();
    options.control_rate_limit = no_rate_limit();
    return options;
}

bool takes_bytes(const test_client& client, std::chrono::milliseconds patience) {
    pollfd ready{client.native_handle(), POLLOUT, 0};
    return ::poll(&ready, 1, static_cast<int>(patience.count())) > 0;
}

std::string numbered(std::size_t number) { return std::to_string(number); }

}  // namespace

TEST_CASE("pool handlers of one client run concurrently: two that block until both are there") {
    std::latch both{2};
    router routes;
    routes.on(command_id{1}, [&](request req) -> reply {
        both.arrive_and_wait();
        co_return payload{req.share()};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    SUBCASE("that arrive in one read") {
        client.send_raw(test_client::frame(2, test_client::command(1, "x")) +
                        test_client::frame(2, test_client::command(1, "x")));
    }
    SUBCASE("that arrive one after the other") {
        client.send_command(1, "x");
        client.send_command(1, "x");
    }
    CHECK(client.read_command(1) == "x");
    CHECK(client.read_command(1) == "x");
}

TEST_CASE("pool handlers of one client run concurrently: one that suspends until another one has run") {
    gate second;
    router routes;
    routes.on(command_id{1}, [&](request) -> reply {
        co_await second.wait();
        co_return "first";
    });
    routes.on(command_id{2}, [&](request) -> reply {
        second.open();
        co_return std::nullopt;
    });
    server_options options = quiet_options();
    options.pool_threads = 1;
    running_server server{std::move(routes), options};
    auto client = test_client::open(server.port());
    client.send_raw(test_client::frame(2, test_client::command(1, "")) +
                    test_client::frame(2, test_client::command(2, "")));
    CHECK(client.read_command(1) == "first");
}

TEST_CASE("a blocking pool handler holds up only itself") {
    std::latch release{1};
    router routes;
    routes.on(command_id{1}, [&](request) -> reply {
        release.wait();
        co_return "at last";
    });
    routes.on(command_id{2}, echo);
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    auto other = test_client::open(server.port());
    std::string burst = test_client::frame(2, test_client::command(1, ""));
    for (int i = 0; i < 20; ++i) burst += test_client::frame(2, test_client::command(2, "free"));
    client.send_raw(burst);
    for (int i = 0; i < 20; ++i) CHECK(client.read_command(2) == "free");
    client.send_command(2, "a later read");
    CHECK(client.read_command(2) == "a later read");
    other.send_command(2, "another client");
    CHECK(other.read_command(2) == "another client");
    release.count_down();
    CHECK(client.read_command(1) == "at last");
}

TEST_CASE("serial routes share one queue: handlers run in the order of arrival, the next after the previous reply") {
    std::atomic<int> running{0};
    std::atomic<bool> overlapped{false};
    const auto handler = [&](request req) -> reply {
        if (running.fetch_add(1) != 0) overlapped = true;
        const payload answer{req.share()};
        if ((answer.size() & 1) != 0) co_await pause_for(1ms);
        running.fetch_sub(1);
        co_return answer;
    };
    router routes;
    routes.on(command_id{1}, dispatch::serial, handler);
    routes.on(command_id{2}, dispatch::serial, handler);
    routes.fallback_text(handler, dispatch::serial);
    server_options options = unlimited();
    options.pool_threads = 4;
    running_server server{std::move(routes), options};
    auto client = test_client::open(server.port());
    std::string all;
    static constexpr std::size_t count = 120;
    for (std::size_t i = 0; i < count; ++i) {
        if (i % 3 == 2) all += test_client::frame(1, numbered(i));
        else all += test_client::frame(2, test_client::command(static_cast<std::uint32_t>(1 + i % 3), numbered(i)));
    }
    client.send_raw(all);
    for (std::size_t i = 0; i < count; ++i) {
        if (i % 3 == 2) CHECK(client.read_text() == numbered(i));
        else CHECK(client.read_command(static_cast<std::uint32_t>(1 + i % 3)) == numbered(i));
    }
    CHECK_FALSE(overlapped);
}

TEST_CASE("on_strand handlers run in the order of arrival, also when some suspend") {
    std::atomic<int> running{0};
    std::atomic<bool> overlapped{false};
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [&](request req) -> reply {
        if (running.fetch_add(1) != 0) overlapped = true;
        if (req.text().ends_with('7')) co_await pause_for(1ms);
        running.fetch_sub(1);
        co_return payload{req.share()};
    });
    running_server server{std::move(routes), unlimited()};
    auto client = test_client::open(server.port());
    std::string all;
    for (std::size_t i = 0; i < 200; ++i) all += test_client::frame(2, test_client::command(1, numbered(i)));
    client.send_raw(all);
    for (std::size_t i = 0; i < 200; ++i) CHECK(client.read_command(1) == numbered(i));
    CHECK_FALSE(overlapped);
}

TEST_CASE("a suspended on_strand handler holds up its queue, but not the read loop") {
    gate held;
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [&](request) -> reply {
        co_await held.wait();
        co_return "first";
    });
    routes.on(command_id{2}, dispatch::on_strand, echo);
    routes.on(command_id{3}, dispatch::pool, echo);
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    REQUIRE(held.wait_for_waiting(1));
    client.send_command(2, "second");
    client.send_frame(9, "are you there");
    CHECK(client.read_frame() == received_frame{true, 10, "are you there"});
    client.send_command(3, "pool");
    CHECK(client.read_command(3) == "pool");
    held.open();
    CHECK(client.read_command(1) == "first");
    CHECK(client.read_command(2) == "second");
}

TEST_CASE("an on_strand handler that awaits a call to its own client gets the answer") {
    router routes;
    routes.on(command_id{1}, dispatch::on_strand, [](request req) -> reply {
        const json name = co_await req.client().call("whoAreYou");
        co_return payload{"you are " + std::string{name.as_string().value_or("?")}};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    const std::string call = client.read_text();
    CHECK(call.find(R"("method":"whoAreYou")") != std::string::npos);
    const auto id = call.find(R"("id":)") + 5;
    client.send_text(R"({"jsonrpc":"2.0","result":"Ada","id":)" + call.substr(id, call.find_first_of(",}", id) - id) + "}");
    CHECK(client.read_command(1) == "you are Ada");
}

TEST_CASE("what one coroutine sends leaves in program order, its reply last") {
    for (const dispatch policy : every_policy) {
        router routes;
        routes.on(command_id{1}, policy, [](request req) -> reply {
            for (std::size_t i = 0; i < 20; ++i) {
                if (i % 2 == 0) co_await req.client().send(command_id{2}, payload{numbered(i)});
                else CHECK(req.client().try_send(command_id{2}, payload{numbered(i)}) == send_status::queued);
                if (i == 10) co_await pause_for(1ms);
            }
            co_return "done";
        });
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        for (int round = 0; round < 3; ++round) {
            client.send_command(1, "");
            for (std::size_t i = 0; i < 20; ++i) CHECK(client.read_command(2) == numbered(i));
            CHECK(client.read_command(1) == "done");
        }
    }
}

TEST_CASE("handlers may suspend on timers under every policy, many at once") {
    for (const dispatch policy : every_policy) {
        router routes;
        routes.on(command_id{1}, policy, [](request req) -> reply {
            co_await pause_for(1ms);
            co_await pause_for(1ms);
            co_return payload{req.share()};
        });
        running_server server{std::move(routes), unlimited()};
        std::vector<test_client> clients;
        for (int i = 0; i < 8; ++i) clients.push_back(test_client::open(server.port()));
        for (auto& client : clients) {
            for (std::size_t i = 0; i < 20; ++i) client.send_command(1, numbered(i));
        }
        for (auto& client : clients) {
            std::vector<std::string> answers;
            for (std::size_t i = 0; i < 20; ++i) answers.push_back(client.read_command(1));
            if (policy == dispatch::pool) {
                std::ranges::sort(answers, {}, [](const std::string& number) { return std::stoul(number); });
            }
            for (std::size_t i = 0; i < 20; ++i) CHECK(answers[i] == numbered(i));
        }
    }
}

TEST_CASE("a payload stays valid while its handler is suspended and more messages arrive") {
    for (const dispatch policy : every_policy) {
        gate held;
        router routes;
        routes.on(command_id{1}, policy, [&](request req) -> reply {
            const bytes_view before = req.payload();
            const std::string copy{as_text(before)};
            co_await held.wait();
            CHECK(req.payload().data() == before.data());
            CHECK(req.text() == copy);
            co_return payload::copy(req.text());
        });
        routes.on(command_id{2}, dispatch::pool, echo);
        running_server server{std::move(routes), unlimited()};
        auto client = test_client::open(server.port());
        auto noise = test_client::open(server.port());
        std::vector<std::string> sent;
        for (const std::size_t size : {1U, 100U, 4096U, 5000U, 60000U}) {
            sent.emplace_back(size, static_cast<char>('a' + sent.size()));
            client.send_command(1, sent.back());
        }
        REQUIRE(held.wait_for_waiting(policy == dispatch::pool ? sent.size() : 1));
        for (int i = 0; i < 50; ++i) {
            const std::string other(static_cast<std::size_t>(i) * 997, '!');
            client.send_command(2, other);
            noise.send_command(2, other);
            CHECK(client.read_command(2) == other);
            CHECK(noise.read_command(2) == other);
        }
        held.open();
        std::vector<std::string> answers;
        for (std::size_t i = 0; i < sent.size(); ++i) answers.push_back(client.read_command(1));
        std::ranges::sort(answers);
        std::ranges::sort(sent);
        CHECK(answers == sent);
    }
}

TEST_CASE("no connection ever sees the bytes of another, with large messages and handlers that suspend") {
    // Guards the read buffers that are borrowed when a read is performed (DESIGN.md 4).
    for (const dispatch policy : every_policy) {
        router routes;
        routes.on(command_id{1}, policy, [](request req) -> reply {
            co_await pause_for(1ms);
            co_return payload{req.share()};
        });
        server_options options = unlimited();
        options.outbox.max_bytes = 4 * 1024 * 1024;
        running_server server{std::move(routes), options};
        static constexpr std::size_t connections = 16;
        std::atomic<std::size_t> wrong{0};
        std::vector<std::thread> threads;
        for (std::size_t c = 0; c < connections; ++c) {
            threads.emplace_back([&, c] {
                try {
                    auto client = test_client::open(server.port());
                    std::minstd_rand random{static_cast<unsigned>(c + 1)};
                    std::vector<std::string> messages;
                    for (std::size_t i = 0; i < 6; ++i) {
                        const std::size_t size = i == 2 ? 1024 * 1024 : 1 + random() % 200'000;
                        std::string message(size, '\0');
                        for (char& byte : message) byte = static_cast<char>((c << 4) | (random() & 15));
                        messages.push_back(std::move(message));
                    }
                    for (const std::string& message : messages) {
                        client.send_command(1, message);
                        if (client.read_command(1) != message) ++wrong;
                    }
                } catch (const std::exception&) {
                    ++wrong;
                }
            });
        }
        for (auto& thread : threads) thread.join();
        CHECK(wrong == 0);
    }
}

TEST_CASE("req.share() outlives the handler and the connection") {
    for (const dispatch policy : every_policy) {
        std::mutex mutex;
        std::vector<slice> kept;
        router routes;
        routes.on(command_id{1}, policy, [&](request req) -> reply {
            const std::lock_guard lock{mutex};
            kept.push_back(req.share());
            co_return "kept";
        });
        {
            running_server server{std::move(routes), unlimited()};
            auto client = test_client::open(server.port());
            for (std::size_t i = 0; i < 20; ++i) {
                client.send_command(1, std::string(1 + i * 700, static_cast<char>('a' + i)));
                CHECK(client.read_command(1) == "kept");
            }
        }
        REQUIRE(kept.size() == 20);
        for (std::size_t i = 0; i < 20; ++i) {
            CHECK(as_text(kept[i].view()) == std::string(1 + i * 700, static_cast<char>('a' + i)));
        }
    }
}

TEST_CASE("a handler that exceeds handler_timeout is cancelled and answered, and later ones are not affected") {
    for (const dispatch policy : every_policy) {
        gate never;
        router routes;
        routes.on(command_id{1}, policy, [&](request) -> reply {
            co_await never.wait();
            co_return "unreachable";
        });
        routes.on(command_id{2}, policy, [](request req) -> reply {
            co_await pause_for(1ms);
            co_return payload{req.share()};
        });
        routes.rpc("slow", policy, [&](rpc_request) -> asio::awaitable<json> {
            co_await never.wait();
            co_return json{};
        });
        server_options options = quiet_options();
        options.handler_timeout = 100ms;
        running_server server{std::move(routes), options};
        auto client = test_client::open(server.port());
        client.send_command(1, "");
        CHECK(client.read_command(0xFFFFFFFE) ==
              R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"operation timed out","data":{"command":1}},"id":null})");
        for (int i = 0; i < 5; ++i) {
            client.send_command(2, "later");
            CHECK(client.read_command(2) == "later");
        }
        client.send_text(R"({"jsonrpc":"2.0","method":"slow","id":7})");
        CHECK(client.read_text() == R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"operation timed out"},"id":7})");
        CHECK(server->stats().handlers_timed_out == 2);
        CHECK(server->stats().handlers_failed == 0);
        CHECK(server->stats().handlers_cancelled == 0);
    }
}

TEST_CASE("middleware wraps every handler, the first one registered outermost") {
    journal seen;
    router routes;
    routes.use([&](request req, next_handler next) -> asio::awaitable<void> {
        seen.add("outer " + std::string{req.method().empty() ? "command" : req.method()});
        co_await next();
        seen.add("outer ends");
    });
    routes.use([&](request, next_handler next) -> asio::awaitable<void> {
        seen.add("inner");
        co_await pause_for(1ms);
        co_await next();
        seen.add("inner ends");
    });
    routes.on(command_id{1}, [&](request req) -> reply {
        seen.add("handler");
        co_return payload{req.share()};
    });
    routes.rpc("math.add", {"a", "b"}, [&](int a, int b) -> asio::awaitable<int> {
        seen.add("method");
        co_return a + b;
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "through");
    CHECK(client.read_command(1) == "through");
    client.send_text(R"({"jsonrpc":"2.0","method":"math.add","params":[1,2],"id":1})");
    CHECK(client.read_text() == R"({"jsonrpc":"2.0","result":3,"id":1})");
    CHECK(seen.all() == std::vector<std::string>{"outer command", "inner", "handler", "inner ends", "outer ends",
                                                 "outer math.add", "inner", "method", "inner ends", "outer ends"});
}

TEST_CASE("middleware refuses by a request_error, and not calling next is no reply") {
    std::atomic<int> handled{0};
    router routes;
    routes.use([](request req, next_handler next) -> asio::awaitable<void> {
        if (req.text() == "refuse" || req.method() == "refuse") throw request_error{403, "not for you"};
        if (req.text() == "ignore") co_return;
        co_await next();
    });
    routes.on(command_id{1}, dispatch::serial, [&](request req) -> reply {
        ++handled;
        co_return payload{req.share()};
    });
    routes.rpc("refuse", dispatch::serial, [&](rpc_request) -> asio::awaitable<json> {
        ++handled;
        co_return json{};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port());
    client.send_command(1, "refuse");
    client.send_command(1, "ignore");
    client.send_command(1, "fine");
    CHECK(client.read_command(0xFFFFFFFE) ==
          R"({"jsonrpc":"2.0","error":{"code":403,"message":"not for you","data":{"command":1}},"id":null})");
    CHECK(client.read_command(1) == "fine");
    client.send_text(R"({"jsonrpc":"2.0","method":"refuse","id":"a"})");
    CHECK(client.read_text() == R"({"jsonrpc":"2.0","error":{"code":403,"message":"not for you"},"id":"a"})");
    CHECK(handled == 1);
    CHECK(server->stats().handlers_failed == 0);
}

TEST_CASE("a JSON-RPC request that middleware does not pass on has no result, also behind one that has") {
    for (const dispatch policy : {dispatch::pool, dispatch::serial, dispatch::on_strand}) {
        router routes;
        routes.use([](request req, next_handler next) -> asio::awaitable<void> {
            if (req.method() != "ignored") co_await next();
        });
        for (const char* name : {"answered", "ignored"}) {
            routes.rpc(name, policy, [](rpc_request) -> asio::awaitable<json> { co_return json{"the first result"}; });
        }
        running_server server{std::move(routes)};
        auto client = test_client::open(server.port());
        client.send_text(R"([{"jsonrpc":"2.0","method":"answered","id":1},{"jsonrpc":"2.0","method":"ignored","id":2}])");
        CHECK(client.read_text() == R"([{"jsonrpc":"2.0","result":"the first result","id":1},{"jsonrpc":"2.0","result":null,"id":2}])");
    }
}

TEST_CASE("with 64 suspended handlers the socket is not read, and reading goes on when one ends") {
    for (const dispatch policy : {dispatch::pool, dispatch::on_strand, dispatch::serial}) {
        gate held;
        router routes;
        routes.on(command_id{1}, policy, [&](request req) -> reply {
            co_await held.wait();
            co_return payload{req.share()};
        });
        routes.on(command_id{2}, policy, [](request) -> reply { co_return std::nullopt; });
        server_options options = unlimited();
        options.read_timeout = 100ms;  // suspended while we do not read
        options.ping_interval = duration::zero();
        running_server server{std::move(routes), options};
        auto client = test_client::open(server.port());
        std::string burst;
        for (std::size_t i = 0; i < 80; ++i) burst += test_client::frame(2, test_client::command(1, numbered(i)));
        client.send_raw(burst);
        REQUIRE(eventually([&] { return server->stats().messages_received >= 64; }));
        const std::size_t running = policy == dispatch::pool ? 64 : 1;
        REQUIRE(held.wait_for_waiting(running));
        // TCP pushes back: what is sent now stays where it is
        const std::string bulk = test_client::frame(2, test_client::command(2, std::string(256 * 1024, 'b')));
        std::size_t fitted = 0;
        while (takes_bytes(client, 200ms)) {
            const ssize_t sent = ::send(client.native_handle(), bulk.data() + fitted % bulk.size(),
                                        bulk.size() - fitted % bulk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent <= 0) break;
            fitted += static_cast<std::size_t>(sent);
            REQUIRE(fitted < 64 * 1024 * 1024);
        }
        CHECK(server->stats().messages_received == 64);
        CHECK(held.arrived() == running);
        CHECK(server->clients().size() == 1);  // more than its read timeout has passed
        held.let_go(1);
        std::vector<std::size_t> answers{std::stoul(client.read_command(1))};
        CHECK(held.wait_for_arrivals(running + 1));
        CHECK(eventually([&] { return server->stats().messages_received == 65; }));
        held.open();
        while (answers.size() < 80) answers.push_back(std::stoul(client.read_command(1)));
        if (policy == dispatch::pool) std::ranges::sort(answers);
        for (std::size_t i = 0; i < answers.size(); ++i) CHECK(answers[i] == i);
        client.reset();
    }
}

TEST_CASE("the limit in bytes stops reading as well, and one message always fits") {
    gate held;
    router routes;
    routes.on(command_id{1}, [&](request req) -> reply {
        co_await held.wait();
        co_return payload{std::to_string(req.payload().size())};
    });
    server_options options = unlimited();
    options.in_flight.bytes = 1000;
    running_server server{std::move(routes), options};
    auto client = test_client::open(server.port());
    client.send_command(1, std::string(5000, 'x'));
    client.send_command(1, "small");
    REQUIRE(held.wait_for_waiting(1));
    auto other = test_client::open(server.port());  // the limit is one of each client
    other.send_command(1, "o");
    REQUIRE(held.wait_for_waiting(2));
    CHECK(server->stats().messages_received == 2);
    held.let_go(1);
    CHECK(client.read_command(1) == "5000");
    REQUIRE(held.wait_for_arrivals(3));
    held.open();
    CHECK(client.read_command(1) == "5");
    CHECK(other.read_command(1) == "1");
}

TEST_CASE("a client that leaves while its socket is not read is noticed, and its handlers are cancelled") {
    gate held;
    router routes;
    routes.on(command_id{1}, [&](request req) -> reply {
        co_await held.wait();
        co_return payload{req.share()};
    });
    running_server server{std::move(routes), unlimited()};
    for (const bool with_reset : {false, true}) {
        auto client = test_client::open(server.port());
        std::string burst;
        for (std::size_t i = 0; i < 100; ++i) burst += test_client::frame(2, test_client::command(1, numbered(i)));
        client.send_raw(burst);
        REQUIRE(held.wait_for_waiting(64));
        client.send_raw(test_client::frame(2, test_client::command(1, std::string(20'000, 'u'))));  // stays unread
        if (with_reset) client.reset();
        else client.close();
        CHECK(held.wait_for_waiting(0));
        CHECK(eventually([&] { return server->clients().size() == 0; }));
    }
    // Each of the 101 messages was begun, those that had not been read as well. Counted when the handler's exception has
    // arrived, a moment after it has left the gate.
    CHECK(eventually([&] { return server->stats().handlers_cancelled == 202; }));
    CHECK(server->stats().handlers_failed == 0);
}

TEST_CASE("while a client has a call pending the message limit does not stop reading") {
    router routes;
    routes.on(command_id{1}, [](request req) -> reply {
        const json answer = co_await req.client().call("answer");
        co_return payload{std::string{answer.as_string().value_or("?")}};
    });
    server_options options = unlimited();
    options.in_flight.messages = 2;
    running_server server{std::move(routes), options};
    auto client = test_client::open(server.port());
    client.send_command(1, "");
    client.send_command(1, "");
    const std::array calls{client.read_text(), client.read_text()};  // both, before a reply can come in between
    for (const std::string& call : calls) {
        const auto id = call.find(R"("id":)") + 5;
        client.send_text(R"({"jsonrpc":"2.0","result":"yes","id":)" + call.substr(id, call.find_first_of(",}", id) - id) +
                         "}");
    }
    CHECK(client.read_command(1) == "yes");
    CHECK(client.read_command(1) == "yes");
}
