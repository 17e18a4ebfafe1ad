#include <support/inheritable_sockets.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/net/acceptor.hpp>
#include <kephas/net/address.hpp>
#include <kephas/net/owned_fd.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <fstream>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;

namespace {

owned_fd unix_socket(int type = SOCK_STREAM) { return owned_fd{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)}; }

bool exists(const std::string& path) {
    struct stat info{};
    return ::lstat(path.c_str(), &info) == 0;
}

struct stat status_of(const std::string& path) {
    struct stat info{};
    REQUIRE(::lstat(path.c_str(), &info) == 0);
    return info;
}

}  // namespace

TEST_CASE("the file of a Unix socket has the mode and the group that were asked for, whatever the umask") {
    const temporary_folder folder;
    const mode_t before = ::umask(0077);
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
        const std::string path = folder / "access.sock";
        const owned_fd socket = unix_socket(type);
        const unix_socket_file file{socket.get(), path, {.mode = 0666, .group = ::getegid()}};
        CHECK((status_of(path).st_mode & 07777) == 0666);
        CHECK(status_of(path).st_gid == ::getegid());
    }
    CHECK(::umask(before) == 0077);  // nobody has touched it
}

TEST_CASE("a group that the process may not give to the file is an error, and no file stays") {
    if (::geteuid() == 0) return;  // who may do anything
    const temporary_folder folder;
    const owned_fd socket = unix_socket();
    CHECK_THROWS_AS((unix_socket_file{socket.get(), folder / "a.sock", {.group = 0}}), error);
    CHECK_FALSE(exists(folder / "a.sock"));
}

TEST_CASE("a Unix socket takes the place of one that nobody uses any more, and of nothing else") {
    const temporary_folder folder;
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
        const std::string path = folder / "used.sock";
        const owned_fd first = unix_socket(type);
        const unix_socket_file file{first.get(), path, {}};
        if (type == SOCK_STREAM) REQUIRE(::listen(first.get(), 1) == 0);
        const owned_fd second = unix_socket(type);
        CHECK_THROWS_WITH_AS((unix_socket_file{second.get(), path, {}}), doctest::Contains("in use"), error);
        CHECK(exists(path));
    }
    {
        const std::string path = folder / "stale.sock";
        {
            const owned_fd killed = unix_socket();
            unix_socket_file* const left_behind = new unix_socket_file{killed.get(), path, {}};
            REQUIRE(::link(path.c_str(), (folder / "kept").c_str()) == 0);
            delete left_behind;
            REQUIRE(::rename((folder / "kept").c_str(), path.c_str()) == 0);
        }
        const owned_fd next = unix_socket();
        const unix_socket_file file{next.get(), path, {}};
        CHECK(exists(path));
    }
    const std::string document = folder / "document";
    std::ofstream{document} << "mine";
    REQUIRE(::symlink(document.c_str(), (folder / "link").c_str()) == 0);
    for (const std::string& path : {document, (folder / "link").string(), folder.path().string()}) {
        const owned_fd socket = unix_socket();
        CHECK_THROWS_AS((unix_socket_file{socket.get(), path, {}}), error);
        CHECK(exists(path));
    }
}

TEST_CASE("the file of a Unix socket goes with it, but not one that has taken its name") {
    const temporary_folder folder;
    const std::string path = folder / "a.sock";
    {
        const owned_fd socket = unix_socket();
        const unix_socket_file file{socket.get(), path, {}};
        CHECK(exists(path));
    }
    CHECK_FALSE(exists(path));
    {
        const owned_fd socket = unix_socket();
        const unix_socket_file file{socket.get(), path, {}};
        REQUIRE(::unlink(path.c_str()) == 0);
        std::ofstream{path} << "somebody else's";
    }
    CHECK(exists(path));
}

TEST_CASE("an abstract name has no file, and can be in use as well") {
    const std::string name = "@kephas-acceptor-test-" + std::to_string(::getpid());
    const owned_fd first = unix_socket();
    const unix_socket_file file{first.get(), name, {}};
    CHECK_FALSE(exists(name));
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    REQUIRE(::getsockname(first.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    CHECK(to_string(reinterpret_cast<const sockaddr*>(&bound), size) == name);
    const owned_fd second = unix_socket();
    CHECK_THROWS_AS((unix_socket_file{second.get(), name, {}}), error);
}

TEST_CASE("a path that is too long, or that cannot be bound, is an error that names it") {
    const temporary_folder folder;
    const owned_fd socket = unix_socket();
    const std::string longest(longest_unix_path + 1, 'a');
    CHECK_THROWS_WITH_AS((unix_socket_file{socket.get(), longest, {}}), doctest::Contains(longest.c_str()), error);
    const std::string nowhere = folder / "none" / "a.sock";
    CHECK_THROWS_WITH_AS((unix_socket_file{socket.get(), nowhere, {}}), doctest::Contains("none/a.sock"), error);
}

TEST_CASE("an acceptor says where it listens, and what hinders it") {
    asio::io_context context;
    const asio::ip::tcp::endpoint any_port{asio::ip::address_v4::loopback(), 0};
    acceptor first{context.get_executor(), any_port};
    const std::string bound = to_string(first.endpoint().data(), first.endpoint().size());
    CHECK(bound.starts_with("127.0.0.1:"));
    CHECK(bound != "127.0.0.1:0");
    try {
        const acceptor second{context.get_executor(), first.endpoint()};
        FAIL("two listen on one port");
    } catch (const error& failure) {
        CHECK(failure.code() == errc::address_in_use);
        CHECK(std::string{failure.what()}.find(bound) != std::string::npos);
    }
    CHECK_THROWS_AS((acceptor{context.get_executor(), asio::ip::tcp::endpoint{asio::ip::make_address("192.0.2.1"), 0}}), error);
}

TEST_CASE("a socket that listens is not inherited by programs that are started") {
    asio::io_context context;
    const int before = inheritable_sockets();
    const acceptor tcp{context.get_executor(), asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
    const temporary_folder folder;
    const acceptor local{context.get_executor(), asio::local::stream_protocol::endpoint{folder / "a.sock"}};
    CHECK(inheritable_sockets() == before);
}

TEST_CASE("whatever one connection throws, others are accepted") {
    asio::io_context context;
    acceptor listening{context.get_executor(), asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
    int accepted = 0;
    std::string logged;
    std::exception_ptr failure;
    asio::co_spawn(
        context,
        listening.accept(
            [&](int fd) {
                const owned_fd taken{fd};
                if (++accepted == 1) throw 1;
                listening.stop();
            },
            logger{log_level::debug, [&](log_level, std::string_view text) { logged += text; }}),
        [&](std::exception_ptr thrown) { failure = std::move(thrown); });
    const acceptor::protocol::endpoint where = listening.endpoint();
    const owned_fd first{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const owned_fd second{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    for (const owned_fd* each : {&first, &second}) {
        REQUIRE(::connect(each->get(), where.data(), static_cast<socklen_t>(where.size())) == 0);
    }
    context.run_for(std::chrono::seconds{10});
    CHECK(accepted == 2);
    CHECK_FALSE(failure);
    CHECK(logged.find("cannot take a connection") != std::string::npos);
}

TEST_CASE("the ends of sockets are told as text") {
    const auto text = [](const auto& endpoint) { return to_string(endpoint.data(), endpoint.size()); };
    using asio::ip::make_address;
    CHECK(text(asio::ip::tcp::endpoint{make_address("192.0.2.1"), 80}) == "192.0.2.1:80");
    CHECK(text(asio::ip::tcp::endpoint{make_address("2001:db8::1"), 65535}) == "[2001:db8::1]:65535");
    CHECK(text(asio::local::stream_protocol::endpoint{"/run/a.sock"}) == "/run/a.sock");
    CHECK(text(asio::local::stream_protocol::endpoint{}).empty());
}
