// What goes wrong with streams: each is an error that says what, and nobody else notices.
#include <support/run_coroutine.hpp>
#include <support/running_stream_server.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect.hpp>
#include <kephas/net/owned_fd.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/stream_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <ostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

constexpr auto own_threads = running_stream_server::how::own_threads;

asio::awaitable<void> echo(connection& client) {
    std::array<std::byte, 4096> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) co_await client.write(bytes_view{buffer}.first(size));
}

/// Both kinds of stream sockets, each with an address of its own.
struct transports {
    temporary_folder folder;
    std::vector<std::string> all{"tcp://127.0.0.1:0", "unix://" + (folder / "faults.sock").string()};
};

std::string url(const std::string& asked, const stream_server& server) {
    return asked.starts_with("unix") ? asked : "tcp://" + server.local_address();
}

error refusal(const std::string& where, duration timeout = 10s) {
    asio::io_context context;
    return failure_of(context, [](std::string text, duration limit) -> asio::awaitable<void> {
        (void)co_await connect(address::parse(text), clock::now() + limit);
    }(where, timeout));
}

/// The code that a handler or a callback came to know, on another thread.
class told_code {
public:
    void tell(std::error_code code) {
        const std::lock_guard lock{mutex_};
        if (!told_) code_ = code;
        told_ = true;
        changed_.notify_all();
    }
    [[nodiscard]] std::error_code get() {
        std::unique_lock lock{mutex_};
        REQUIRE(changed_.wait_for(lock, 10s, [this] { return told_; }));
        return code_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::error_code code_;
    bool told_ = false;
};

stream_server_options telling(told_code& to) {
    stream_server_options options;
    options.on_error = [&to](const std::exception_ptr& failure) {
        try {
            std::rethrow_exception(failure);
        } catch (const std::system_error& known) {
            to.tell(known.code());
        }
    };
    return options;
}

bool is_lost(const std::error_code& code) {
    return code == std::errc::connection_reset || code == std::errc::broken_pipe;
}

asio::awaitable<void> talk(std::string where) {
    const auto server = co_await connect(address::parse(where), clock::now() + 10s);
    co_await server->write("next\n");
    const std::string answer = co_await server->read_until("\n");
    CHECK(answer == "next\n");
}

/// Whoever comes next is served.
void next_is_served(const std::string& where) {
    asio::io_context context;
    run(context, talk(where));
}

/// A Unix socket that listens and whose queue is full; it accepts when it is told to.
class full_unix_listener {
public:
    explicit full_unix_listener(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        const auto* where = reinterpret_cast<const sockaddr*>(&address);
        REQUIRE(::bind(fd_.get(), where, sizeof(address)) == 0);
        REQUIRE(::listen(fd_.get(), 0) == 0);
        for (;;) {
            waiting_.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            if (::connect(waiting_.back().get(), where, sizeof(address)) != 0) break;
        }
    }
    void accept_all() {
        for (std::size_t i = 0; i < waiting_.size(); ++i) accepted_.emplace_back(::accept(fd_.get(), nullptr, nullptr));
    }

private:
    owned_fd fd_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    std::vector<owned_fd> waiting_;  // the last of them in vain
    std::vector<owned_fd> accepted_;
};

}  // namespace

TEST_CASE("a peer that resets while a handler reads is an error of that handler, and the next one is served") {
    const transports over;
    for (const std::string& where : over.all) {
        CAPTURE(where);
        told_code told;
        const running_stream_server server{own_threads, where, echo, telling(told)};
        asio::io_context context;
        run(context, [](std::string to) -> asio::awaitable<void> {
            const auto peer = co_await connect(address::parse(to), clock::now() + 10s);
            co_await peer->write("x");
            // What it leaves unread makes the end of a Unix socket a reset, too.
            steady_timer timer{co_await asio::this_coro::executor};
            while (::recv(peer->native_handle(), std::array<char, 1>{}.data(), 1, MSG_PEEK | MSG_DONTWAIT) != 1) {
                timer.expires_after(1ms);
                co_await timer.async_wait(asio::use_awaitable);
            }
            peer->abort();
        }(url(where, *server.operator->())));
        CHECK(told.get() == std::errc::connection_reset);
        next_is_served(url(where, *server.operator->()));
    }
}

TEST_CASE("a peer that resets while a handler waits to write is an error of that handler, and the next one is served") {
    const transports over;
    for (const std::string& where : over.all) {
        CAPTURE(where);
        told_code told;
        const running_stream_server server{own_threads, where, [](connection& client) -> asio::awaitable<void> {
            const std::string line = co_await client.read_until("\n");
            if (line == "next\n") {
                co_await client.write(line);
                co_return;
            }
            const std::string much(8 * 1024 * 1024, 'x');
            co_await client.write(much);
        }, telling(told)};
        asio::io_context context;
        run(context, [](std::string to) -> asio::awaitable<void> {
            const auto peer = co_await connect(address::parse(to), clock::now() + 10s);
            co_await peer->write("much\n");
            std::array<std::byte, 1> first;
            co_await peer->read_exactly(first);
            peer->abort();
        }(url(where, *server.operator->())));
        CHECK(is_lost(told.get()));
        next_is_served(url(where, *server.operator->()));
    }
}

TEST_CASE("a server that resets is an error of the client at each stage: before, while and after it reads, and when it writes") {
    const transports over;
    for (const std::string& where : over.all) {
        CAPTURE(where);
        const running_stream_server server{own_threads, where, [](connection& client) -> asio::awaitable<void> {
            std::array<std::byte, 1> stage;
            if (co_await client.read_some(stage) == 0) co_return;
            if (stage[0] == std::byte{'p'}) co_await client.write("part");
            if (stage[0] != std::byte{'n'}) {
                client.abort();
                co_return;
            }
            std::array<std::byte, 4> rest;
            co_await client.read_exactly(rest);
            co_await client.write("next\n");
        }};
        const std::string to = url(where, *server.operator->());
        asio::io_context context;
        const auto fails = [&](asio::awaitable<void> (*task)(connection&)) {
            return failure_of(context, [](std::string text, asio::awaitable<void> (*what)(connection&)) -> asio::awaitable<void> {
                const auto peer = co_await connect(address::parse(text), clock::now() + 10s);
                co_await what(*peer);
            }(to, task)).code();
        };
        // TCP tells of the reset; of a Unix socket that was read out the peer sees the end, unless something was left unread.
        const bool tcp = where.starts_with("tcp");
        CHECK(fails([](connection& peer) -> asio::awaitable<void> {
            co_await peer.write("xy");  // y is never read
            std::array<std::byte, 1> one;
            co_await peer.read_exactly(one);
        }) == std::errc::connection_reset);
        const std::error_code in_the_middle = fails([](connection& peer) -> asio::awaitable<void> {
            co_await peer.write("p");
            std::array<std::byte, 100> more;
            co_await peer.read_exactly(more);
        });
        if (tcp) CHECK(in_the_middle == std::errc::connection_reset);
        else CHECK(in_the_middle == asio::error::eof);
        CHECK(is_lost(fails([](connection& peer) -> asio::awaitable<void> {
            const std::string much(64 * 1024, 'x');
            for (;;) co_await peer.write(much);
        })));
        next_is_served(to);
    }
}

TEST_CASE("a server that ends in the middle of what is read exactly is the end of the stream") {
    const transports over;
    for (const std::string& where : over.all) {
        CAPTURE(where);
        const running_stream_server server{own_threads, where, [](connection& client) -> asio::awaitable<void> { co_await client.write("half"); }};
        asio::io_context context;
        CHECK(failure_of(context, [](std::string to) -> asio::awaitable<void> {
            const auto peer = co_await connect(address::parse(to), clock::now() + 10s);
            std::array<std::byte, 8> whole;
            co_await peer->read_exactly(whole);
        }(url(where, *server.operator->()))).code() == asio::error::eof);
    }
}

TEST_CASE("connecting to what is no socket, or to a path in no folder, says so") {
    const temporary_folder folder;
    std::ofstream{folder / "file"} << "not a socket";
    CHECK(refusal("unix://" + (folder / "file").string()).code() == std::errc::connection_refused);
    CHECK(refusal("unix://" + (folder / "none" / "x.sock").string()).code() == std::errc::no_such_file_or_directory);
    CHECK(refusal("unix://" + (folder / "file" / "x.sock").string()).code() == std::errc::not_a_directory);
}

TEST_CASE("a file of a Unix socket that one may not write to refuses who may not, and serves who may") {
    const temporary_folder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    const std::string where = "unix://" + (folder / "private.sock").string();
    stream_server_options options;
    options.access.mode = ::geteuid() == 0 ? 0700 : 0000;  // root may whatever the mode says: somebody else asks then
    const running_stream_server server{own_threads, where, echo, options};
    const pid_t child = ::fork();
    if (child == 0) {
        if (::geteuid() == 0 && ::setuid(65'534) != 0) ::_exit(3);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = where.substr(7);
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        // The child of a program with threads calls nothing that may wait for a lock.
        const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
        ::_exit(result != 0 && errno == EACCES ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    if (::geteuid() == 0) next_is_served(where);
    else CHECK(refusal(where).code() == std::errc::permission_denied);
}

TEST_CASE("a Unix server that is too busy to accept is waited for, until the deadline") {
    const temporary_folder folder;
    const std::string path = (folder / "busy.sock").string();
    full_unix_listener listener{path};
    CHECK(refusal("unix://" + path, 20ms).code() == errc::timed_out);

    asio::io_context context;
    steady_timer later{context.get_executor()};
    later.expires_after(10ms);
    later.async_wait([&](std::error_code) { listener.accept_all(); });
    run(context, [](std::string to) -> asio::awaitable<void> {
        const auto server = co_await connect(address::parse(to), clock::now() + 10s);
        CHECK(server->is_open());
    }("unix://" + path));
}

TEST_CASE("a server that listens where somebody does, or where it may not, says so and can be tried again") {
    const transports over;
    for (const std::string& where : over.all) {
        CAPTURE(where);
        std::string taken;
        {
            const running_stream_server first{own_threads, where, echo};
            taken = url(where, *first.operator->());
            stream_server second{taken, echo};
            try {
                second.listen();
                FAIL("both listen");
            } catch (const error& failure) {
                CHECK(failure.code() == errc::address_in_use);
                CHECK(std::string{failure.what()}.find(taken.substr(taken.find("://") + 3)) != std::string::npos);
            }
            next_is_served(taken);
        }
        stream_server third{taken, echo};
        third.listen();
    }
    stream_server nowhere{"unix:///no/such/folder/x.sock", echo};
    try {
        nowhere.listen();
        FAIL("it listens");
    } catch (const error& failure) {
        CHECK(failure.code() == std::errc::no_such_file_or_directory);
    }
}
