#include <support/datagram_peer.hpp>
#include <support/gate.hpp>
#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/datagram_server.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <exception>
#include <future>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

const std::array<std::string, 3> kinds{"udp://127.0.0.1:0", "udp6://[::1]:0",
                                       "unixgram://@kephas-datagram-server-" + std::to_string(::getpid())};

asio::awaitable<void> echo(datagram_socket& socket) {
    while (const auto datagram = co_await socket.receive()) co_await socket.send(datagram->bytes, datagram->sender());
}

/// Waits for nothing but its end.
asio::awaitable<void> wait_for_ever(datagram_socket& socket, journal* begun = nullptr) {
    if (begun != nullptr) begun->add("begun");
    steady_timer never{socket.get_executor()};
    never.expires_at(time_point::max());
    co_await never.async_wait(asio::use_awaitable);
}

/// Echoes, and throws what it is told to.
asio::awaitable<void> fragile_echo(datagram_socket& socket) {
    while (const auto datagram = co_await socket.receive()) {
        const std::string text{as_text(datagram->bytes)};
        if (text == "throw") throw std::runtime_error{"as it was told to"};
        if (text == "throw an int") throw 7;
        if (text == "return") co_return;
        co_await socket.send(datagram->bytes, datagram->sender());
    }
}

/// `run()` on a thread of its own, or `serve()` in a context that two threads run.
class running {
public:
    enum class how { own_thread, embedded };

    running(how kind, const std::string& where, datagram_server::handler handler, datagram_server_options options = {}) {
        if (kind == how::own_thread) {
            server_ = std::make_unique<datagram_server>(where, std::move(handler), std::move(options));
            server_->listen();
            threads_.emplace_back([this] { outcome_.set_value(server_->run()); });
        } else {
            server_ = std::make_unique<datagram_server>(context_, where, std::move(handler), std::move(options));
            server_->listen();
            asio::co_spawn(context_, server_->serve(),
                           asio::bind_cancellation_slot(cancel_.slot(), [this](std::exception_ptr failure, bool clean) {
                               if (failure) outcome_.set_exception(failure);
                               else outcome_.set_value(clean);
                           }));
            for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { context_.run(); });
        }
    }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running() {
        server_->close();
        for (std::thread& each : threads_) each.join();
    }

    datagram_server* operator->() const { return server_.get(); }
    [[nodiscard]] datagram_peer peer() const { return datagram_peer{server_->local_address()}; }
    /// Whether the handler has ended by itself.
    [[nodiscard]] bool outcome() {
        auto future = outcome_.get_future();
        REQUIRE(future.wait_for(10s) == std::future_status::ready);
        return future.get();
    }
    void wait_until_running() const {
        const auto limit = std::chrono::steady_clock::now() + 10s;
        while (!server_->is_running()) {
            REQUIRE(std::chrono::steady_clock::now() < limit);
            std::this_thread::yield();
        }
    }

private:
    asio::io_context context_;
    asio::cancellation_signal cancel_;
    std::unique_ptr<datagram_server> server_;
    std::promise<bool> outcome_;
    std::vector<std::thread> threads_;
};

const std::array<running::how, 2> both{running::how::own_thread, running::how::embedded};

/// How often something was told, and the last text.
struct told {
    std::atomic<int> count{0};
    journal texts;
    void operator()(std::string_view text) {
        texts.add(text);
        ++count;
    }
};

}  // namespace

TEST_CASE("a datagram server answers each sender, over UDP and Unix sockets") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            CAPTURE(where);
            running server{how, where, echo};
            std::vector<datagram_peer> peers;
            for (int i = 0; i < 8; ++i) peers.push_back(server.peer());
            for (int round = 0; round < 5; ++round) {
                for (std::size_t i = 0; i < peers.size(); ++i) peers[i].send(std::to_string(i));
                for (std::size_t i = 0; i < peers.size(); ++i) CHECK(peers[i].receive() == std::to_string(i));
            }
            CHECK(server->open_connections() == 1);
            CHECK(server->is_running());
            CHECK_FALSE(server->is_gone());
            server->shutdown(10s);
            CHECK(server.outcome());
            CHECK(server->open_connections() == 0);
            CHECK_FALSE(server->is_running());
            CHECK(server->is_gone());
            for (const datagram_peer& each : peers) CHECK(each.nothing_there());
        }
    }
}

TEST_CASE("a datagram server counts as one connection while it is running, and as none before and after") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        datagram_server server{context, where, echo};
        CHECK(server.open_connections() == 0);
        CHECK(server.local_address().empty());
        server.listen();
        server.listen();  // once is enough
        CHECK_FALSE(server.local_address().empty());
        CHECK(server.open_connections() == 0);
        CHECK_FALSE(server.is_gone());
        run(context, [](datagram_server& which, asio::io_context& in) -> asio::awaitable<void> {
            bool clean = false;
            asio::co_spawn(in, which.serve(), [&](std::exception_ptr failure, bool outcome) {
                CHECK_FALSE(failure);
                clean = outcome;
            });
            co_await asio::post(in, asio::use_awaitable);
            CHECK(which.open_connections() == 1);
            which.shutdown(10s);
            while (!which.is_gone()) co_await asio::post(in, asio::use_awaitable);
            co_await asio::post(in, asio::use_awaitable);
            CHECK(clean);
            CHECK(which.open_connections() == 0);
        }(server, context));
        CHECK_FALSE(server.local_address().empty());
    }
}

TEST_CASE("what the handler throws is told, and the next datagrams are served") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            CAPTURE(where);
            told errors;
            datagram_server_options options;
            options.on_error = [&](const std::exception_ptr& failure) {
                try {
                    std::rethrow_exception(failure);
                } catch (const std::exception& known) {
                    errors(known.what());
                } catch (...) {
                    errors("something else");
                }
                throw std::runtime_error{"a callback that throws"};
            };
            running server{how, where, fragile_echo, options};
            const datagram_peer peer = server.peer();
            // All of them in one batch, perhaps.
            for (const char* text : {"throw", "one", "throw an int", "throw", "two"}) peer.send(text);
            CHECK(peer.receive() == "one");
            CHECK(peer.receive() == "two");
            CHECK(errors.texts.wait_for(3));
            CHECK(errors.texts.all() == std::vector<std::string>{"as it was told to", "something else", "as it was told to"});
            CHECK(server->is_running());
            server->shutdown(10s);
            CHECK(server.outcome());
        }
    }
}

TEST_CASE("a handler that throws before it has received anything ends the server") {
    for (const auto how : both) {
        std::atomic<int> begun{0};
        told errors;
        datagram_server_options options;
        options.on_error = [&](const std::exception_ptr&) { errors("once"); };
        running server{how, kinds[0], [&](datagram_socket&) -> asio::awaitable<void> {
                           ++begun;
                           throw std::runtime_error{"at once"};
                           co_return;
                       },
                       options};
        CHECK_FALSE(server.outcome());
        CHECK(server->is_gone());
        CHECK(begun == 1);
        CHECK(errors.count == 1);
    }
}

TEST_CASE("without a callback what the handler throws is logged") {
    journal lines;
    datagram_server_options options;
    options.log = logger{log_level::info, [&](log_level, std::string_view line) { lines.add(line); }};
    running server{running::how::own_thread, kinds[0], fragile_echo, options};
    const datagram_peer peer = server.peer();
    peer.send("throw");
    peer.send("on");
    CHECK(peer.receive() == "on");
    bool logged = false;
    for (const std::string& line : lines.all()) logged = logged || line.find("as it was told to") != std::string::npos;
    CHECK(logged);
}

TEST_CASE("a handler that returns ends the server") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            running server{how, where, fragile_echo};
            const datagram_peer peer = server.peer();
            peer.send("on");
            CHECK(peer.receive() == "on");
            peer.send("return");
            CHECK(server.outcome());
            CHECK(server->is_gone());
        }
    }
}

TEST_CASE("what was queued when the handler returns still leaves") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            running server{how, where, [](datagram_socket& socket) -> asio::awaitable<void> {
                               const auto datagram = co_await socket.receive();
                               CHECK(socket.try_send(datagram->bytes, datagram->sender()));
                               CHECK(socket.try_send(as_bytes("bye"), datagram->sender()));
                           }};
            const datagram_peer peer = server.peer();
            peer.send("hello");
            CHECK(peer.receive() == "hello");
            CHECK(peer.receive() == "bye");
            CHECK(server.outcome());
        }
    }
}

TEST_CASE("a handler that does not end by the deadline is cancelled") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            journal begun;
            running server{how, where, [&](datagram_socket& socket) { return wait_for_ever(socket, &begun); }};
            REQUIRE(begun.wait_for(1));
            const time_point begin = clock::now();
            server->shutdown(30ms);
            CHECK_FALSE(server.outcome());
            CHECK(clock::now() - begin >= 30ms);
            CHECK(clock::now() - begin < 10s);
            CHECK(server->is_gone());
        }
    }
}

TEST_CASE("a handler may take its time before the deadline") {
    for (const auto how : both) {
        journal received;
        gate last;
        running server{how, kinds[0], [&](datagram_socket& socket) -> asio::awaitable<void> {
                           socket_address to;
                           while (const auto datagram = co_await socket.receive()) {
                               to = datagram->sender();
                               received.add("one");
                           }
                           co_await last.wait();
                           co_await socket.send("the last word", to);
                       }};
        const datagram_peer peer = server.peer();
        peer.send("hello");
        REQUIRE(received.wait_for(1));
        server->shutdown(10s);
        REQUIRE(last.wait_for_waiting(1));
        CHECK(server->open_connections() == 0);
        CHECK_FALSE(server->is_gone());
        last.open();
        CHECK(server.outcome());
        CHECK(peer.receive() == "the last word");
    }
}

TEST_CASE("close ends a server at once, and is not an error of the handler") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            told errors;
            datagram_server_options options;
            options.on_error = [&](const std::exception_ptr&) { errors("told"); };
            journal begun;
            running server{how, where, [&](datagram_socket& socket) { return wait_for_ever(socket, &begun); }, options};
            REQUIRE(begun.wait_for(1));
            server->close();
            CHECK_FALSE(server.outcome());
            CHECK(server->is_gone());
            CHECK(errors.count == 0);
            server->close();
        }
    }
}

TEST_CASE("a server that was told to end before it began ends at once") {
    for (const bool at_once : {false, true}) {
        datagram_server server{kinds[0], echo};
        if (at_once) server.close();
        else server.shutdown(10s);
        CHECK(server.run());  // no handler had to be cut
        CHECK(server.is_gone());
    }
}

TEST_CASE("a server serves once") {
    datagram_server server{kinds[0], echo};
    server.shutdown(10s);
    CHECK(server.run());
    std::error_code ec;
    try {
        (void)server.run();
    } catch (const error& failure) {
        ec = failure.code();
    }
    CHECK(ec == errc::already_running);
    CHECK(server.is_gone());
}

TEST_CASE("a server whose address is taken can be run once it is free") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        auto first = std::make_unique<datagram_server>(where, echo);
        first->listen();
        const std::string taken = where.substr(0, where.find("://") + 3) + first->local_address();
        datagram_server second{taken, echo};
        std::error_code ec;
        try {
            (void)second.run();
        } catch (const error& failure) {
            ec = failure.code();
        }
        CHECK(ec == errc::address_in_use);
        first.reset();
        second.shutdown(10s);
        CHECK(second.run());
    }
}

TEST_CASE("cancelling serve is a shutdown") {
    for (const std::string& where : kinds) {
        asio::io_context context;
        datagram_server_options options;
        options.drain_timeout = 10s;
        datagram_server server{context, where, echo, options};
        asio::cancellation_signal cancel;
        bool clean = false;
        bool thrown = false;
        asio::co_spawn(context, server.serve(), asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr failure, bool outcome) {
                           thrown = failure != nullptr;
                           clean = outcome;
                       }));
        asio::post(context, [&] { asio::post(context, [&] { cancel.emit(asio::cancellation_type::terminal); }); });
        context.run_for(10s);
        CHECK(server.is_gone());
        CHECK(clean);
        CHECK_FALSE(thrown);
    }
}

TEST_CASE("cancelling serve a second time closes") {
    asio::io_context context;
    datagram_server_options options;
    options.drain_timeout = 1h;
    datagram_server server{context, kinds[0], [](datagram_socket& socket) { return wait_for_ever(socket); }, options};
    asio::cancellation_signal cancel;
    bool ended = false;
    bool clean = true;
    asio::co_spawn(context, server.serve(), asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr failure, bool outcome) {
                       CHECK_FALSE(failure);
                       ended = true;
                       clean = outcome;
                   }));
    context.poll();
    CHECK(server.is_running());
    cancel.emit(asio::cancellation_type::total);
    context.restart();
    context.poll();
    CHECK_FALSE(server.is_running());
    CHECK_FALSE(ended);
    cancel.emit(asio::cancellation_type::total);
    context.restart();
    context.run_for(10s);
    CHECK(ended);
    CHECK_FALSE(clean);
    CHECK(server.is_gone());
}

TEST_CASE("a signal ends run, and a second one closes") {
    for (const bool twice : {false, true}) {
        datagram_server_options options;
        options.drain_timeout = 1h;
        gate begun;
        datagram_server server{kinds[0], twice ? datagram_server::handler{[&](datagram_socket& socket) -> asio::awaitable<void> {
                                   begun.open();
                                   co_await begun.wait();
                                   co_await wait_for_ever(socket);
                               }}
                                               : datagram_server::handler{[&](datagram_socket& socket) -> asio::awaitable<void> {
                                   begun.open();
                                   co_await begun.wait();
                                   co_await echo(socket);
                               }},
                               options};
        std::thread signals{[&] {
            CHECK(begun.wait_for_arrivals(1));
            ::kill(::getpid(), SIGTERM);
            if (!twice) return;
            const auto limit = std::chrono::steady_clock::now() + 10s;
            while (server.is_running() && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
            ::kill(::getpid(), SIGTERM);
        }};
        CHECK(server.run() == !twice);
        signals.join();
    }
}

TEST_CASE("beginning and end of listening are told") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            told messages;
            datagram_server_options options;
            options.on_message = [&](std::string_view text) {
                messages(text);
                throw std::runtime_error{"concerns nobody"};
            };
            running server{how, where, echo, options};
            const std::string end = where.substr(0, where.find("://") + 3) + server->local_address();
            CHECK(messages.texts.all() == std::vector<std::string>{"listening on " + end});
            server->shutdown(10s);
            CHECK(server.outcome());
            CHECK(messages.texts.all() == std::vector<std::string>{"listening on " + end, "not listening on " + server->local_address() + " any more"});
        }
    }
}

TEST_CASE("the file of a Unix datagram server has its mode, and goes with it") {
    const temporary_folder folder;
    const std::string file = (folder / "server.sock").string();
    for (const auto how : both) {
        datagram_server_options options;
        options.access.mode = 0600;
        running server{how, "unixgram://" + file, echo, options};
        struct stat info {};
        REQUIRE(::lstat(file.c_str(), &info) == 0);
        CHECK(S_ISSOCK(info.st_mode));
        CHECK((info.st_mode & 0777U) == 0600U);
        const datagram_peer peer = server.peer();
        peer.send("hello");
        CHECK(peer.receive() == "hello");
        server->shutdown(10s);
        CHECK(server.outcome());
        CHECK_FALSE(std::filesystem::exists(file));
    }
}

TEST_CASE("a client of ours and a server of ours talk") {
    for (const auto how : both) {
        for (const std::string& where : kinds) {
            CAPTURE(where);
            const running server{how, where, echo};
            asio::io_context context;
            run(context, [](std::string end) -> asio::awaitable<void> {
                const address parsed = address::parse(end);
                const time_point deadline = clock::now() + 10s;
                const auto client = co_await connect_datagram(parsed, deadline);
                for (int i = 0; i < 50; ++i) {
                    const std::string text = "number " + std::to_string(i);
                    co_await client->send(text);
                    const auto answer = co_await client->receive(deadline);
                    REQUIRE(answer);
                    CHECK(as_text(answer->bytes) == text);
                    CHECK(answer->sender() == client->remote());
                }
            }(where.substr(0, where.find("://") + 3) + server->local_address()));
        }
    }
}

TEST_CASE("a flood does not keep a server from ending") {
    for (const auto how : both) {
        datagram_server_options options;
        options.socket.batch = 1;
        running server{how, kinds[0], echo, options};
        server.wait_until_running();
        std::atomic<bool> stop{false};
        std::thread flood{[&, where = server->local_address()] {
            const datagram_peer peer{where};
            while (!stop) peer.send_if_there("x");
        }};
        server->shutdown(10s);
        CHECK(server.outcome());
        stop = true;
        flood.join();
    }
}

TEST_CASE("what cannot be a datagram server is refused") {
    const auto code_of = [](const std::string& where) {
        try {
            const datagram_server server{where, echo};
        } catch (const error& failure) {
            return failure.code();
        }
        return std::error_code{};
    };
    CHECK(code_of("tcp://:0") == errc::invalid_address);
    CHECK(code_of("tls://:0") == errc::invalid_address);
    CHECK(code_of("unix:///x") == errc::invalid_address);
    CHECK(code_of("udp://") == errc::invalid_address);
    CHECK(code_of("unixgram://") == errc::invalid_address);
    CHECK(code_of("unixgram:///" + std::string(107, 'x')) == errc::invalid_address);
    address tls = address::parse("udp://:0");
    tls.tls = true;
    CHECK_THROWS_WITH_AS(datagram_server(tls, echo), doctest::Contains("TLS"), error);
    CHECK_THROWS_AS(datagram_server("udp://:0", nullptr), std::invalid_argument);
    datagram_server_options options;
    options.drain_timeout = -1s;
    CHECK_THROWS_WITH_AS(datagram_server("udp://:0", echo, options), doctest::Contains("drain_timeout"), std::invalid_argument);
    options = {};
    options.access.mode = 01777;
    CHECK_THROWS_WITH_AS(datagram_server("udp://:0", echo, options), doctest::Contains("access.mode"), std::invalid_argument);
    options = {};
    options.socket.batch = 0;
    CHECK_THROWS_WITH_AS(datagram_server("udp://:0", echo, options), doctest::Contains("batch"), std::invalid_argument);
    asio::io_context context;
    datagram_server embedded{context, "udp://127.0.0.1:0", echo};
    CHECK_THROWS_AS((void)embedded.run(), std::logic_error);
}
