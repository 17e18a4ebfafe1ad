#include <support/certificates.hpp>
#include <support/run_coroutine.hpp>
#include <support/temporary_folder.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/config.hpp>
#include <kephas/net/connect_datagram.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <exception>
#include <fstream>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

asio::awaitable<void> echo(connection& client) {
    std::array<std::byte, 4096> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) co_await client.write(bytes_view{buffer}.first(size));
}

asio::awaitable<void> answer(datagram_socket& socket) {
    while (const auto datagram = co_await socket.receive()) co_await socket.send(datagram->bytes, datagram->sender());
}

/// Why it cannot be built; empty if it can.
template <class Builder>
std::string refusal(const Builder& builder) {
    std::string said;
    try {
        builder.validate();
    } catch (const std::exception& failure) {
        said = failure.what();
    }
    std::string built;
    try {
        (void)builder.build();
    } catch (const std::exception& failure) {
        built = failure.what();
    }
    CHECK(said == built);
    return said;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Serves while the client talks.
void serve_while(asio::io_context& context, socket_server& server, asio::awaitable<void> talk) {
    asio::co_spawn(context, server.serve(), [](const std::exception_ptr& failure, bool) { CHECK_FALSE(failure); });
    run(context, std::move(talk));
    server.close();
    context.restart();
    context.run_for(10s);
    CHECK(server.is_gone());
}

asio::awaitable<void> say_hello(stream_client& client) {
    std::string seen;
    co_await client.once("hello\n", 10s, [&seen](connection& on) -> asio::awaitable<void> { seen = co_await on.read_until("\n"); });
    CHECK(seen == "hello\n");
}

}  // namespace

TEST_CASE("the builder makes servers and clients of TCP, TLS and Unix sockets that talk") {
    const temporary_folder folder;
    std::ofstream{folder / "cert.pem"} << localhost_pair().certificate;
    std::ofstream{folder / "key.pem"} << localhost_pair().key;
    asio::io_context context;
    {
        const auto server = config::server().network(config::tcp).address("127.0.0.1:0").handler(echo).build(context);
        server->listen();
        const auto client = config::client().network(config::tcp).address(server->local_address()).keep_alive(1min).build();
        serve_while(context, *server, say_hello(*client));
    }
    {
        const auto server = config::server().network(config::tcp4).address("127.0.0.1:0").handler(echo)
                                .tls((folder / "cert.pem").string(), (folder / "key.pem").string()).build(context);
        server->listen();
        const std::string port = server->local_address().substr(server->local_address().rfind(':'));
        std::vector<connection_state> states;
        const auto client = config::client().address("localhost" + port).tls({.ca = pem_text(common_ca().certificate())})
                                .on_state([&](const connection&, connection_state now) { states.push_back(now); }).build();
        serve_while(context, *server, say_hello(*client));
        REQUIRE_FALSE(states.empty());
        CHECK(states.front() == connection_state::dial);
        CHECK(states.back() == connection_state::closed);
    }
    {
        const std::string file = (folder / "built.sock").string();
        const auto server = config::server().network(config::unix_stream).address(file).permissions(0600).handler(echo).build(context);
        server->listen();
        struct stat about{};
        REQUIRE(::stat(file.c_str(), &about) == 0);
        CHECK((about.st_mode & 0777) == 0600);
        const auto client = config::client().network(config::unix_stream).address(file).build();
        serve_while(context, *server, say_hello(*client));
    }
}

TEST_CASE("the builder makes servers of datagrams") {
    const temporary_folder folder;
    asio::io_context context;
    for (const auto kind : {config::udp, config::udp4, config::unix_datagram}) {
        const std::string where = is_unix(kind) ? (folder / "built.sock").string() : "127.0.0.1:0";
        std::vector<std::string> said;
        const auto server = config::server().network(kind).address(where).handler(answer).max_datagram(2000)
                                .on_message([&](std::string_view text) { said.emplace_back(text); }).build(context);
        server->listen();
        const auto scheme = std::string{to_string(kind)};
        serve_while(context, *server, [](std::string to) -> asio::awaitable<void> {
            const auto socket = co_await connect_datagram(address::parse(to), clock::now() + 10s);
            co_await socket->send("ping");
            const auto datagram = co_await socket->receive(clock::now() + 10s);
            REQUIRE(datagram);
            CHECK(as_text(datagram->bytes) == "ping");
        }(scheme + "://" + server->local_address()));
        REQUIRE(said.size() == 2);
        CHECK(said.front().starts_with("listening on " + scheme + "://"));
    }
}

TEST_CASE("the builder says what does not fit together") {
    const std::string where = "127.0.0.1:0";
    const auto tcp = [&] { return config::server().network(config::tcp).address(where).handler(echo); };
    const auto udp = [&] { return config::server().network(config::udp).address(where).handler(answer); };
    const auto file = [&] { return config::server().network(config::unix_stream).address("/tmp/x.sock").handler(echo); };
    tls_options tls;
    tls.certificates = {{pem_text(localhost_pair().certificate), pem_text(localhost_pair().key)}};

    CHECK(refusal(tcp()).empty());
    CHECK(refusal(udp()).empty());
    CHECK(refusal(file()).empty());
    CHECK(contains(refusal(config::server().handler(echo)), "there is no address"));
    CHECK(contains(refusal(config::server().address(where)), "there is no handler"));
    CHECK(contains(refusal(tcp().address("8080")), "8080"));
    CHECK(contains(refusal(tcp().address(":99999")), "0 to 65535"));
    CHECK(contains(refusal(tcp().address("[::1:80")), "["));
    CHECK(contains(refusal(tcp().handler(answer)), "only connections"));
    CHECK(contains(refusal(udp().handler(echo)), "only datagrams"));
    CHECK(contains(refusal(udp().tls(tls)), "no TLS over datagrams"));
    CHECK(contains(refusal(file().tls(tls)), "no TLS over Unix sockets"));
    CHECK(refusal(tcp().tls(tls)).empty());
    CHECK(refusal(udp().tls(tls).no_tls()).empty());
    CHECK(contains(refusal(tcp().tls(tls_options{})), "at least one"));  // it does not fail open
    CHECK(contains(refusal(udp().idle_timeout(1s)), "idle_timeout"));
    CHECK(contains(refusal(udp().authorize([](const connection&) { return true; })), "authorize"));
    CHECK(contains(refusal(udp().on_state([](const connection&, connection_state) {})), "on_state"));
    CHECK(contains(refusal(udp().threads(2)), "threads"));
    CHECK(contains(refusal(udp().max_connections(2)), "max_connections"));
    CHECK(contains(refusal(tcp().max_datagram(100)), "max_datagram"));
    CHECK(contains(refusal(tcp().max_connections(0)), "max_connections"));
    CHECK(contains(refusal(tcp().idle_timeout(-1s)), "idle_timeout"));
    CHECK(contains(refusal(udp().drain_timeout(-1s)), "drain_timeout"));
    CHECK(contains(refusal(tcp().permissions(0600)), "file of a Unix socket"));
    CHECK(contains(refusal(file().address("@name").permissions(0600)), "file of a Unix socket"));
    CHECK(contains(refusal(file().permissions(01777)), "access.mode"));
    CHECK(contains(refusal(file().permissions(0600, -2)), "the group -2 is out of range"));
    CHECK(contains(refusal(file().permissions(0600, 4'294'967'295)), "out of range: -1, or 0 to 4294967294"));
    CHECK(refusal(file().permissions(0660, 40'000)).empty());
    CHECK(contains(refusal(file().address("/" + std::string(107, 'x'))), "at most 107 bytes"));
    CHECK(contains(refusal(file().address("")), "there is no address"));

    CHECK(contains(refusal(config::client()), "there is no address"));
    CHECK(contains(refusal(config::client().network(config::udp).address(where)), "datagrams"));
    CHECK(contains(refusal(config::client().network(config::unix_stream).address("/x").tls()), "no TLS over Unix sockets"));
    CHECK(contains(refusal(config::client().address(where).keep_alive(-1s)), "keep_alive"));
    CHECK(refusal(config::client().address(where).tls({.verify = false})).empty());
    CHECK(contains(refusal(config::client().address(where).tls({.ca = pem_text("none")})), "no certificate in PEM form"));
    CHECK(contains(refusal(config::client().address(where).tls({.ca = pem_file("/no/such/file.pem")})), "/no/such/file.pem"));
}
