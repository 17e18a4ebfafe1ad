// What becomes of a connection that cannot be attached: it is closed, once, and its place is free for the next one.
#include <support/virtual_world.hpp>

#include <asio/generic/stream_protocol.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>

#include <dirent.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

int closed_in_vain = 0;

}  // namespace

/// Takes the place of that of the C library: a descriptor that is closed twice is somebody else's the second time.
extern "C" int close(int fd) {
    const long result = ::syscall(SYS_close, fd);
    if (result != 0 && errno == EBADF) ++closed_in_vain;
    return static_cast<int>(result);
}

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using socket_type = asio::generic::stream_protocol::socket;
const asio::generic::stream_protocol unix_stream{AF_UNIX, 0};

/// Two ends of a connection; one is to be attached.
struct ends {
    ends() {
        std::array<int, 2> fds{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
        ours = fds[0];
        theirs = fds[1];
    }
    ends(const ends&) = delete;
    ends& operator=(const ends&) = delete;
    ~ends() { ::close(ours); }

    /// What the server has sent, with "end" behind it if it has closed; "waiting" if it has not.
    [[nodiscard]] std::string received() const {
        std::string all;
        char chunk[4096];
        for (;;) {
            const ssize_t size = ::recv(ours, chunk, sizeof(chunk), 0);
            if (size <= 0) return all + (size == 0 ? "end" : errno == EAGAIN ? "waiting" : "lost");
            all.append(chunk, static_cast<std::size_t>(size));
        }
    }

    int ours = -1;
    int theirs = -1;
};

std::size_t open_descriptors() {
    DIR* folder = ::opendir("/proc/self/fd");
    REQUIRE(folder != nullptr);
    std::size_t count = 0;
    while (::readdir(folder) != nullptr) ++count;
    ::closedir(folder);
    return count;
}

router echo() {
    router routes;
    routes.raw(dispatch::on_strand, [](request req) -> asio::awaitable<std::optional<payload>> { co_return payload{req.share()}; });
    return routes;
}

server_options one_connection() {
    server_options options = virtual_options();
    options.connections.total = 1;
    return options;
}

/// The place of the one connection that there may be is free.
void check_serves(virtual_world& world) {
    CHECK(world->stats().connections == 0);
    memory_client client = world.open();
    client.send_text("hello");
    world.settle();
    CHECK(client.take() == events{"text hello"});
    CHECK(world->stats().connections == 1);
    client.send_close(1000);
    world.settle();
    client.end();
    world.run_for(10s);
    CHECK(world->stats().connections == 0);
}

}  // namespace

TEST_CASE("a socket that the system does not let us attach is closed once, and its place is given back") {
    virtual_world world{echo(), one_connection()};
    const std::size_t before = open_descriptors();
    closed_in_vain = 0;
    for (int i = 0; i < 3; ++i) {
        asio::io_context elsewhere;
        ends pair;
        socket_type socket{elsewhere, unix_stream, pair.theirs};
        socket_type obstacle{world.context(), unix_stream, pair.theirs};  // the server's epoll knows it already
        CHECK_THROWS_AS(world->attach(std::move(socket)), std::system_error);
        CHECK(pair.received() == "end");
        CHECK(world->stats().connections == 0);
        CHECK(world->stats().handshakes == 0);
        (void)obstacle.release();
        CHECK(closed_in_vain == 0);
    }
    CHECK(open_descriptors() == before);
    check_serves(world);
    CHECK(world->stats().accepted == 4);
}

TEST_CASE("a stream that cannot be made takes no place") {
    virtual_world world{echo(), one_connection()};
    for (int i = 0; i < 3; ++i) {
        const auto fails = [](const asio::any_io_executor&) -> std::unique_ptr<stream> { throw std::runtime_error{"no stream"}; };
        CHECK_THROWS_WITH_AS(world->attach(fails), "no stream", std::runtime_error);
        CHECK(world->stats().connections == 0);
    }
    check_serves(world);
}

TEST_CASE("a socket beyond the limit is answered with 503 and closed once; a stream is not even made") {
    virtual_world world{echo(), one_connection()};
    const std::size_t before = open_descriptors();
    closed_in_vain = 0;
    {
        memory_client first = world.open();
        for (int i = 0; i < 3; ++i) {
            ends pair;
            world->attach(socket_type{world.context(), unix_stream, pair.theirs});
            const std::string answer = pair.received();
            CHECK(answer.starts_with("HTTP/1.1 503 "));
            CHECK(answer.ends_with("end"));
            ::shutdown(pair.ours, SHUT_WR);
            world.run_for(5s);  // it lingers
            CHECK(open_descriptors() == before + 1);
        }
        bool made = false;
        const auto make = [&](const asio::any_io_executor&) -> std::unique_ptr<stream> {
            made = true;
            return nullptr;
        };
        try {
            world->attach(make);
            CHECK_MESSAGE(false, "it was let in");
        } catch (const error& refused) {
            CHECK(refused.code() == errc::overloaded);
        }
        CHECK_FALSE(made);
        CHECK(world->stats().connections == 1);
        first.send_close(1000);
        world.settle();
        first.end();
        world.run_for(10s);
    }
    CHECK(closed_in_vain == 0);
    CHECK(open_descriptors() == before);
    check_serves(world);
}

TEST_CASE("a socket that is closed already cannot be attached, and nothing is closed for it") {
    virtual_world world{echo(), one_connection()};
    closed_in_vain = 0;
    CHECK_THROWS_AS(world->attach(socket_type{world.context()}), std::system_error);
    CHECK(closed_in_vain == 0);
    CHECK(world->stats().accepted == 0);
    check_serves(world);
}
