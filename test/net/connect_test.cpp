#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect.hpp>
#include <kephas/net/owned_fd.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/stream_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

namespace {

/// What connecting to `where` throws.
error refusal(asio::io_context& context, const std::string& where, duration timeout = 10s) {
    return failure_of(context, [](std::string text, duration limit) -> asio::awaitable<void> {
        (void)co_await connect(address::parse(text), clock::now() + limit);
    }(where, timeout));
}

asio::awaitable<void> echo(connection& client) {
    std::array<std::byte, 4096> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) {
        co_await client.write(bytes_view{buffer}.first(size));
    }
}

asio::awaitable<void> talk(std::string where) {
    const auto server = co_await connect(address::parse(where), clock::now() + 10s);
    CHECK(server->is_open());
    CHECK((::fcntl(server->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    co_await server->write("hello\n");
    CHECK(co_await server->read_until("\n") == "hello\n");
    server->shutdown_write();
    CHECK(co_await server->read_until("\n") == "");
}

/// A socket that listens and accepts nobody, with a queue that is full.
class full_listener {
public:
    full_listener() {
        REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof(address_)) == 0);
        REQUIRE(::listen(fd_.get(), 0) == 0);
        socklen_t size = sizeof(address_);
        REQUIRE(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address_), &size) == 0);
        for (int i = 0; i < 3; ++i) {
            waiting_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            (void)::connect(waiting_.back().get(), reinterpret_cast<const sockaddr*>(&address_), sizeof(address_));
        }
    }
    [[nodiscard]] std::string where() const { return "tcp://127.0.0.1:" + std::to_string(ntohs(address_.sin_port)); }

private:
    sockaddr_in address_{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    owned_fd fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    std::vector<owned_fd> waiting_;
};

/// A port of this machine on which nobody listens.
std::string free_port() {
    const owned_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    socklen_t size = sizeof(address);
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return std::to_string(ntohs(address.sin_port));
}

}  // namespace

TEST_CASE("a client talks to a server over TCP and over Unix sockets") {
    const temporary_folder folder;
    const std::string file = "unix://" + (folder / "talk.sock").string();
    const std::string abstract = "unix://@kephas-connect-" + std::to_string(::getpid());
    for (const std::string& where : {std::string{"tcp://127.0.0.1:0"}, std::string{"tcp6://[::1]:0"}, file, abstract}) {
        CAPTURE(where);
        asio::io_context context;
        stream_server server{context, where, echo};
        server.listen();
        asio::co_spawn(context, server.serve(), [](std::exception_ptr failure, bool) { CHECK_FALSE(failure); });
        const bool tcp = where.starts_with("tcp");
        run(context, talk(tcp ? where.substr(0, where.find(':')) + "://" + server.local_address() : where));
        if (tcp) {
            const std::string port = server.local_address().substr(server.local_address().rfind(':'));
            run(context, talk(where.substr(0, where.find(':')) + "://" + port));           // no host: this machine
            if (where.starts_with("tcp:")) run(context, talk("tcp://localhost" + port));  // ::1 may come first, and refuse
        }
        server.close();
        context.restart();
        context.run_for(10s);
        CHECK(server.is_gone());
    }
}

TEST_CASE("a connection that is refused is an error with the address") {
    asio::io_context context;
    const std::string where = "tcp://127.0.0.1:" + free_port();
    const error failure = refusal(context, where);
    CHECK(failure.code() == std::errc::connection_refused);
    CHECK(std::string{failure.what()}.find(where) != std::string::npos);
    const temporary_folder folder;
    CHECK(refusal(context, "unix://" + (folder / "none.sock").string()).code() == std::errc::no_such_file_or_directory);
    CHECK(refusal(context, "unix://@nobody-" + std::to_string(::getpid())).code() == std::errc::connection_refused);
}

TEST_CASE("a name that nobody can have is an error with the name") {
    asio::io_context context;
    const std::string name = std::string(64, 'a') + ".example";  // a label has 63 bytes at most: nobody else is asked
    const error failure = refusal(context, "tcp://" + name + ":80");
    CHECK(failure.code() == asio::error::host_not_found);
    CHECK(std::string{failure.what()}.find(name) != std::string::npos);
}

TEST_CASE("the deadline ends an attempt that nobody answers, and has passed before one that comes too late") {
    const full_listener nobody;
    asio::io_context context;
    const auto begin = clock::now();
    CHECK(refusal(context, nobody.where(), 50ms).code() == errc::timed_out);
    CHECK(clock::now() - begin >= 50ms);
    CHECK(refusal(context, nobody.where(), -1s).code() == errc::timed_out);
    CHECK(refusal(context, nobody.where(), 50ms).code() == condition::timed_out);
}

TEST_CASE("connecting can be cancelled") {
    const full_listener nobody;
    asio::io_context context;
    run(context, [](std::string where) -> asio::awaitable<void> {
        steady_timer soon{co_await asio::this_coro::executor};
        soon.expires_after(5ms);
        const auto outcome = co_await (connect(address::parse(where), clock::now() + 10s) || soon.async_wait(asio::use_awaitable));
        CHECK(outcome.index() == 1);
    }(nobody.where()));
}

TEST_CASE("what cannot be connected is refused") {
    asio::io_context context;
    CHECK(refusal(context, "tcp4://[::1]:1").code() == errc::invalid_address);
    CHECK(refusal(context, "tcp6://127.0.0.1:1").code() == errc::invalid_address);
    CHECK(refusal(context, "udp://127.0.0.1:1").code() == errc::invalid_address);
}

TEST_CASE("TCP sockets are kept alive and prepared on both sides, and a socket whose preparation fails is closed") {
    const auto option = [](int fd, int level, int name) {
        int value = -1;
        socklen_t size = sizeof(value);
        CHECK(::getsockopt(fd, level, name, &value, &size) == 0);
        return value;
    };
    const auto check = [&](int fd, int idle) {
        CHECK(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
        CHECK(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == idle);
        CHECK(option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == idle / 4);
        CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    };
    asio::io_context context;
    int accepted = 0;
    stream_server_options options;
    options.keep_alive = 100s;
    options.prepare_socket = [&](int fd) {
        if (++accepted == 2) throw std::runtime_error{"not this one"};
        const int size = 8192;
        CHECK(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
    };
    stream_server server{context, "tcp://127.0.0.1:0", [&](connection& client) -> asio::awaitable<void> {
        check(client.native_handle(), 100);
        CHECK(option(client.native_handle(), SOL_SOCKET, SO_RCVBUF) == 2 * 8192);  // socket(7): doubled
        co_await echo(client);
    }, options};
    server.listen();
    asio::co_spawn(context, server.serve(), [](std::exception_ptr failure, bool) { CHECK_FALSE(failure); });
    const std::string where = "tcp://" + server.local_address();
    run(context, [](std::string to, decltype(check)* look) -> asio::awaitable<void> {
        connect_options wishes;
        int prepared = -1;
        wishes.prepare_socket = [&](int fd) { prepared = fd; };
        const auto first = co_await connect(address::parse(to), clock::now() + 10s, wishes);
        CHECK(prepared == first->native_handle());
        (*look)(first->native_handle(), 300);
        co_await first->write("x");
        std::array<std::byte, 1> byte;
        co_await first->read_exactly(byte);
        const auto refused = co_await connect(address::parse(to), clock::now() + 10s);
        CHECK(co_await refused->read_some(byte) == 0);
        wishes = {};
        wishes.keep_alive = duration::zero();
        const auto third = co_await connect(address::parse(to), clock::now() + 10s, wishes);
        int value = -1;
        socklen_t size = sizeof(value);
        CHECK(::getsockopt(third->native_handle(), SOL_SOCKET, SO_KEEPALIVE, &value, &size) == 0);
        CHECK(value == 0);
        co_await third->write("y");
        co_await third->read_exactly(byte);
    }(where, &check));
    CHECK(accepted == 3);
    server.close();
    context.restart();
    context.run_for(10s);
    CHECK(server.is_gone());
}
