// Streams over TLS: our server and our client, and each of them with something that we did not write.
#include <support/process.hpp>
#include <support/run_coroutine.hpp>
#include <support/running_stream_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/tls_client.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect.hpp>
#include <kephas/net/stream_server.hpp>
#include <kephas/net/tls_client_context.hpp>

#include <asio/error.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/socket.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

constexpr auto own_threads = running_stream_server::how::own_threads;
const std::vector<running_stream_server::how> both{own_threads, running_stream_server::how::embedded};

asio::awaitable<void> echo(connection& client) {
    std::array<std::byte, 16 * 1024> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) {
        co_await client.write(bytes_view{buffer}.first(size));
    }
}

tls_certificate in_memory(const key_pair& pair) { return {pem_text(pair.certificate), pem_text(pair.key)}; }

stream_server_options with(const key_pair& pair) {
    stream_server_options options;
    options.tls.certificates = {in_memory(pair)};
    options.tls.alpn = {};
    return options;
}

/// Errors as a callback is told of them, on whatever thread.
class error_list {
public:
    void add(const std::exception_ptr& failure) {
        const std::lock_guard lock{mutex_};
        try {
            std::rethrow_exception(failure);
        } catch (const std::system_error& known) {
            all_.push_back(known.code());
        } catch (...) {
            all_.push_back(std::make_error_code(std::errc::not_supported));
        }
        changed_.notify_all();
    }
    /// The first one; waits until it is there.
    [[nodiscard]] std::error_code first() {
        std::unique_lock lock{mutex_};
        REQUIRE(changed_.wait_for(lock, 10s, [this] { return !all_.empty(); }));
        return all_.front();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::error_code> all_;
};

tls_client_options trusting(const test_ca& ca) {
    tls_client_options options;
    options.ca = pem_text(ca.certificate());
    return options;
}

connect_options how(const tls_client_options& tls) {
    connect_options options;
    options.tls = std::make_shared<const tls_client_context>(tls);
    return options;
}

/// The address of a server as a client whose certificate names `host` wants it.
std::string url(const std::string& local, std::string_view host = "localhost") {
    return "tls://" + std::string{host} + local.substr(local.rfind(':'));
}

error refusal(const std::string& where, connect_options options, duration limit = 10s) {
    asio::io_context context;
    return failure_of(context, [](std::string text, connect_options wishes, duration most) -> asio::awaitable<void> {
        (void)co_await connect(address::parse(text), clock::now() + most, wishes);
    }(where, std::move(options), limit));
}

asio::awaitable<void> talk(std::string where, connect_options options) {
    const auto server = co_await connect(address::parse(where), clock::now() + 10s, options);
    REQUIRE(server->tls());
    co_await server->write("hello\n");
    const std::string answer = co_await server->read_until("\n");
    CHECK(answer == "hello\n");
    server->shutdown_write();
    std::array<std::byte, 16> rest;
    CHECK(co_await server->read_some(rest) == 0);  // with a close_notify: it would be `truncated` otherwise
}

void talk_to(const std::string& where, const connect_options& options) {
    asio::io_context context;
    run(context, talk(where, options));
}

}  // namespace

TEST_CASE("a TLS server and a TLS client talk, and both see what was agreed") {
    for (const auto kind : both) {
        stream_server_options options = with(localhost_pair());
        options.tls.alpn = {"echo/1"};
        std::promise<std::optional<tls_info>> seen;
        running_stream_server server{kind, "tls://127.0.0.1:0",
            [&](connection& client) -> asio::awaitable<void> {
                seen.set_value(client.tls());
                co_await echo(client);
            }, options};
        tls_client_options wishes = trusting(common_ca());
        wishes.alpn = {"other", "echo/1"};
        asio::io_context context;
        run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
            const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
            const auto agreed = peer->tls();
            REQUIRE(agreed);
            CHECK(agreed->version == "TLSv1.3");
            CHECK(agreed->alpn == "echo/1");
            CHECK(agreed->server_name == "localhost");
            REQUIRE(agreed->certificate);
            CHECK(agreed->certificate->common_name == "localhost");
            co_await peer->write("over TLS\n");
            CHECK(co_await peer->read_until("\n") == "over TLS\n");
        }(url(server->local_address()), how(wishes)));
        const auto agreed = seen.get_future().get();
        REQUIRE(agreed);
        CHECK(agreed->server_name == "localhost");
        CHECK(agreed->alpn == "echo/1");
        CHECK_FALSE(agreed->certificate);
        server.wait_for_connections(0);
    }
}

TEST_CASE("the end of a TLS stream is said with close_notify, by either side, and a half-closed one still answers") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, with(localhost_pair())};
    for (int i = 0; i < 3; ++i) talk_to(url(server->local_address()), how(trusting(common_ca())));
}

TEST_CASE("what was written before a TLS connection is closed arrives, however slowly it is read") {
    static constexpr std::size_t size = 4 * 1024 * 1024;
    stream_server_options options = with(localhost_pair());
    options.drain_timeout = 1s;
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        const std::string all(size, 'x');
        co_await client.write(all);
    }, options};
    asio::io_context context;
    run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
        const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
        std::vector<std::byte> all(size);
        co_await peer->read_exactly(all);
        CHECK(all.back() == std::byte{'x'});
        std::array<std::byte, 1> rest;
        CHECK(co_await peer->read_some(rest) == 0);
        CHECK(peer->bytes_read() == size);
    }(url(server->local_address()), how(trusting(common_ca()))));
}

TEST_CASE("megabytes in both directions at once come back as they were") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, with(localhost_pair())};
    tls_wishes wishes;
    tls_client client{static_cast<std::uint16_t>(std::stoi(server->local_address().substr(server->local_address().rfind(':') + 1))), wishes};
    client.handshake();
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += std::to_string(i);
    std::size_t got = 0;
    for (std::size_t at = 0; at < text.size(); at += 50'000) {
        const std::string_view part = std::string_view{text}.substr(at, 50'000);
        client.send(as_bytes(part));
        for (const std::size_t until = got + part.size(); got < until;) {
            std::array<char, 8192> block{};
            const std::size_t size = client.receive(block);
            REQUIRE(size > 0);
            REQUIRE(text.compare(got, size, block.data(), size) == 0);
            got += size;
        }
    }
    CHECK(got == text.size());
}

TEST_CASE("a read that was asked for before another one finds what that has left decrypted") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, with(localhost_pair())};
    asio::io_context context;
    run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
        const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
        std::array<std::byte, 16> all{};
        asio::awaitable<std::size_t> late = peer->read_some(all);
        co_await peer->write("0123456789");
        std::array<std::byte, 4> first{};
        co_await peer->read_exactly(first);
        const std::size_t size = co_await std::move(late);
        CHECK(as_text(bytes_view{all}.first(size)) == "456789");
    }(url(server->local_address()), how(trusting(common_ca()))));
}

TEST_CASE("certificate: one that nobody who is trusted has issued is refused, by default and with another CA") {
    error_list told;
    stream_server_options options = with(localhost_pair());
    options.on_error = [&](const std::exception_ptr& failure) { told.add(failure); };
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, options};
    const error by_default = refusal(url(server->local_address()), {});
    CHECK(by_default.code() == errc::certificate_not_trusted);
    CHECK(by_default.code() == condition::unauthorized);
    CHECK(std::string{by_default.what()}.find("tls://localhost") != std::string::npos);
    const test_ca other{"another CA"};
    CHECK(refusal(url(server->local_address()), how(trusting(other))).code() == errc::certificate_not_trusted);
    CHECK(told.first() == condition::protocol_violation);  // the client's alert
    talk_to(url(server->local_address()), how(trusting(common_ca())));  // the next one is served
}

TEST_CASE("certificate: an expired one is refused") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo,
                                       with(common_ca().issue({.names = {"localhost"}, .expired = true}))};
    CHECK(refusal(url(server->local_address()), how(trusting(common_ca()))).code() == errc::certificate_expired);
}

TEST_CASE("certificate: one for another name is refused, and the name may be given") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, with(common_ca().issue({.names = {"kephas.example"}}))};
    CHECK(refusal(url(server->local_address()), how(trusting(common_ca()))).code() == errc::certificate_name_mismatch);
    CHECK(refusal(url(server->local_address(), "127.0.0.1"), how(trusting(common_ca()))).code() == errc::certificate_name_mismatch);
    tls_client_options named = trusting(common_ca());
    named.server_name = "kephas.example";
    talk_to(url(server->local_address(), "127.0.0.1"), how(named));
    named.server_name = "kephas.example.";
    talk_to(url(server->local_address(), "127.0.0.1"), how(named));
}

TEST_CASE("certificate: an address has to be one of its addresses, not one of its names") {
    const running_stream_server right{own_threads, "tls://127.0.0.1:0", echo,
                                      with(common_ca().issue({.names = {"x"}, .addresses = {"127.0.0.1"}}))};
    talk_to(url(right->local_address(), "127.0.0.1"), how(trusting(common_ca())));
    const running_stream_server wrong{own_threads, "tls://127.0.0.1:0", echo, with(common_ca().issue({.names = {"127.0.0.1"}}))};
    CHECK(refusal(url(wrong->local_address(), "127.0.0.1"), how(trusting(common_ca()))).code() == errc::certificate_name_mismatch);
}

TEST_CASE("certificate: without verification anybody is believed") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo,
                                       with(common_ca().issue({.names = {"x"}, .expired = true}))};
    tls_client_options nobody;
    nobody.verify = false;
    talk_to(url(server->local_address()), how(nobody));
}

TEST_CASE("authorize sees the client's certificate, and a client without one is refused where one is required") {
    error_list told;
    stream_server_options options = with(localhost_pair());
    options.tls.clients = client_certificates::required;
    options.tls.client_ca = pem_text(common_ca().certificate());
    options.on_error = [&](const std::exception_ptr& failure) { told.add(failure); };
    options.authorize = [](const connection& client) { return client.tls()->certificate->common_name == "alice"; };
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, options};
    tls_client_options alice = trusting(common_ca());
    alice.certificate = in_memory(common_ca().issue({.names = {"alice"}, .for_client = true}));
    talk_to(url(server->local_address()), how(alice));

    const auto fails_to_talk = [&](const tls_client_options& who) {
        asio::io_context context;
        return failure_of(context, talk(url(server->local_address()), how(who)));
    };
    tls_client_options bob = alice;
    bob.certificate = in_memory(common_ca().issue({.names = {"bob"}, .for_client = true}));
    asio::io_context context;
    run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
        const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
        std::array<std::byte, 1> rest;
        CHECK(co_await peer->read_some(rest) == 0);  // turned away, with a close_notify
    }(url(server->local_address()), how(bob)));
    // TLS 1.3: the client is ready before the server has seen what it shows.
    CHECK(fails_to_talk(trusting(common_ca())).code() == condition::protocol_violation);
    CHECK(told.first() == condition::protocol_violation);
    talk_to(url(server->local_address()), how(alice));
}

TEST_CASE("a handler that reads again after TLS has failed gets the same error, and nothing that was never decrypted") {
    std::promise<std::vector<std::error_code>> told;
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", [&](connection& client) -> asio::awaitable<void> {
        std::vector<std::error_code> all;
        std::array<std::byte, 16> few;
        co_await client.write("!");  // the handshake is over
        for (int i = 0; i < 3; ++i) {
            std::error_code code;
            try {
                if (i == 1) (void)co_await client.read_until("\n");
                else (void)co_await client.read_some(few);
            } catch (const std::system_error& failure) {
                code = failure.code();
            }
            all.push_back(code);
        }
        CHECK(client.has_failed());
        told.set_value(std::move(all));
    }, with(localhost_pair())};
    tls_client client{static_cast<std::uint16_t>(std::stoi(server->local_address().substr(server->local_address().rfind(':') + 1)))};
    client.handshake();
    std::array<char, 1> begun{};
    REQUIRE(client.receive(begun) == 1);
    client.send_on_wire(std::string{"\x17\x03\x03\x00\x20", 5} + std::string(100'000, 'x'));
    auto outcome = told.get_future();
    REQUIRE(outcome.wait_for(10s) == std::future_status::ready);
    const std::vector<std::error_code> all = outcome.get();
    CHECK(all.at(0) == condition::protocol_violation);
    CHECK(all == std::vector<std::error_code>(3, all.at(0)));
}

TEST_CASE("a client that leaves its scope says that this is the end, and tells that it is closed") {
    error_list told;
    std::promise<std::size_t> last;
    stream_server_options options = with(localhost_pair());
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", [&](connection& client) -> asio::awaitable<void> {
        std::array<std::byte, 16> few;
        (void)co_await client.read_some(few);
        co_await client.write("y");
        std::size_t size = 99;
        try {
            size = co_await client.read_some(few);  // it would throw `truncated` without a close_notify
        } catch (const std::system_error& failure) {
            told.add(std::current_exception());
        }
        last.set_value(size);
    }, options};
    std::vector<connection_state> states;
    connect_options wishes = how(trusting(common_ca()));
    wishes.on_state = [&](const connection&, connection_state now) { states.push_back(now); };
    asio::io_context context;
    run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
        const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
        co_await peer->write("x");
        std::array<std::byte, 1> answer;  // behind the server's session tickets: left unread, they would make it a reset
        co_await peer->read_exactly(answer);
    }(url(server->local_address()), wishes));
    auto outcome = last.get_future();
    REQUIRE(outcome.wait_for(10s) == std::future_status::ready);
    CHECK(outcome.get() == 0);
    CHECK(states.back() == connection_state::closed);
    CHECK(states.front() == connection_state::dial);
}

TEST_CASE("options of TLS with another address are refused, not ignored") {
    asio::io_context context;
    CHECK_THROWS_AS(run(context, [](connect_options use) -> asio::awaitable<void> {
        (void)co_await connect(address::parse("tcp://127.0.0.1:1"), clock::now() + 10s, use);
    }(how(trusting(common_ca())))), std::invalid_argument);
    stream_server_options open;
    open.tls.clients = client_certificates::required;
    open.tls.client_ca = pem_text(common_ca().certificate());
    CHECK_THROWS_AS(stream_server("tcp://127.0.0.1:0", echo, open), std::invalid_argument);
}

TEST_CASE("a peer that does not finish its TLS handshake is closed after the handshake timeout") {
    error_list told;
    stream_server_options options = with(localhost_pair());
    options.handshake_timeout = 50ms;
    options.on_error = [&](const std::exception_ptr& failure) { told.add(failure); };
    running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, options};
    const socket_peer silent = server.connect();
    CHECK(silent.ends());
    CHECK(told.first() == errc::timed_out);
    server.wait_for_connections(0);
}

TEST_CASE("a peer that does not speak TLS is closed with an error, and the next one is served") {
    error_list told;
    stream_server_options options = with(localhost_pair());
    options.on_error = [&](const std::exception_ptr& failure) { told.add(failure); };
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, options};
    const socket_peer plain = server.connect();
    plain.send("hello, server!\n");
    (void)plain.ends();
    CHECK(told.first() == condition::protocol_violation);
    talk_to(url(server->local_address()), how(trusting(common_ca())));
}

TEST_CASE("a server that does not speak TLS, and one that says nothing, are errors of the client") {
    const running_stream_server talker{own_threads, "tcp://127.0.0.1:0",
                                       [](connection& client) -> asio::awaitable<void> { co_await client.write("220 ready\r\n"); }};
    CHECK(refusal(url(talker->local_address()), how(trusting(common_ca()))).code() == condition::protocol_violation);
    const running_stream_server silent{own_threads, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        std::array<std::byte, 4096> buffer;
        while (co_await client.read_some(buffer) > 0) {
        }
    }};
    CHECK(refusal(url(silent->local_address()), how(trusting(common_ca())), 50ms).code() == errc::timed_out);
    const running_stream_server deaf{own_threads, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        client.abort();
        co_return;
    }};
    const std::error_code reset = refusal(url(deaf->local_address()), how(trusting(common_ca()))).code();
    CHECK((reset == std::errc::connection_reset || reset == std::errc::broken_pipe));
    const running_stream_server gone{own_threads, "tcp://127.0.0.1:0", [](connection& client) -> asio::awaitable<void> {
        std::array<std::byte, 4096> buffer;
        (void)co_await client.read_some(buffer);  // the first message, and no answer
    }};
    CHECK(refusal(url(gone->local_address()), how(trusting(common_ca()))).code() == errc::truncated);
}

TEST_CASE("options that contradict each other are refused with the reason") {
    const auto reason = [](const std::string& where, const stream_server_options& options) -> std::string {
        try {
            const stream_server server{where, echo, options};
        } catch (const std::exception& failure) {
            return failure.what();
        }
        return "nothing";
    };
    const temporary_folder folder;
    CHECK(reason("tls://127.0.0.1:0", {}).find("at least one") != std::string::npos);
    CHECK(reason("tcp://127.0.0.1:0", with(localhost_pair())).find("is not tls://") != std::string::npos);
    CHECK(reason("unix://" + (folder / "x.sock").string(), with(localhost_pair())).find("no TLS over Unix sockets") != std::string::npos);
    stream_server_options negative = with(localhost_pair());
    negative.handshake_timeout = -1s;
    CHECK(reason("tls://127.0.0.1:0", negative).find("handshake_timeout") != std::string::npos);
    stream_server_options idle;
    idle.keep_alive = -1s;
    CHECK(reason("tcp://127.0.0.1:0", idle).find("keep_alive") != std::string::npos);

    stream_server_options broken;
    broken.tls.certificates = {{pem_text("no certificate"), pem_text("no key")}};
    stream_server server{"tls://127.0.0.1:0", echo, broken};
    try {
        server.listen();
        FAIL("it listens");
    } catch (const error& failure) {
        CHECK(failure.code() == errc::invalid_certificate);
    }
    tls_client_options wrong;
    wrong.ca = pem_text("nothing");
    CHECK_THROWS_AS((void)tls_client_context{wrong}, error);
    wrong = {};
    wrong.ca = pem_file((folder / "none.pem").string());
    CHECK_THROWS_AS((void)tls_client_context{wrong}, error);
    wrong = {};
    wrong.alpn = {""};
    CHECK_THROWS_AS((void)tls_client_context{wrong}, std::invalid_argument);
}

TEST_CASE("new certificates are taken up while the server runs, and bad ones are not") {
    const temporary_folder folder;
    const auto write = [&](const key_pair& pair) {
        std::ofstream{folder / "cert.pem"} << pair.certificate;
        std::ofstream{folder / "key.pem"} << pair.key;
    };
    const key_pair first = common_ca().issue({.names = {"localhost"}});
    const key_pair second = common_ca().issue({.names = {"localhost"}});
    write(first);
    stream_server_options options;
    options.tls.certificates = {{pem_file(folder / "cert.pem"), pem_file(folder / "key.pem")}};
    options.tls.watch_interval = duration::zero();
    options.tls.reload_patience = duration::zero();
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, options};
    const auto shown = [&] {
        const auto port = static_cast<std::uint16_t>(std::stoi(server->local_address().substr(server->local_address().rfind(':') + 1)));
        tls_client client{port};
        client.handshake();
        return client.server_fingerprint();
    };
    CHECK(shown() == fingerprint(first.certificate));
    CHECK(server->reload_certificates().what == certificate_reload::outcome::unchanged);
    write(second);
    CHECK(server->reload_certificates().what == certificate_reload::outcome::reloaded);
    CHECK(shown() == fingerprint(second.certificate));
    write({first.certificate, second.key});
    const certificate_reload failed = server->reload_certificates();
    CHECK(failed.what == certificate_reload::outcome::failed);
    CHECK(failed.problem.find("do not belong together") != std::string::npos);
    CHECK(shown() == fingerprint(second.certificate));
}

TEST_CASE("a client sees each state of a TLS connection, dialling first") {
    const running_stream_server server{own_threads, "tls://127.0.0.1:0", echo, with(localhost_pair())};
    std::vector<connection_state> states;
    std::string dialled;
    connect_options options = how(trusting(common_ca()));
    options.on_state = [&](const connection& which, connection_state now) {
        if (now == connection_state::dial) dialled = which.remote_address();
        if (states.empty() || states.back() != now) states.push_back(now);
    };
    asio::io_context context;
    run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
        const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
        co_await peer->write("x\n");
        (void)co_await peer->read_until("\n");
        peer->shutdown_write();
        (void)co_await peer->read_until("\n");
        peer->close();
    }(url(server->local_address()), options));
    const auto name = [](connection_state state) { return std::string{to_string(state)}; };
    std::string all;
    for (const connection_state each : states) all += name(each) + ", ";
    CHECK(all == "dial connection, new connection, write outgoing stream, read incoming stream, close outgoing stream, "
                 "close incoming stream, close connection, ");
    CHECK(dialled.ends_with(server->local_address().substr(server->local_address().rfind(':'))));
}

TEST_CASE("a client talks to OpenSSL's own server") {
    const char* const program = std::getenv("KEPHAS_OPENSSL");
    REQUIRE(program != nullptr);
    const temporary_folder folder;
    std::ofstream{folder / "cert.pem"} << localhost_pair().certificate;
    std::ofstream{folder / "key.pem"} << localhost_pair().key;
    for (const char* const version : {"-tls1_2", "-tls1_3"}) {
        process server{{program, "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev", version, "-cert",
                        (folder / "cert.pem").string(), "-key", (folder / "key.pem").string()}};
        std::string line;
        do {
            line = server.read_line();
        } while (!line.starts_with("ACCEPT"));
        const std::string port = line.substr(line.rfind(':'));
        asio::io_context context;
        run(context, [](std::string where, connect_options use) -> asio::awaitable<void> {
            const auto peer = co_await connect(address::parse(where), clock::now() + 10s, use);
            co_await peer->write("kephas\n");
            CHECK(co_await peer->read_until("\n") == "sahpek\n");
            peer->shutdown_write();
            (void)co_await peer->read_until("\n");
        }("tls://localhost" + port, how(trusting(common_ca()))));
        server.send_signal(SIGKILL);
        (void)server.wait();
    }
}
