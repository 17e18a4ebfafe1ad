// permessage-deflate on a real server: what is agreed on, what is compressed, how often, and what a bomb gets.
#include <support/deflate.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/use_future.hpp>

#include <future>
#include <string>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

constexpr int text_rsv1 = 0x41;
constexpr int binary_rsv1 = 0x42;

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

router raw_echo() {
    router routes;
    routes.raw(dispatch::on_strand, echo);
    return routes;
}

server_options compressing(deflate_options deflate = {}) {
    server_options options = quiet_options();
    deflate.enabled = true;
    options.deflate = deflate;
    options.rate_limit = no_rate_limit();
    return options;
}

constexpr deflate_options with_takeover{.server_context_takeover = true, .client_context_takeover = true, .threshold = 0};

std::string offer(const std::string& value) { return "Sec-WebSocket-Extensions: " + value + "\r\n"; }

// What the server answers, "none" without extensions.
std::string agreed(std::uint16_t port, const std::string& headers) {
    test_client client{port};
    const std::string head = client.handshake("/ws", headers);
    CHECK(head.starts_with("HTTP/1.1 101 "));
    const std::string name = "Sec-WebSocket-Extensions: ";
    const auto at = head.find(name);
    if (at == std::string::npos) return "none";
    return head.substr(at + name.size(), head.find("\r\n", at) - at - name.size());
}

std::size_t broadcast(kephas::server& server, command_id id, const std::string& body, broadcast_options how = {}) {
    asio::io_context context;
    auto report = asio::co_spawn(
        context,
        [](clients all, command_id command, std::string text, broadcast_options options) -> asio::awaitable<broadcast_report> {
            co_return co_await all.broadcast(command, payload{std::move(text)}, options);
        }(server.clients(), id, body, how),
        asio::use_future);
    context.run();
    return report.get().queued;
}

}  // namespace

TEST_CASE("compression is off unless it is asked for") {
    running_server server{raw_echo()};
    CHECK(agreed(server.port(), offer("permessage-deflate")) == "none");
    CHECK(agreed(server.port(), offer("permessage-deflate; =")) == "none");  // nobody looks at it
    auto client = test_client::open(server.port(), "/ws", offer("permessage-deflate"));
    client.send_frame(text_rsv1, peer_deflater{}.message("Hello"));
    CHECK(client.read_close() == received_close{1002, "reserved bits are set"});
}

TEST_CASE("what was agreed on stands in the answer; a malformed list is refused, an impossible offer declined") {
    running_server server{raw_echo(), compressing()};
    CHECK(agreed(server.port(), "") == "none");
    CHECK(agreed(server.port(), offer("permessage-deflate; client_max_window_bits")) ==
          "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    CHECK(agreed(server.port(), offer("permessage-deflate; unknown") + offer("permessage-deflate; server_max_window_bits=\"10\"")) ==
          "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10");
    CHECK(agreed(server.port(), offer("permessage-deflate; server_max_window_bits=16")) == "none");
    test_client client{server.port()};
    CHECK(client.handshake("/ws", offer("permessage-deflate; =")).starts_with("HTTP/1.1 400 "));
    CHECK(client.read_to_end().ends_with("invalid Sec-WebSocket-Extensions\n"));
}

TEST_CASE("a server that did not agree takes no compressed message") {
    running_server server{raw_echo(), compressing()};
    auto client = test_client::open(server.port());
    client.send_frame(text_rsv1, peer_deflater{}.message("Hello"));
    CHECK(client.read_close() == received_close{1002, "reserved bits are set"});
}

TEST_CASE("options that zlib cannot take are refused when the server is made") {
    for (const deflate_options& bad : std::vector<deflate_options>{{.server_max_window_bits = 7}, {.server_max_window_bits = 16},
                                                                   {.client_max_window_bits = 7}, {.client_max_window_bits = 16},
                                                                   {.level = 0}, {.level = 10}, {.memory_level = 0}, {.memory_level = 10}}) {
        CHECK_THROWS_AS(kephas::server(raw_echo(), compressing(bad)), std::invalid_argument);
    }
}

TEST_CASE("messages are compressed both ways, with every window, with and without context takeover") {
    for (const bool takeover : {false, true}) {
        auto options = takeover ? with_takeover : deflate_options{.threshold = 0};
        running_server server{raw_echo(), compressing(options)};
        for (int bits = 8; bits <= 15; ++bits) {
            CAPTURE(takeover);
            CAPTURE(bits);
            const std::string window = "_max_window_bits=" + std::to_string(bits);
            auto client = test_client::open(server.port(), "/ws", offer("permessage-deflate; client" + window + "; server" + window));
            peer_deflater out{std::max(bits, 9)};
            peer_inflater in{std::max(bits, 9)};
            std::size_t received = 0;
            for (unsigned i = 0; i < 12; ++i) {
                const std::string message = i % 4 == 3 ? noise(3000, i) : sample_json(50 + 700 * i, i / 2);
                if (!takeover) {
                    out.reset();
                    in.reset();
                }
                client.send_frame(i % 2 == 0 ? binary_rsv1 : text_rsv1, out.message(i % 2 == 0 ? message : sample_json(900, i)));
                const received_frame frame = client.read_frame();
                CHECK(frame.opcode == (i % 2 == 0 ? 2 : 1));
                CHECK((frame.rsv1 || !takeover || bits == 8));
                received += frame.payload.size();
                CHECK(((frame.rsv1 ? in.message(frame.payload) : frame.payload) == (i % 2 == 0 ? message : sample_json(900, i))));
                CHECK(frame.rsv1 == (bits > 8));
            }
            if (bits == 8) CHECK(received > 20'000);
            else CHECK(received < 20'000);
        }
        CHECK(server->stats().deflated_messages == 7 * 12);
        CHECK(server->stats().deflated_bytes > server->stats().deflated_to_bytes);
    }
}

TEST_CASE("small messages go uncompressed") {
    running_server server{raw_echo(), compressing({.threshold = 100})};
    auto client = test_client::open(server.port(), "/ws", offer("permessage-deflate"));
    client.send_frame(1, std::string(97, 'x'));
    CHECK(client.read_frame() == received_frame{true, 1, std::string(97, 'x')});
    client.send_frame(1, std::string(100, 'x'));
    const received_frame frame = client.read_frame();
    CHECK(frame.rsv1);
    CHECK(peer_inflater{}.message(frame.payload) == std::string(100, 'x'));
}

TEST_CASE("a broadcast is compressed once for all who share the parameters") {
    auto options = compressing({.server_context_takeover = true, .threshold = 100});
    options.io_threads = 2;
    running_server server{raw_echo(), options};
    std::vector<test_client> shared, narrow, plain, linked;
    const std::string alone = "; server_no_context_takeover";
    for (int i = 0; i < 10; ++i) {
        shared.push_back(test_client::open(server.port(), "/ws", offer("permessage-deflate" + alone)));
        narrow.push_back(test_client::open(server.port(), "/ws", offer("permessage-deflate; server_max_window_bits=10" + alone)));
        plain.push_back(test_client::open(server.port()));
    }
    for (int i = 0; i < 3; ++i) linked.push_back(test_client::open(server.port(), "/ws", offer("permessage-deflate")));
    REQUIRE(eventually([&] { return server->clients().size() == 33; }));

    const std::string body = sample_json(5000);
    const std::string expected = test_client::command(7, body);
    CHECK(broadcast(*server, command_id{7}, body) == 33);
    for (auto& client : plain) CHECK(client.read_frame() == received_frame{true, 2, expected});
    std::string first;
    for (auto* group : {&shared, &narrow}) {
        for (auto& client : *group) {
            const received_frame frame = client.read_frame();
            CHECK(frame.rsv1);
            CHECK(peer_inflater{group == &narrow ? 10 : 15}.message(frame.payload) == expected);
        }
    }
    for (auto& client : linked) {
        const received_frame frame = client.read_frame();
        CHECK(frame.rsv1);
        CHECK(peer_inflater{}.message(frame.payload) == expected);
    }
    // one for each of two windows, and one for each of three that have a context of their own
    CHECK(server->stats().deflated_messages == 2 + 3);

    // what is too small, or does not become smaller, is not tried again for each of them
    CHECK(broadcast(*server, command_id{7}, std::string(50, 'x')) == 33);
    CHECK(broadcast(*server, command_id{7}, noise(5000)) == 33);
    for (auto* group : {&shared, &narrow, &plain}) {
        for (auto& client : *group) {
            CHECK(client.read_frame() == received_frame{true, 2, test_client::command(7, std::string(50, 'x'))});
            CHECK(client.read_frame() == received_frame{true, 2, test_client::command(7, noise(5000))});
        }
    }
    REQUIRE(eventually([&] { return server->stats().deflated_messages == 2 + 3 + 3; }));  // those with takeover have to
}

TEST_CASE("with context takeover nothing that is dropped was compressed, so that the stream stays whole") {
    auto options = compressing(with_takeover);
    options.outbox.max_messages = 8;
    running_server server{raw_echo(), options};
    test_client client{server.port(), 4096};
    CHECK(client.handshake("/ws", offer("permessage-deflate")).find("permessage-deflate\r\n") != std::string::npos);
    REQUIRE(eventually([&] { return server->clients().size() == 1; }));
    // far more than the socket takes; each is made of parts of those before it
    constexpr unsigned count = 3000;
    unsigned newest = 0;  // that was queued: none is while all that wait are compressed already, and must not be dropped
    for (unsigned i = 0; i < count; ++i) {
        const auto policy = i % 3 == 0 ? overflow_policy::latest : overflow_policy::drop_oldest;
        const payload message{noise(3000, i / 2) + std::to_string(i)};
        const send_status status = server->clients().all().at(0).try_send(command_id{7}, message, policy, i % 5);
        CHECK(status != send_status::closed);
        if (status == send_status::queued) newest = i;
    }
    server->clients().all().at(0).close(close_code::normal, "done");
    peer_inflater in;
    unsigned received = 0;
    std::string last;
    for (;;) {
        const received_frame frame = client.read_frame();
        if (frame.opcode == 8) break;
        if (frame.opcode == 9) continue;
        last = frame.rsv1 ? in.message(frame.payload) : frame.payload;
        REQUIRE(last != "invalid");
        REQUIRE(last.starts_with(test_client::command(7, noise(3000, static_cast<unsigned>(std::stoi(last.substr(3004))) / 2))));
        ++received;
    }
    CHECK(last.substr(3004) == std::to_string(newest));
    CHECK(received < count);
    CHECK(received >= 8);
}

TEST_CASE("bombs end with 1009, and invalid data and text with 1007") {
    auto options = compressing(with_takeover);
    options.max_binary_payload = 1'000'000;
    options.max_text_message = 100'000;
    running_server server{raw_echo(), options};
    const auto open = [&] { return test_client::open(server.port(), "/ws", offer("permessage-deflate")); };
    const std::string bomb = peer_deflater{15, 9}.message(std::string(20'000'000, '\0'));
    CHECK(bomb.size() < 20'100);
    SUBCASE("in one frame") {
        auto client = open();
        client.send_text("before");
        const received_frame before = client.read_frame();
        CHECK(before.opcode == 1);
        CHECK(peer_inflater{}.message(before.payload) == "before");
        client.send_frame(binary_rsv1, bomb);
        CHECK(client.read_close() == received_close{1009, "binary message exceeds the limit of 1000004 bytes"});
        CHECK(client.ends_cleanly());
    }
    SUBCASE("in fragments, with pings between") {
        auto client = open();
        client.send_frame(text_rsv1, bomb.substr(0, 10), false);
        for (std::size_t at = 10; at < 500; at += 10) {
            client.send_frame(0, bomb.substr(at, 10), false);
            client.send_frame(9, "");
        }
        CHECK(client.read_close() == received_close{1009, "text message exceeds the limit of 100000 bytes"});
    }
    SUBCASE("a bomb that holds a bomb is only its own size") {
        auto client = open();
        const std::string nested = peer_deflater{15, 9}.message(peer_deflater{15, 9}.message(std::string(100'000'000, '\0')));
        CHECK(nested.size() < 10'000);
        client.send_frame(binary_rsv1, nested);
        CHECK(client.read_frame().opcode == 2);
        client.send_close(1000);
        CHECK(client.read_close().code == 1000);
    }
    SUBCASE("invalid data") {
        auto client = open();
        client.send_frame(binary_rsv1, "\xFF\xFF");
        CHECK(client.read_close() == received_close{1007, "compressed message is invalid"});
    }
    SUBCASE("text that is none, at its first byte, in a frame that never ends") {
        auto client = open();
        std::string frame = test_client::frame(text_rsv1, peer_deflater{15, 0}.message("good \xFF" + std::string(60'000, 'x')));
        client.send_raw(std::string_view{frame}.substr(0, 60));
        CHECK(client.read_close() == received_close{1007, "text is not UTF-8"});
    }
    SUBCASE("RSV1 on a continuation") {
        auto client = open();
        client.send_frame(text_rsv1, bomb.substr(0, 10), false);
        client.send_frame(0x40, bomb.substr(10, 10), false);
        CHECK(client.read_close() == received_close{1002, "reserved bits are set"});
    }
}

TEST_CASE("on an executor of the program's, with several threads, messages are compressed as well") {
    asio::io_context context;
    auto options = compressing({.threshold = 0});
    kephas::server server{context, raw_echo(), options};
    server.listen();
    auto served = asio::co_spawn(context, server.serve(), asio::use_future);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { context.run(); });
    {
        std::vector<test_client> clients;
        for (int i = 0; i < 8; ++i) clients.push_back(test_client::open(server.port(), "/ws", offer("permessage-deflate")));
        for (unsigned round = 0; round < 20; ++round) {
            for (auto& client : clients) client.send_frame(binary_rsv1, peer_deflater{}.message(sample_json(2000, round)));
            for (auto& client : clients) CHECK(peer_inflater{}.message(client.read_frame().payload) == sample_json(2000, round));
        }
    }
    server.stop();
    served.get();
    for (auto& thread : threads) thread.join();
}
