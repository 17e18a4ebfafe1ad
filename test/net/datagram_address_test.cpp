// Datagram sockets of Unix, and where sockets are bound and answer from.
#include <support/datagram_peer.hpp>
#include <support/datagram_sockets.hpp>
#include <support/inheritable_sockets.hpp>
#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/steady_timer.hpp>

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
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

TEST_CASE("a Unix client is named so that it can be answered, and leaves no file") {
    const temporary_folder folder;
    asio::io_context context;
    const std::string file = (folder / "server.sock").string();
    datagram_socket server{context.get_executor(), address::parse("unixgram://" + file)};
    run(context, [](datagram_socket& socket, const temporary_folder& in) -> asio::awaitable<void> {
        const auto first = co_await client_of(socket);
        const auto second = co_await client_of(socket);
        CHECK(first->local_address().starts_with('@'));
        CHECK(first->local_address() != second->local_address());
        CHECK(first->remote_address() == socket.local_address());
        co_await first->send("1");
        co_await second->send("2");
        for (int i = 0; i < 2; ++i) {
            const auto datagram = co_await socket.receive();
            REQUIRE(datagram);
            co_await socket.send(datagram->bytes, datagram->sender());
        }
        co_await socket.flush();
        CHECK(co_await next_text(*first) == "1");
        CHECK(co_await next_text(*second) == "2");
        CHECK(std::distance(std::filesystem::directory_iterator{in.path()}, {}) == 1);
    }(server, folder));
    server.close();
    CHECK_FALSE(std::filesystem::exists(file));
}

TEST_CASE("a Unix client learns that its server has left") {
    asio::io_context context;
    std::optional<datagram_socket> server;
    server.emplace(context.get_executor(), address::parse(abstract_name("leaving")));
    run(context, [](std::optional<datagram_socket>& socket) -> asio::awaitable<void> {
        const auto client = co_await client_of(*socket);
        co_await client->send("x");
        socket.reset();
        std::error_code ec;
        try {
            co_await client->send("y");
        } catch (const error& failure) {
            ec = failure.code();
        }
        CHECK(ec == std::errc::connection_refused);
    }(server));
}

TEST_CASE("a Unix client waits while its server's queue is full, and its datagrams stay in order") {
    asio::io_context context;
    datagram_socket server{context.get_executor(), address::parse(abstract_name("slow"))};
    static constexpr int count = 500;
    run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
        const auto executor = co_await asio::this_coro::executor;
        const auto client = co_await client_of(socket);
        bool sent = false;
        auto writer = [](datagram_socket& to, bool& done) -> asio::awaitable<void> {
            for (int i = 0; i < count; ++i) {
                const std::string text = std::to_string(i);
                co_await to.send(text);
            }
            done = true;
        };
        asio::co_spawn(executor, writer(*client, sent), [](std::exception_ptr failure) { CHECK_FALSE(failure); });
        co_await asio::post(executor, asio::use_awaitable);
        CHECK_FALSE(sent);
        for (int i = 0; i < count; ++i) {
            const std::string text = co_await next_text(socket);
            CHECK(text == std::to_string(i));
        }
        CHECK(client->counters().sent == count);
    }(server));
}

TEST_CASE("a Unix peer that does not read loses its answers after a while, and those of the others arrive") {
    asio::io_context context;
    datagram_socket_options options;
    options.send_patience = 5ms;
    options.batch = 512;
    std::vector<std::string> told;
    options.on_send_error = [&](std::error_code ec, const socket_address& to) {
        CHECK(ec == std::errc::no_buffer_space);
        told.push_back(to_string(to));
    };
    datagram_socket server{context.get_executor(), address::parse(abstract_name("unread")), options};
    const datagram_peer deaf{server.local(), datagram_peer::name::unconnected};
    const datagram_peer good{server.local()};
    run(context, [](datagram_socket& socket, const socket_address& stuck, const socket_address& other) -> asio::awaitable<void> {
        for (int i = 0; i < 400; ++i) CHECK(socket.try_send(as_bytes("never read"), stuck));
        co_await socket.send("for the good one", other);
        const time_point begin = clock::now();
        co_await socket.flush();
        CHECK(clock::now() - begin >= 5ms);
        CHECK(socket.counters().queue_full > 0);
        // From now on nobody waits for that peer.
        const std::uint64_t before = socket.counters().queue_full;
        for (int i = 0; i < 3; ++i) co_await socket.send("nor this", stuck);
        co_await socket.send("another", other);
        co_await socket.flush();
        CHECK(socket.counters().queue_full == before + 3);
    }(server, end_of(deaf.local_address()), end_of(good.local_address())));
    CHECK(good.receive() == "for the good one");
    CHECK(good.receive() == "another");
    for (const std::string& each : told) CHECK(each == deaf.local_address());
    const datagram_counters& counters = server.counters();
    CHECK(counters.sent + counters.queue_full == 405);
    CHECK(told.size() == counters.queue_full);
}

// The limit of a Unix socket's queue does not hold for the one that it is connected to: there is only the sender's buffer.
TEST_CASE("a connected Unix peer that does not read can fill the send buffer, until it leaves") {
    asio::io_context context;
    datagram_socket_options options;
    options.send_patience = 5ms;
    options.batch = 1024;
    datagram_socket server{context.get_executor(), address::parse(abstract_name("filling")), options};
    datagram_peer deaf{server.local()};
    const datagram_peer good{server.local()};
    run(context, [](datagram_socket& socket, datagram_peer& stuck, const socket_address& other) -> asio::awaitable<void> {
        const socket_address to = end_of(stuck.local_address());
        for (int i = 0; i < 1000; ++i) CHECK(socket.try_send(as_bytes("never read"), to));
        co_await socket.flush();
        CHECK(socket.counters().queue_full > 0);
        CHECK(socket.counters().sent + socket.counters().queue_full == 1000);
        stuck.close();
        co_await socket.send("at last", other);
        co_await socket.flush();
    }(server, deaf, end_of(good.local_address())));
    CHECK(good.receive() == "at last");
}

TEST_CASE("a Unix peer that reads slowly gets all of its answers, in order") {
    asio::io_context context;
    datagram_socket_options options;
    options.send_patience = 10s;
    datagram_socket server{context.get_executor(), address::parse(abstract_name("slow-peer")), options};
    static constexpr int count = 400;
    run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
        const auto executor = co_await asio::this_coro::executor;
        const auto client = co_await client_of(socket);
        auto writer = [](datagram_socket& from, const socket_address& to) -> asio::awaitable<void> {
            for (int i = 0; i < count; ++i) {
                const std::string text = std::to_string(i);
                co_await from.send(text, to);
            }
            co_await from.flush();
        };
        asio::co_spawn(executor, writer(socket, client->local()), [](std::exception_ptr failure) { CHECK_FALSE(failure); });
        for (int i = 0; i < count; ++i) {
            const std::string text = co_await next_text(*client);
            CHECK(text == std::to_string(i));
        }
        CHECK(socket.counters().queue_full == 0);
    }(server));
}

TEST_CASE("one socket for all addresses hears IPv4 and IPv6, one for a version only that") {
    asio::io_context context;
    const auto port_of = [](const datagram_socket& socket) { return socket.local_address().substr(socket.local_address().rfind(':')); };
    datagram_socket all{context.get_executor(), address::parse("udp://:0")};
    datagram_socket v6{context.get_executor(), address::parse("udp6://:0")};
    datagram_socket v4{context.get_executor(), address::parse("udp4://:0")};
    CHECK(all.local_address().starts_with("[::]:"));
    CHECK(v4.local_address().starts_with("0.0.0.0:"));
    const datagram_peer four{"127.0.0.1" + port_of(all)};
    const datagram_peer six{"[::1]" + port_of(all)};
    four.send("4");
    six.send("6");
    run(context, [](datagram_socket& socket) -> asio::awaitable<void> {
        for (int i = 0; i < 2; ++i) {
            const auto datagram = co_await socket.receive();
            REQUIRE(datagram);
            co_await socket.send(datagram->bytes, datagram->sender());
        }
        co_await socket.flush();
    }(all));
    CHECK(four.receive() == "4");
    CHECK(six.receive() == "6");
    const datagram_peer other{"127.0.0.1" + port_of(v6)};
    other.send("x");  // nobody is there
    CHECK_FALSE(other.receive());
    run(context, [](datagram_socket& socket, std::string port) -> asio::awaitable<void> {
        const time_point deadline = clock::now() + 10s;
        for (const char* host : {"udp://", "udp://localhost", "udp4://", "udp://127.0.0.1"}) {
            const address where = address::parse(host + port);
            const auto client = co_await connect_datagram(where, deadline);
            co_await client->send(host);
            CHECK(co_await next_text(socket) == host);
        }
    }(v4, port_of(v4)));
}

TEST_CASE("the file of a Unix socket: rights, what is stale is replaced, anything else left alone") {
    const temporary_folder folder;
    asio::io_context context;
    const std::string file = (folder / "d.sock").string();
    const std::string where = "unixgram://" + file;
    const auto mode_of = [&] {
        struct stat info {};
        REQUIRE(::lstat(file.c_str(), &info) == 0);
        return info.st_mode & 0777U;
    };
    {
        datagram_socket server{context.get_executor(), address::parse(where)};
        CHECK(mode_of() == 0770);
        CHECK(server.local_address() == file);
        CHECK(bind_failure(context, where) == errc::address_in_use);
    }
    CHECK_FALSE(std::filesystem::exists(file));
    {
        const datagram_socket server{context.get_executor(), address::parse(where), {}, {.mode = 0602, .group = ::getgid()}};
        CHECK(mode_of() == 0602);
    }
    {
        const int left = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const socket_address name = socket_address::of_unix(file);
        REQUIRE(::bind(left, name.data(), static_cast<socklen_t>(name.size())) == 0);
        ::close(left);
        REQUIRE(std::filesystem::exists(file));
        const datagram_socket server{context.get_executor(), address::parse(where)};
        CHECK(server.is_open());
    }
    folder.write("d.sock", "precious");
    CHECK(bind_failure(context, where) == errc::address_in_use);
    CHECK(std::filesystem::is_regular_file(file));
    CHECK(bind_failure(context, "unixgram://" + (folder / "no/such/folder.sock").string()) == std::errc::no_such_file_or_directory);
    if (::geteuid() != 0) CHECK(bind_failure(context, "unixgram:///kephas.sock") == std::errc::permission_denied);
}

TEST_CASE("what cannot be bound or connected is refused") {
    asio::io_context context;
    CHECK(bind_failure(context, "tcp://127.0.0.1:0") == errc::invalid_address);
    CHECK(bind_failure(context, "unix:///x.sock") == errc::invalid_address);
    CHECK(bind_failure(context, "udp4://[::1]:0") == errc::invalid_address);
    CHECK(bind_failure(context, "udp6://127.0.0.1:0") == errc::invalid_address);
    CHECK(bind_failure(context, "udp://example.org:0") == errc::invalid_address);
    CHECK(bind_failure(context, "udp://192.0.2.1:0") == std::errc::address_not_available);
    datagram_socket taken{context.get_executor(), address::parse("udp://127.0.0.1:0")};
    CHECK(bind_failure(context, "udp://" + taken.local_address()) == errc::address_in_use);
    address tls = address::parse("udp://127.0.0.1:0");
    tls.tls = true;
    CHECK_THROWS_AS(datagram_socket(context.get_executor(), tls), error);

    CHECK(refusal(context, "tcp://127.0.0.1:1").code() == errc::invalid_address);
    CHECK(refusal(context, "udp4://[::1]:1").code() == errc::invalid_address);
    CHECK(refusal(context, "udp6://127.0.0.1:1").code() == errc::invalid_address);
    CHECK(refusal(context, "unixgram://@kephas-nobody-" + std::to_string(::getpid())).code() == std::errc::connection_refused);
    const temporary_folder folder;
    CHECK(refusal(context, "unixgram://" + (folder / "none.sock").string()).code() == std::errc::no_such_file_or_directory);
    const std::string name = std::string(64, 'a') + ".example";  // a label has 63 bytes at most: nobody else is asked
    CHECK(refusal(context, "udp://" + name + ":80").code() == asio::error::host_not_found);
}

TEST_CASE("a socket for datagrams is not inherited by programs that are started") {
    for (const std::string& where : kinds) {
        CAPTURE(where);
        asio::io_context context;
        const int before = inheritable_sockets();
        datagram_socket server{context.get_executor(), address::parse(where)};
        CHECK(inheritable_sockets() == before);
        run(context, [](datagram_socket& socket, int others) -> asio::awaitable<void> {
            const auto client = co_await client_of(socket);
            CHECK(inheritable_sockets() == others);
        }(server, before));
    }
}

TEST_CASE("a socket for all addresses answers from the one that was asked") {
    asio::io_context context;
    const auto talk = [](datagram_socket& socket, std::string where) -> asio::awaitable<void> {
        const address to = address::parse(where);
        const time_point deadline = clock::now() + 10s;
        const auto client = co_await connect_datagram(to, deadline);
        const std::string large(1'000, 'x');
        for (int round = 0; round < 2; ++round) {
            co_await client->send(large);
            const auto datagram = co_await socket.receive(deadline);
            REQUIRE(datagram);
            const socket_address kept = datagram->sender();
            const socket_address bare{kept.data(), kept.size()};
            CHECK(kept == bare);
            CHECK(kept.hash() == bare.hash());
            co_await socket.send(datagram->bytes, datagram->sender());
            co_await socket.send("later", kept);
            co_await socket.flush();
            CHECK(co_await next_text(*client) == large);
            CHECK(co_await next_text(*client) == "later");
        }
    };
    for (const std::string where : {"udp4://:0", "udp://:0"}) {
        CAPTURE(where);
        datagram_socket server{context.get_executor(), address::parse(where)};
        const std::string port = server.local_address().substr(server.local_address().rfind(':'));
        for (const std::string host : {"127.0.0.2", "127.0.0.1", "127.255.255.254"}) {
            run(context, talk(server, "udp4://" + host + port));
        }
        if (server.local().family() == AF_INET6) run(context, talk(server, "udp6://[::1]" + port));
        CHECK(server.counters().failed == 0);
    }
}

TEST_CASE("an address of a socket is a value") {
    const socket_address nobody;
    CHECK(nobody.empty());
    CHECK(nobody.family() == AF_UNSPEC);
    CHECK(to_string(nobody) == "");
    const socket_address a = end_of("127.0.0.1:80");
    const socket_address b = end_of("127.0.0.1:81");
    const socket_address six = end_of("[::1]:80");
    const socket_address local = end_of("/run/x.sock");
    const socket_address abstract = end_of("@x");
    CHECK(a == end_of("127.0.0.1:80"));
    CHECK(std::hash<socket_address>{}(a) == std::hash<socket_address>{}(end_of("127.0.0.1:80")));
    CHECK_FALSE(a == b);
    CHECK_FALSE(a == six);
    CHECK_FALSE(a == nobody);
    CHECK(to_string(a) == "127.0.0.1:80");
    CHECK(to_string(six) == "[::1]:80");
    CHECK(to_string(local) == "/run/x.sock");
    CHECK(to_string(abstract) == "@x");
    CHECK(six.family() == AF_INET6);
    CHECK(local.family() == AF_UNIX);
    CHECK_THROWS_AS((void)socket_address::of_unix(""), error);
    CHECK_THROWS_AS((void)socket_address::of_unix(std::string(108, 'x')), error);
    CHECK(socket_address::of_unix(std::string(107, 'x')).size() == 110);
    const sockaddr_in raw{};
    CHECK_THROWS_AS(socket_address(reinterpret_cast<const sockaddr*>(&raw), 113), error);
}
