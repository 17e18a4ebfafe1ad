// TLS listeners, as well-behaved clients see them.
#include <support/deflate.hpp>
#include <support/gate.hpp>
#include <support/temporary_folder.hpp>
#include <support/tls_client.hpp>
#include <support/tls_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 131 + i / 977) & 0xFF);
    return text;
}

/// Whether the server lets a client with these wishes in; otherwise OpenSSL's reason.
std::string refusal(std::uint16_t port, const tls_wishes& wishes) {
    try {
        test_client client = open_tls(port, wishes);
        client.send_text("hello");
        return client.read_text() == "hello" ? "" : "another echo";
    } catch (const std::exception& failure) {
        return failure.what();
    }
}

std::string shown_for(std::uint16_t port, const std::string& name, const tls_wishes& more = {}) {
    tls_wishes wishes = more;
    wishes.server_name = name;
    wishes.ca.clear();
    tls_client client{port, wishes};
    client.handshake();
    return client.server_fingerprint();
}

}  // namespace

TEST_CASE("messages come back over TLS 1.2 and over TLS 1.3") {
    running_server server{echo_routes(), tls_server_options()};
    for (const int version : {12, 13}) {
        CAPTURE(version);
        test_client client = open_tls(server.port(), {.version = version});
        for (const std::size_t size : {0U, 1U, 125U, 126U, 16'000U, 16'384U, 16'385U, 100'000U}) {
            client.send_binary(pattern(size));
            const auto echoed = client.read_message();
            REQUIRE(echoed);
            CHECK(echoed->payload == pattern(size));
        }
        client.send_close(1000);
        CHECK(client.read_close().code == 1000);
    }
    CHECK(server->stats().tls_failures == 0);
}

TEST_CASE("a handshake that arrives byte by byte is a handshake") {
    running_server server{echo_routes(), tls_server_options()};
    for (const int version : {12, 13}) {
        test_client client = open_tls(server.port(), {.version = version, .byte_by_byte = true});
        client.send_text("one at a time");
        CHECK(client.read_text() == "one at a time");
    }
}

TEST_CASE("versions before the minimum are refused") {
    running_server server{echo_routes(), tls_server_options()};
    CHECK(refusal(server.port(), {.version = 11}).find("alert protocol version") != std::string::npos);
    CHECK(refusal(server.port(), {.version = 12}).empty());
    server_options options = tls_server_options();
    options.tls.min_version = tls_version::tls_1_3;
    running_server strict{echo_routes(), std::move(options)};
    CHECK(refusal(strict.port(), {.version = 12}).find("alert protocol version") != std::string::npos);
    CHECK(refusal(strict.port(), {.version = 13}).empty());
    CHECK(eventually([&] { return strict->stats().tls_failures == 1; }));
}

TEST_CASE("authorize sees what TLS has agreed on") {
    const key_pair alice = common_ca().issue({.names = {"alice.example"}, .common_name = "alice", .email = "alice@example.com",
                                              .for_client = true});
    server_options options = tls_server_options();
    options.tls.clients = client_certificates::optional;
    options.tls.client_ca = pem_text(common_ca().certificate());
    std::optional<tls_info> seen;
    router routes = echo_routes();
    routes.authorize([&](http::request r) -> asio::awaitable<authorization> {
        seen = r.tls;
        co_return authorization::accept(r.tls->certificate ? r.tls->certificate->common_name : "nobody");
    });
    running_server server{std::move(routes), std::move(options)};

    for (const int version : {12, 13}) {
        const test_client client = open_tls(server.port(), {.version = version, .alpn = {"http/1.1"}, .certificate = alice});
        REQUIRE(seen);
        CHECK(seen->version == (version == 12 ? "TLSv1.2" : "TLSv1.3"));
        CHECK_FALSE(seen->cipher.empty());
        CHECK(seen->alpn == "http/1.1");
        CHECK(seen->server_name == "localhost");
        CHECK_FALSE(seen->resumed);
        REQUIRE(seen->certificate);
        CHECK(seen->certificate->subject == "CN=alice,O=kephas");
        CHECK(seen->certificate->common_name == "alice");
        CHECK(seen->certificate->issuer == "CN=kephas test CA,O=kephas");
        CHECK(seen->certificate->fingerprint == fingerprint(alice.certificate));
        CHECK(seen->certificate->dns_names == std::vector<std::string>{"alice.example"});
        CHECK(seen->certificate->email_addresses == std::vector<std::string>{"alice@example.com"});
        CHECK(seen->certificate->pem == alice.certificate);
        CHECK(seen->certificate->serial.size() == 30);
    }
    const test_client without = open_tls(server.port());
    REQUIRE(seen);
    CHECK_FALSE(seen->certificate);
    CHECK(seen->alpn.empty());
}

TEST_CASE("certificates of clients are verified, wanted or required") {
    const test_ca others{"somebody else's CA"};
    const auto wish = [](bool expired) {
        return certificate_wish{.names = {}, .common_name = "alice", .email = {}, .for_client = true, .expired = expired};
    };
    const key_pair good = common_ca().issue(wish(false));
    const key_pair expired = common_ca().issue(wish(true));
    const key_pair unknown = others.issue(wish(false));
    const key_pair for_server = localhost_pair();
    for (const client_certificates clients : {client_certificates::optional, client_certificates::required}) {
        server_options options = tls_server_options();
        options.tls.clients = clients;
        options.tls.client_ca = pem_text(common_ca().certificate());
        running_server server{echo_routes(), std::move(options)};
        for (const int version : {12, 13}) {
            CAPTURE(version);
            CHECK(refusal(server.port(), {.version = version, .certificate = good}).empty());
            CHECK(refusal(server.port(), {.version = version, .certificate = expired}).find("expired") != std::string::npos);
            CHECK(refusal(server.port(), {.version = version, .certificate = unknown}).find("unknown ca") != std::string::npos);
            CHECK_FALSE(refusal(server.port(), {.version = version, .certificate = for_server}).empty());
            const std::string without = refusal(server.port(), {.version = version});
            if (clients == client_certificates::optional) CHECK(without.empty());
            else if (version == 13) CHECK(without.find("certificate required") != std::string::npos);
            else CHECK(without.find("alert handshake failure") != std::string::npos);
        }
    }
}

TEST_CASE("the certificate fits the name that the client asks for") {
    const key_pair a = common_ca().issue({.names = {"a.example", "www.a.example"}});
    const key_pair b = common_ca().issue({.names = {"b.example"}});
    const key_pair wild = common_ca().issue({.names = {"*.example"}});
    const key_pair b_rsa = common_ca().issue({.names = {"b.example"}, .type = key_type::rsa});
    server_options options = tls_server_options();
    options.tls.certificates = {in_memory(a), in_memory(b), in_memory(wild), in_memory(b_rsa)};
    running_server server{echo_routes(), std::move(options)};
    for (const int version : {12, 13}) {
        const tls_wishes wishes{.version = version};
        CHECK(shown_for(server.port(), "a.example", wishes) == fingerprint(a.certificate));
        CHECK(shown_for(server.port(), "WWW.a.Example", wishes) == fingerprint(a.certificate));
        CHECK(shown_for(server.port(), "b.example", wishes) == fingerprint(b.certificate));
        CHECK(shown_for(server.port(), "c.example", wishes) == fingerprint(wild.certificate));
        CHECK(shown_for(server.port(), "x.c.example", wishes) == fingerprint(a.certificate));  // one label only
        CHECK(shown_for(server.port(), "elsewhere.test", wishes) == fingerprint(a.certificate));
        CHECK(shown_for(server.port(), "", wishes) == fingerprint(a.certificate));
    }
    // a client that cannot use the first type of key
    CHECK(shown_for(server.port(), "b.example", {.version = 12, .cipher_list = "ECDHE-RSA-AES128-GCM-SHA256"}) ==
          fingerprint(b_rsa.certificate));
}

TEST_CASE("ALPN: ours in our order, none when none is offered, refused when nothing fits") {
    server_options options = tls_server_options();
    options.tls.alpn = {"first", "http/1.1"};
    running_server server{echo_routes(), std::move(options)};
    const auto selected = [&](std::vector<std::string> offered) {
        tls_client client{server.port(), {.alpn = std::move(offered)}};
        client.handshake();
        return client.alpn();
    };
    CHECK(selected({"http/1.1"}) == "http/1.1");
    CHECK(selected({"h2", "http/1.1", "first"}) == "first");
    CHECK(selected({}).empty());
    CHECK_THROWS_WITH_AS((void)selected({"h2"}), doctest::Contains("no application protocol"), tls_refused);
}

TEST_CASE("large messages pass both ways through small buffers") {
    running_server server{echo_routes(), tls_server_options()};
    for (const int version : {12, 13}) {
        // Small beside the messages, but not beside a segment: the kernel would fill a smaller one 2 KB at a time, five
        // times a second, whenever a probe of its window is lost, and that is rightly taken for a peer that does not read.
        test_client client = open_tls(server.port(), {.version = version, .receive_buffer = 128 * 1024});
        const std::string large = pattern(6 * 1024 * 1024);
        std::thread sender{[&] {
            for (int i = 0; i < 2; ++i) client.send_binary(large);
        }};
        sender.join();  // the first echo is on its way into a socket that nobody reads
        for (int i = 0; i < 2; ++i) {
            const auto echoed = client.read_message();
            REQUIRE(echoed);
            CHECK(echoed->payload == large);
        }
        client.send_text("and on");
        CHECK(client.read_text() == "and on");
    }
}

TEST_CASE("small frames of one flush share a record") {
    running_server server{echo_routes(), tls_server_options()};
    auto transport = std::make_unique<tls_client>(server.port());
    tls_client& tls = *transport;
    tls.handshake();
    test_client client{std::move(transport)};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
    client.send_text("everything before is read");
    CHECK(client.read_text() == "everything before is read");
    const std::size_t before = tls.records_received();
    std::string frames;
    for (int i = 0; i < 60; ++i) frames += test_client::frame(1, std::to_string(i));
    client.send_raw(frames);
    for (int i = 0; i < 60; ++i) CHECK(client.read_text() == std::to_string(i));
    CHECK(tls.records_received() - before == 1);

    const std::string large = pattern(64 * 1024);
    client.send_binary(large);
    CHECK(client.read_message()->payload == large);
    CHECK(tls.records_received() - before == 1 + 5);  // 16 KiB each, and what is left
}

TEST_CASE("several records in one segment, and one record in several, are all delivered") {
    running_server server{echo_routes(), tls_server_options()};
    for (const int version : {12, 13}) {
        auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.version = version});
        tls_client& tls = *transport;
        tls.handshake();
        test_client client{std::move(transport)};
        REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
        std::string wire;
        for (int i = 0; i < 300; ++i) wire += tls.encrypt(test_client::frame(1, std::to_string(i)));
        tls.send_on_wire(wire);
        for (int i = 0; i < 300; ++i) CHECK(client.read_text() == std::to_string(i));
        // a message that the server reads straight into its own buffer, with smaller ones in the same segment behind it
        wire = tls.encrypt(test_client::frame(2, pattern(300'000)));
        for (int i = 0; i < 50; ++i) wire += tls.encrypt(test_client::frame(1, std::to_string(i)));
        tls.send_on_wire(wire);
        CHECK(client.read_message()->payload == pattern(300'000));
        for (int i = 0; i < 50; ++i) CHECK(client.read_text() == std::to_string(i));
        const std::string one = tls.encrypt(test_client::frame(1, "cut anywhere"));
        for (const char byte : one) tls.send_on_wire({&byte, 1});
        CHECK(client.read_text() == "cut anywhere");
    }
}

TEST_CASE("compressed messages pass both ways over TLS, and a broadcast is compressed once for all of its clients") {
    constexpr int text_rsv1 = 0x41, binary_rsv1 = 0x42;
    server_options options = tls_server_options();
    options.listen = {"wss://127.0.0.1:0/ws", "ws://127.0.0.1:0/ws"};
    options.deflate = {.enabled = true, .server_context_takeover = true, .client_context_takeover = true, .threshold = 0};
    running_server server{echo_routes(), options};
    const std::string without_tls = server->endpoints().at(1);
    const auto plain_port = static_cast<std::uint16_t>(std::stoul(without_tls.substr(without_tls.find(':') + 1)));
    const std::string offer = "Sec-WebSocket-Extensions: permessage-deflate";
    const std::string alone = offer + "; server_no_context_takeover; client_no_context_takeover\r\n";

    // Compressed they are less than a record, several records, and more than the socket takes.
    const std::vector<std::string> messages{"", "hello", sample_json(3'000), noise(40'000), sample_json(900'000), sample_json(3'000),
                                            noise(1'000'000)};
    for (const int version : {12, 13}) {
        for (const bool takeover : {true, false}) {
            CAPTURE(version);
            CAPTURE(takeover);
            auto client = open_tls(server.port(), {.version = version, .receive_buffer = 8192}, "/ws",
                                   takeover ? offer + "\r\n" : alone);
            peer_deflater out;
            peer_inflater in;
            for (const std::string& message : messages) {
                if (!takeover) out.reset();
                client.send_frame(binary_rsv1, out.message(message));
                const received_frame frame = client.read_frame();
                CHECK(frame.opcode == 2);
                CHECK((frame.rsv1 ? (takeover ? in.message(frame.payload) : peer_inflater{}.message(frame.payload)) : frame.payload) ==
                      message);
                CHECK((frame.rsv1 || !takeover || message.empty()));  // noise too: it is part of the context
            }
            if (!takeover) out.reset();
            client.send_frame(text_rsv1, out.message("a text").substr(0, 3), false);
            client.send_frame(0, "");  // the rest is missing
            CHECK(client.read_close().code == 1007);
        }
    }
    REQUIRE(eventually([&] { return server->clients().size() == 0; }));

    const std::uint64_t before = server->stats().deflated_messages;
    std::vector<test_client> all;
    for (int i = 0; i < 4; ++i) all.push_back(open_tls(server.port(), {.version = i % 2 == 0 ? 12 : 13}, "/ws", alone));
    all.push_back(test_client::open(plain_port, "/ws", alone));
    const std::string body = sample_json(200'000);
    REQUIRE(eventually([&] { return server->clients().size() == all.size(); }));
    asio::io_context context;
    auto report = asio::co_spawn(context, server->broadcast(command_id{7}, payload{std::string{body}}), asio::use_future);
    context.run();
    CHECK(report.get().queued == all.size());
    for (auto& client : all) {
        const received_frame frame = client.read_frame();
        CHECK(frame.rsv1);
        CHECK(peer_inflater{}.message(frame.payload) == test_client::command(7, body));
    }
    CHECK(server->stats().deflated_messages == before + 1);
}

TEST_CASE("new keys in the middle of a connection hold nothing up") {
    running_server server{echo_routes(), tls_server_options()};
    auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.version = 13});
    tls_client& tls = *transport;
    tls.handshake();
    test_client client{std::move(transport)};
    REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
    for (int i = 0; i < 20; ++i) {
        tls.update_keys();
        client.send_text("with new keys");
        CHECK(client.read_text() == "with new keys");
    }
}

TEST_CASE("renegotiation is refused and the connection goes on") {
    running_server server{echo_routes(), tls_server_options()};
    auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.version = 12});
    tls_client& tls = *transport;
    tls.handshake();
    CHECK_THROWS_AS(tls.renegotiate(), tls_refused);  // no_renegotiation, which OpenSSL's client takes as fatal
    CHECK(eventually([&] { return server->stats().clients == 0; }));
    CHECK(refusal(server.port(), {}).empty());
}

TEST_CASE("a session is resumed with a ticket, without anything stored") {
    server_options options = tls_server_options();
    options.tls.clients = client_certificates::optional;
    options.tls.client_ca = pem_text(common_ca().certificate());
    const key_pair alice = common_ca().issue({.names = {}, .common_name = "alice", .email = {}, .for_client = true});
    std::optional<tls_info> seen;
    router routes = echo_routes();
    routes.authorize([&](http::request r) -> asio::awaitable<authorization> {
        seen = r.tls;
        co_return authorization::accept();
    });
    running_server server{std::move(routes), std::move(options)};
    for (const int version : {12, 13}) {
        std::shared_ptr<ssl_session_st> session;
        for (const bool again : {false, true}) {
            auto transport = std::make_unique<tls_client>(server.port(), tls_wishes{.version = version, .certificate = alice});
            tls_client& tls = *transport;
            if (again) tls.resume(session);
            tls.handshake();
            test_client client{std::move(transport)};
            REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
            CHECK(tls.resumed() == again);
            REQUIRE(seen);
            CHECK(seen->resumed == again);
            REQUIRE(seen->certificate);
            CHECK(seen->certificate->common_name == "alice");
            session = tls.session();
        }
    }
}

TEST_CASE("https serves pages and health") {
    const temporary_folder folder;
    const std::string page = pattern(700'000);
    folder.write("large.bin", page);
    server_options options = tls_server_options();
    options.listen = {"https://127.0.0.1:0", "wss://127.0.0.1:0/ws"};
    options.files = folder.path();
    log_lines log;
    options.log = log.as_logger(log_level::info);
    running_server server{echo_routes(), std::move(options)};
    CHECK(https_get(server.port(), "/health").ends_with(R"({"status":"ok"})"));
    const std::string response = https_get(server.port(), "/large.bin", {.receive_buffer = 4096});
    CHECK(response.starts_with("HTTP/1.1 200 "));
    CHECK(response.ends_with("\r\n\r\n" + page));
    CHECK(log.wait_for("listening on https://127.0.0.1:" + std::to_string(server.port())));
    CHECK(log.wait_for("listening on wss://127.0.0.1:"));
}

TEST_CASE("over TLS only pages that came over TLS are of the same origin") {
    running_server server{echo_routes(), tls_server_options()};
    const auto allowed = [&](const std::string& origin) {
        try {
            (void)open_tls(server.port(), {}, "/ws", "Origin: " + origin + "\r\n");  // Host: localhost
            return true;
        } catch (const std::runtime_error&) {
            return false;
        }
    };
    CHECK(allowed("https://localhost"));
    CHECK(allowed("https://localhost:443"));
    CHECK_FALSE(allowed("https://localhost:8443"));
    CHECK_FALSE(allowed("http://localhost"));
    CHECK_FALSE(allowed("http://localhost:443"));
}

TEST_CASE("TLS works on an executor of the program's with several threads") {
    asio::io_context context;
    server_options options = tls_server_options();
    kephas::server server{context, echo_routes(dispatch::pool), options};
    server.listen();
    auto done = asio::co_spawn(context, server.serve(), asio::use_future);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { context.run(); });
    {
        std::vector<test_client> clients;
        for (int i = 0; i < 8; ++i) clients.push_back(open_tls(server.port()));
        for (int round = 0; round < 20; ++round) {
            for (auto& client : clients) client.send_binary(pattern(20'000));
            for (auto& client : clients) CHECK(client.read_message()->payload == pattern(20'000));
        }
        server.stop();
        for (auto& client : clients) CHECK(client.read_close().code == 1001);
    }
    for (auto& thread : threads) thread.join();
    CHECK(done.get().cut == 0);
}
