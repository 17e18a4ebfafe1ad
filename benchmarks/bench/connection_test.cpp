// The load tool has to notice what a server does wrong; a socket pair plays the server here.
#include "connection.hpp"

#include "histogram.hpp"
#include "workload.hpp"
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace {

using bytes = std::vector<std::uint8_t>;

struct frame {
    std::uint8_t first;
    bytes payload;
};

class peer {
public:
    explicit peer(bench::options o, std::uint64_t first = 0) : options_{std::move(o)}, work_{options_} {
        std::array<int, 2> ends{};
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
        server_ = ends[1];
        client_.emplace(bench::channel{ends[0]}, 7, options_, work_, recorder_, first);
    }
    ~peer() { close(server_); }
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    bench::connection& client() { return *client_; }
    bench::recorder& recorder() { return recorder_; }
    const bench::histogram& latencies() const { return recorder_.latencies; }

    /// What the client has sent since, unmasked. Only short frames.
    std::vector<frame> sent() {
        bytes& in = unparsed_;
        const std::size_t had = in.size();
        in.resize(had + 64 * 1024);
        const auto got = recv(server_, in.data() + had, in.size() - had, 0);
        in.resize(had + (got > 0 ? static_cast<std::size_t>(got) : 0));
        std::vector<frame> frames;
        std::size_t at = 0;
        while (in.size() - at >= 6 && in.size() - at >= 6 + std::size_t{in[at + 1] & 0x7FU}) {
            REQUIRE((in[at + 1] & 0x80U) != 0);
            frame f{in[at], {}};
            const std::size_t length = in[at + 1] & 0x7FU;
            for (std::size_t i = 0; i < length; ++i)
                f.payload.push_back(static_cast<std::uint8_t>(in[at + 6 + i] ^ in[at + 2 + i % 4]));
            at += 6 + length;
            frames.push_back(std::move(f));
        }
        in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(at));
        return frames;
    }

    void reply(const frame& f) {
        bytes out{f.first, static_cast<std::uint8_t>(f.payload.size())};
        out.insert(out.end(), f.payload.begin(), f.payload.end());
        reply_raw(out);
    }
    void reply_raw(const bytes& out) {
        REQUIRE(send(server_, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size()));
    }
    void hang_up() { shutdown(server_, SHUT_RDWR); }

    std::size_t receive(std::int64_t now = 2000) {
        bytes scratch(4096);
        return client_->receive(scratch, now);
    }
    std::size_t receive_all() {
        std::size_t all = 0;
        while (const std::size_t more = receive()) all += more;
        return all;
    }

    std::vector<frame> begin() {
        for (std::size_t i = 0; i < options_.depth; ++i) client_->ask();
        client_->flush(1000);
        return sent();
    }

private:
    bench::options options_;
    bench::workload work_;
    bench::recorder recorder_;
    std::optional<bench::connection> client_;
    int server_ = -1;
    bytes unparsed_;  // the start of a frame that has not arrived whole
};

bench::options three_in_flight() {
    bench::options o;
    o.depth = 3;
    o.size = 12;
    o.command = 0x0100;
    o.verify = true;
    return o;
}

}  // namespace

TEST_CASE("a message is the command id, a number and letters") {
    peer p{three_in_flight()};
    const auto frames = p.begin();
    REQUIRE(frames.size() == 3);
    CHECK(frames[0].first == 0x82);
    CHECK(std::string(frames[0].payload.begin(), frames[0].payload.end()) == std::string{"\0\0\1\0"
                                                                                         "00000000ijkl",
                                                                                         16});
    CHECK(frames[1].payload != frames[0].payload);
}

TEST_CASE("each echo in order is counted with its latency, and further messages can follow") {
    peer p{three_in_flight()};
    const auto frames = p.begin();
    p.reply(frames[0]);
    p.reply(frames[1]);
    CHECK(p.receive(3000) == 2);
    CHECK(p.latencies().count() == 2);
    CHECK(p.latencies().max() == 2000);
    CHECK(p.client().unanswered() == 1);
    p.client().ask();
    p.client().ask();
    p.client().flush(4000);
    CHECK(p.sent().size() == 2);
    CHECK(p.client().unanswered() == 3);
}

TEST_CASE("an echo may arrive byte by byte") {
    peer p{three_in_flight()};
    const auto frames = p.begin();
    p.reply_raw({0x82});
    p.receive();
    p.reply_raw({16});
    p.receive();
    for (const std::uint8_t byte : frames[0].payload) {
        CHECK(p.latencies().count() == 0);
        p.reply_raw({byte});
        p.receive(1000);
    }
    CHECK(p.latencies().count() == 1);
}

TEST_CASE("an altered echo is a fault, whichever byte it is") {
    for (std::size_t i = 0; i < 16; ++i) {
        CAPTURE(i);
        peer p{three_in_flight()};
        auto first = p.begin().front();
        first.payload[i] ^= 1;
        p.reply(first);
        CHECK_THROWS_AS(p.receive(), bench::server_fault);
    }
}

TEST_CASE("an echo of another length, opcode or with a mask is a fault") {
    peer shorter{three_in_flight()};
    auto frames = shorter.begin();
    frames[0].payload.pop_back();
    shorter.reply(frames[0]);
    CHECK_THROWS_AS(shorter.receive(), bench::server_fault);

    peer text{three_in_flight()};
    frames = text.begin();
    frames[0].first = 0x81;
    text.reply(frames[0]);
    CHECK_THROWS_AS(text.receive(), bench::server_fault);

    peer masked{three_in_flight()};
    static_cast<void>(masked.begin());
    masked.reply_raw({0x82, 0x80 | 16, 0, 0, 0, 0});
    CHECK_THROWS_AS(masked.receive(), bench::server_fault);
}

TEST_CASE("an echo that overtakes another is a fault unless order does not matter") {
    peer ordered{three_in_flight()};
    ordered.reply(ordered.begin()[1]);
    CHECK_THROWS_AS(ordered.receive(), bench::server_fault);

    auto o = three_in_flight();
    o.unordered = true;
    peer unordered{o};
    const auto frames = unordered.begin();
    for (const std::size_t i : {2U, 0U, 1U}) unordered.reply(frames[i]);
    unordered.receive(1000);
    CHECK(unordered.latencies().count() == 3);
    CHECK(unordered.client().unanswered() == 0);
}

TEST_CASE("an echo that comes twice is a fault") {
    for (const bool unordered : {false, true}) {
        auto o = three_in_flight();
        o.unordered = unordered;
        peer p{o};
        const auto frames = p.begin();
        p.reply(frames[0]);
        p.receive(1000);
        p.client().ask();
        p.client().flush(1000);
        p.reply(frames[0]);
        CHECK_THROWS_AS(p.receive(1000), bench::server_fault);
    }
}

TEST_CASE("the complaint about an altered echo shows what was expected and what came") {
    peer p{three_in_flight()};
    const auto frames = p.begin();
    p.reply(frames[0]);
    auto second = frames[1];
    second.payload[14] = '\n';
    p.reply(second);
    CHECK_THROWS_WITH_AS(
        p.receive(),
        "connection 7: the echo of message 1 differs at byte 14: from byte 12 on, expected \"ijkl\"; came "
        "\"ij\\x0al\"",
        bench::server_fault);

    peer number{three_in_flight()};
    auto first = number.begin().front();
    first.payload[5] = '!';
    number.reply(first);
    CHECK_THROWS_WITH_AS(number.receive(),
                         "connection 7: the echo of message 0 differs at byte 5: from byte 0 on, expected "
                         "\"\\x00\\x00\\x01\\x0000000000\"; came \"\\x00\\x00\\x01\\x000!000000\"",
                         bench::server_fault);
}

TEST_CASE("the complaint about order and length says which message came") {
    peer ordered{three_in_flight()};
    ordered.reply(ordered.begin()[2]);
    CHECK_THROWS_WITH_AS(ordered.receive(),
                         "connection 7: expected the echo of message 0; came that of message 2, out of order",
                         bench::server_fault);

    peer shorter{three_in_flight()};
    static_cast<void>(shorter.begin());
    shorter.reply({0x81, bytes(3)});
    CHECK_THROWS_WITH_AS(shorter.receive(),
                         "connection 7: expected a binary message, 16 bytes; came a text message, 3 bytes",
                         bench::server_fault);
}

TEST_CASE("without verification replies are told apart by their numbers, whatever their order and rest") {
    auto o = three_in_flight();
    o.verify = false;
    peer p{o};
    auto frames = p.begin();
    frames[2].payload[15] = '?';
    p.reply(frames[2]);
    CHECK(p.receive(1500) == 1);
    CHECK(p.latencies().max() == 500);
    p.reply(frames[0]);
    p.reply(frames[1]);
    CHECK(p.receive() == 2);
    CHECK(p.client().unanswered() == 0);
}

TEST_CASE("messages too small for a number are taken to be answered in order") {
    auto o = three_in_flight();
    o.verify = false;
    o.command.reset();
    o.size = 0;
    peer p{o};
    for (const auto& frame : p.begin()) p.reply(frame);
    CHECK(p.receive() == 3);
}

TEST_CASE("an echo may come in fragments, with a ping between them") {
    peer p{three_in_flight()};
    const auto whole = p.begin().front().payload;
    p.reply({0x02, bytes(whole.begin(), whole.begin() + 6)});
    p.reply({0x89, {'x'}});
    p.reply({0x00, {}});
    CHECK(p.receive() == 0);
    p.reply({0x80, bytes(whole.begin() + 6, whole.end())});
    CHECK(p.receive() == 1);

    peer broken{three_in_flight()};
    static_cast<void>(broken.begin());
    broken.reply({0x02, bytes(whole.begin(), whole.begin() + 6)});
    broken.reply({0x82, whole});
    CHECK_THROWS_AS(broken.receive(), bench::server_fault);
}

TEST_CASE("in an open loop latency counts from when the message was to leave, however late it does") {
    auto o = three_in_flight();
    o.rate = 1000;
    peer p{o};
    p.recorder().by_intention = true;
    p.recorder().from = 100;
    p.recorder().to = 300;
    for (const std::int64_t intended : {50, 100, 200, 300}) p.client().ask(intended);
    p.client().flush(700);
    for (const auto& frame : p.sent()) p.reply(frame);
    CHECK(p.receive(1000) == 4);
    CHECK(p.latencies().count() == 2);  // those that are due in the window
    CHECK(p.latencies().max() == 900);
    CHECK(p.latencies().min() == 800);
    CHECK(p.recorder().lags.count() == 2);
    CHECK(p.recorder().lags.max() == 600);
    CHECK(p.recorder().replies == 0);  // none came in the window
}

TEST_CASE("what does not fit into the socket leaves later, once, and unchanged") {
    auto o = three_in_flight();
    o.size = 100;
    o.depth = 20'000;
    peer p{o};
    std::size_t received = 0;
    auto frames = p.begin();
    REQUIRE(p.client().blocked());
    for (int turn = 0; turn < 1000 && (!frames.empty() || p.client().blocked()); ++turn) {
        for (const auto& frame : frames) {
            p.reply(frame);
            received += p.receive_all();
        }
        p.client().flush(1000);
        frames = p.sent();
    }
    CHECK(received == o.depth);
    CHECK_FALSE(p.client().blocked());
}

TEST_CASE("a receiver of broadcasts expects what another connection has sent") {
    peer p{three_in_flight()};
    p.client().expect(500);
    p.client().flush(1000);
    CHECK(p.sent().empty());
    peer publisher{three_in_flight()};
    publisher.client().send_only();
    publisher.client().ask();
    publisher.client().flush(1000);
    CHECK(publisher.client().unanswered() == 0);
    for (const auto& frame : publisher.sent()) p.reply(frame);
    CHECK(p.receive(2000) == 1);
    CHECK(p.latencies().max() == 1500);
}

TEST_CASE("an unasked message is a fault") {
    peer p{three_in_flight()};
    p.reply({0x82, bytes(16)});
    CHECK_THROWS_AS(p.receive(), bench::server_fault);
}

TEST_CASE("a server that closes or hangs up early is a fault") {
    peer closing{three_in_flight()};
    static_cast<void>(closing.begin());
    closing.reply({0x88, {0x03, 0xF0}});
    CHECK_THROWS_WITH_AS(closing.receive(), doctest::Contains("code 1008"), bench::server_fault);

    peer gone{three_in_flight()};
    gone.hang_up();
    CHECK_THROWS_AS(gone.receive(), bench::server_fault);
}

TEST_CASE("a ping of the server is answered") {
    peer p{three_in_flight()};
    p.reply({0x89, {'h', 'i'}});
    p.receive();
    p.client().flush(0);
    const auto frames = p.sent();
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].first == 0x8A);
    CHECK(frames[0].payload == bytes{'h', 'i'});
}

TEST_CASE("a goodbye is clean if the server answers ping and close") {
    for (const bool with_pong : {true, false}) {
        peer p{three_in_flight()};
        p.client().leave();
        p.client().flush(0);
        const auto frames = p.sent();
        REQUIRE(frames.size() == 2);
        CHECK(frames[0].first == 0x89);
        CHECK(frames[1].first == 0x88);
        if (with_pong) p.reply({0x8A, frames[0].payload});
        p.reply(frames[1]);
        p.hang_up();
        p.receive();
        CHECK_FALSE(p.client().ended());
        p.receive();
        CHECK(p.client().ended());
        CHECK(p.client().closed_cleanly() == with_pong);
    }
}

TEST_CASE("a goodbye without a ping needs no pong") {
    peer p{three_in_flight()};
    p.client().leave(bench::farewell::close);
    p.client().flush(0);
    const auto frames = p.sent();
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].first == 0x88);
    p.reply(frames[0]);
    p.hang_up();
    p.receive();
    p.receive();
    CHECK(p.client().closed_cleanly());
}

TEST_CASE("a goodbye is not clean if the server answers with another code, or does not") {
    for (const bytes& code : {bytes{0x03, 0xE9}, bytes{}}) {
        peer p{three_in_flight()};
        p.client().leave(bench::farewell::close);
        p.client().flush(0);
        if (!code.empty()) p.reply({0x88, code});
        p.hang_up();
        while (!p.client().ended()) p.receive();
        CHECK_FALSE(p.client().closed_cleanly());
    }
}

TEST_CASE("messages are numbered from where they are told to begin") {
    peer p{three_in_flight(), 5};
    const auto frames = p.begin();
    REQUIRE(frames.size() == 3);
    CHECK(frames[0].payload[4] == '5');
    CHECK(frames[2].payload[4] == '7');
    for (const auto& frame : frames) p.reply(frame);
    CHECK(p.receive_all() == 3);
}

namespace {

bench::options three_calls() {
    bench::options o;
    o.depth = 3;
    o.call = "math.add";
    o.params = "[2,40]";
    o.expect = "42";
    return o;
}

frame result(const char* id, const char* value = "42") {
    const std::string text = std::string{R"({"jsonrpc":"2.0","result":)"} + value + ",\"id\":" + id + "}";
    return {0x81, bytes(text.begin(), text.end())};
}

}  // namespace

TEST_CASE("calls are text, and their replies may overtake each other") {
    peer p{three_calls()};
    const auto frames = p.begin();
    REQUIRE(frames.size() == 3);
    CHECK(frames[2].first == 0x81);
    CHECK(std::string(frames[2].payload.begin(), frames[2].payload.end()) ==
          R"({"jsonrpc":"2.0","method":"math.add","params":[2,40],"id":10000002})");
    for (const char* id : {"10000002", "10000000", "10000001"}) p.reply(result(id));
    CHECK(p.receive_all() == 3);
    CHECK(p.client().unanswered() == 0);
}

TEST_CASE("a reply to a call may come in fragments and byte by byte") {
    peer p{three_calls()};
    static_cast<void>(p.begin());
    const auto whole = result("10000001").payload;
    const auto part = static_cast<std::ptrdiff_t>(whole.size() - 5);  // in the middle of the id
    p.reply({0x01, bytes(whole.begin(), whole.begin() + part)});
    CHECK(p.receive() == 0);
    p.reply_raw({0x80});
    p.receive();
    p.reply_raw({5});
    p.receive();
    for (auto at = whole.begin() + part; at != whole.end(); ++at) {
        CHECK(p.latencies().count() == 0);
        p.reply_raw({*at});
        p.receive();
    }
    CHECK(p.latencies().count() == 1);
    CHECK(p.client().unanswered() == 2);
}

TEST_CASE("a reply to a call that was not made, or comes twice, or is wrong, or binary, is a fault") {
    const frame right = result("10000000");
    for (const frame& wrong :
         {result("10000003"), result("10000000", "43"), frame{0x82, right.payload}, frame{0x81, {}}}) {
        peer p{three_calls()};
        static_cast<void>(p.begin());
        p.reply(wrong);
        CHECK_THROWS_AS(p.receive(), bench::server_fault);
    }
    peer twice{three_calls()};
    static_cast<void>(twice.begin());
    twice.reply(right);
    twice.reply(right);
    CHECK_THROWS_WITH_AS(twice.receive(), doctest::Contains("answered before"), bench::server_fault);

    peer huge{three_calls()};
    static_cast<void>(huge.begin());
    huge.reply_raw({0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 1});
    CHECK_THROWS_WITH_AS(huge.receive(),
                         "connection 7: expected the reply to a call, as text; came a text message, 1048577 bytes",
                         bench::server_fault);
}
