// TLS listeners against clients that do not keep to the rules, and clients that are gone in the middle.
#include <support/gate.hpp>
#include <support/tls_client.hpp>
#include <support/tls_server.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

bool serves(std::uint16_t port) {
    test_client client = open_tls(port);
    client.send_text("still here");
    return client.read_text() == "still here";
}

}  // namespace

TEST_CASE("plain HTTP on a TLS port is told so") {
    running_server server{echo_routes(), tls_server_options()};
    const std::string response = http_get(server.port(), "/health");
    CHECK(response.starts_with("HTTP/1.1 400 "));
    CHECK(response.find("this port speaks TLS") != std::string::npos);
    CHECK(eventually([&] { return server->stats().tls_failures == 1; }));
    CHECK(serves(server.port()));
}

TEST_CASE("what is no TLS is refused with an alert, counted, and logged without its bytes") {
    log_lines log;
    server_options options = tls_server_options();
    options.log = log.as_logger();
    running_server server{echo_routes(), std::move(options)};
    test_client client{server.port()};
    client.send_raw("\x05\x01 what is this? secret");
    const std::string answer = client.read_to_end();
    CHECK((answer.empty() || answer.front() == '\x15'));  // an alert
    CHECK(eventually([&] { return server->stats().tls_failures == 1; }));
    CHECK(log.wait_for("TLS handshake failed: "));
    for (const auto& line : log.all()) CHECK(line.find("secret") == std::string::npos);
    CHECK(server->stats().handshake_timeouts == 0);
    CHECK(serves(server.port()));
}

TEST_CASE("a client that says nothing, or half of its hello, is dropped by the handshake timeout") {
    server_options options = tls_server_options();
    options.handshake_timeout = std::chrono::milliseconds{100};
    running_server server{echo_routes(), std::move(options)};
    const std::string hello = tls_client::first_flight();
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{5}, hello.size() / 2, hello.size()}) {
        CAPTURE(size);
        const auto before = server->stats().handshake_timeouts;
        test_client client{server.port()};
        client.send_raw(std::string_view{hello}.substr(0, size));
        (void)client.read_to_end();
        CHECK(server->stats().handshake_timeouts == before + 1);
    }
    tls_client silent{server.port()};
    silent.handshake();  // and then no request
    char byte = 0;
    CHECK(silent.receive({&byte, 1}) == 0);
    CHECK(server->stats().handshake_timeouts == 6);
    CHECK(server->stats().tls_failures == 0);
}

TEST_CASE("resets and ends at every byte of the handshake leave nothing behind") {
    running_server server{echo_routes(), tls_server_options()};
    const std::string hello = tls_client::first_flight();
    for (std::size_t size = 0; size <= hello.size(); size += size < 16 ? 1 : 37) {
        test_client cut{server.port()};
        cut.send_raw(std::string_view{hello}.substr(0, size));
        cut.reset();
        test_client ended{server.port()};
        ended.send_raw(std::string_view{hello}.substr(0, size));
        ended.shutdown_send();
        (void)ended.read_to_end();
    }
    CHECK(serves(server.port()));
    CHECK(eventually([&] { return server->stats().clients == 0; }));
    const drain_report report = server.stop();  // a connection that is just ending may still be there, and leaves by itself
    CHECK(report.cancelled == 0);
    CHECK(report.cut == 0);
}

TEST_CASE("resets of an open connection are seen at every stage") {
    journal ends;
    router routes = echo_routes();
    routes.on_disconnect([&](client, close_info info) -> asio::awaitable<void> {
        ends.add(std::to_string(static_cast<unsigned>(info.code)));
        co_return;
    });
    running_server server{std::move(routes), tls_server_options()};
    const std::string large(3 * 1024 * 1024, 'x');
    std::size_t connections = 0;
    for (int stage = 0; stage < 5; ++stage) {
        CAPTURE(stage);
        auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.receive_buffer = 4096});
        tls_client& tls = *transport;
        tls.handshake();
        test_client client{std::move(transport)};
        if (stage == 0) {
            tls.reset_socket();  // instead of the request
            continue;
        }
        REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
        ++connections;
        if (stage == 2) client.send_raw(test_client::frame(1, "cut off").substr(0, 4));
        if (stage == 3) {
            const std::string wire = tls.encrypt(test_client::frame(1, "cut off"));
            tls.send_on_wire(wire.substr(0, wire.size() / 2));
        }
        if (stage == 4) client.send_binary(large);  // its echo fills the socket
        tls.reset_socket();
        CHECK(ends.wait_for(connections));
    }
    for (const auto& code : ends.all()) CHECK(code == "1006");
    CHECK(serves(server.port()));
}

TEST_CASE("a stream that just ends is a lost connection, close frames and close_notify are a clean end") {
    journal ends;
    router routes = echo_routes();
    routes.on_disconnect([&](client, close_info info) -> asio::awaitable<void> {
        ends.add(std::to_string(static_cast<unsigned>(info.code)) + (info.clean ? " clean" : ""));
        co_return;
    });
    running_server server{std::move(routes), tls_server_options()};
    for (const int version : {12, 13}) {
        const auto open = [&](auto run) {
            auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.version = version});
            tls_client& tls = *transport;
            tls.handshake();
            test_client client{std::move(transport)};
            REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
            run(client, tls);
        };
        const std::size_t before = ends.all().size();
        open([&](test_client&, tls_client& tls) {
            tls.shutdown_socket();
            char byte = 0;
            CHECK(tls.receive({&byte, 1}) == 0);
            CHECK(ends.wait_for(before + 1));
        });
        open([&](test_client&, tls_client& tls) {
            tls.send_close_notify();  // without a close frame
            CHECK(ends.wait_for(before + 2));
        });
        open([&](test_client& client, tls_client& tls) {
            client.send_close(1000, "bye");
            CHECK(client.read_close().code == 1000);
            CHECK(client.ends_cleanly());
            CHECK(tls.ended_properly());
            client.close();
            CHECK(ends.wait_for(before + 3));
        });
        CHECK(ends.all() == [&] {
            std::vector<std::string> expected;
            for (int i = 0; i < (version == 12 ? 1 : 2); ++i) expected.insert(expected.end(), {"1006", "1006", "1000 clean"});
            return expected;
        }());
    }
}

TEST_CASE("a close frame arrives behind everything before it, also when the socket is full") {
    router routes;
    const std::string large(2 * 1024 * 1024, 'y');
    routes.raw(dispatch::on_strand, [&](request r) -> asio::awaitable<std::optional<payload>> {
        (void)r.client().try_send(command_id{1}, payload{std::string{large}});
        r.client().close(close_code::normal, "that was all");
        co_return std::nullopt;
    });
    server_options options = tls_server_options();
    options.outbox.max_bytes = 8 * 1024 * 1024;
    running_server server{std::move(routes), std::move(options)};
    auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.receive_buffer = 4096});
    tls_client& tls = *transport;
    tls.handshake();
    test_client client{std::move(transport)};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
    client.send_text("go");
    CHECK(client.read_command(1) == large);
    CHECK(client.read_close() == received_close{1000, "that was all"});
    client.send_close(1000);
    CHECK(client.ends_cleanly());
    CHECK(tls.ended_properly());
}

TEST_CASE("a client that never reads is closed as a slow consumer") {
    server_options options = tls_server_options();
    options.write_timeout = std::chrono::milliseconds{200};
    options.outbox.max_bytes = 64 * 1024 * 1024;
    journal ends;
    router routes;
    routes.raw(dispatch::on_strand, [](request r) -> asio::awaitable<std::optional<payload>> {
        for (int i = 0; i < 32; ++i) (void)r.client().try_send(command_id{1}, payload{std::string(1024 * 1024, 'z')});
        co_return std::nullopt;
    });
    routes.on_disconnect([&](client, close_info info) -> asio::awaitable<void> {
        ends.add(std::to_string(static_cast<unsigned>(info.code)));
        co_return;
    });
    options.close_timeout = std::chrono::milliseconds{300};
    running_server server{std::move(routes), std::move(options)};
    test_client client = open_tls(server.port(), {.receive_buffer = 4096});
    client.send_text("go");
    REQUIRE(ends.wait_for(1));
    CHECK(ends.all().front() == "3008");
}

TEST_CASE("a departure is seen while the client is not read") {
    gate held;
    router routes;
    routes.raw(dispatch::pool, [&](request) -> asio::awaitable<std::optional<payload>> {
        co_await held.wait();
        co_return std::nullopt;
    });
    server_options options = tls_server_options();
    options.in_flight.messages = 1;
    running_server server{std::move(routes), std::move(options)};
    auto transport = std::make_unique<tls_client>(server.port());
    tls_client& tls = *transport;
    tls.handshake();
    test_client client{std::move(transport)};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
    for (int i = 0; i < 3; ++i) client.send_text("one is too many");
    REQUIRE(held.wait_for_waiting(1));
    tls.shutdown_socket();
    CHECK(held.wait_for_waiting(0));
    CHECK(eventually([&] { return server->stats().clients == 0; }));
}

TEST_CASE("a client that ends its side without close_notify gets the answers to what it has sent, and our close_notify") {
    running_server server{echo_routes(), tls_server_options()};
    const std::string large(8'000'000, 'x');  // far more than the socket takes at once
    for (const int version : {12, 13}) {
        auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.version = version, .receive_buffer = 4096});
        tls_client& tls = *transport;
        tls.handshake();
        test_client client{std::move(transport)};
        REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
        client.send_binary(large);
        client.send_close(1000, "bye");
        tls.shutdown_socket();
        CHECK(client.read_frame().payload == large);
        CHECK(client.read_close().code == 1000);
        CHECK(client.ends_cleanly());
        CHECK(tls.ended_properly());
    }
}

TEST_CASE("a drain ends handshakes that have not finished, and open connections with their close frame") {
    running_server server{echo_routes(), tls_server_options()};
    test_client nothing{server.port()};
    test_client half{server.port()};
    half.send_raw(tls_client::first_flight());
    tls_client no_request{server.port()};
    no_request.handshake();
    test_client open = open_tls(server.port());
    CHECK(eventually([&] { return server->stats().accepted == 4; }));
    server->stop();
    CHECK(open.read_close().code == 1001);
    open.send_close(1001);
    CHECK(open.ends_cleanly());
    open.close();
    std::string text(4096, '\0');
    const std::size_t size = no_request.receive(text);
    CHECK(text.substr(0, size).starts_with("HTTP/1.1 503 "));
    (void)nothing.read_to_end();
    (void)half.read_to_end();
    CHECK(server.wait().cut == 0);
}
