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
    explicit peer(bench::options o) : options_{std::move(o)}, work_{options_} {
        std::array<int, 2> ends{};
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
        server_ = ends[1];
        client_.emplace(ends[0], options_, work_);
    }
    ~peer() { close(server_); }
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    bench::connection& client() { return *client_; }
    bench::histogram& latencies() { return latencies_; }

    /// What the client has sent since, unmasked. Only short frames.
    std::vector<frame> sent() {
        bytes in(64 * 1024);
        const auto got = recv(server_, in.data(), in.size(), 0);
        in.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        std::vector<frame> frames;
        for (std::size_t at = 0; at < in.size();) {
            REQUIRE((in[at + 1] & 0x80U) != 0);
            frame f{in[at], {}};
            const std::size_t length = in[at + 1] & 0x7FU;
            for (std::size_t i = 0; i < length; ++i)
                f.payload.push_back(static_cast<std::uint8_t>(in[at + 6 + i] ^ in[at + 2 + i % 4]));
            at += 6 + length;
            frames.push_back(std::move(f));
        }
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

    void receive(std::int64_t now = 0) {
        bytes scratch(4096);
        client_->receive(scratch, now, latencies_);
    }

    std::vector<frame> begin() {
        client_->start();
        client_->flush(1000);
        return sent();
    }

private:
    bench::options options_;
    bench::workload work_;
    std::optional<bench::connection> client_;
    bench::histogram latencies_;
    int server_ = -1;
};

bench::options three_in_flight() {
    bench::options o;
    o.in_flight = 3;
    o.payload = 12;
    o.command = 0x0100;
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

TEST_CASE("each echo in order is counted with its latency and replaced by a new message") {
    peer p{three_in_flight()};
    const auto frames = p.begin();
    p.reply(frames[0]);
    p.reply(frames[1]);
    p.receive(3000);
    CHECK(p.latencies().count() == 2);
    CHECK(p.latencies().max() == 2000);
    CHECK(p.client().unanswered() == 1);
    p.client().replace_answered();
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
        p.client().replace_answered();
        p.client().flush(1000);
        p.reply(frames[0]);
        CHECK_THROWS_AS(p.receive(1000), bench::server_fault);
    }
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

TEST_CASE("percentiles are exact for small values and within a hundredth for large ones") {
    bench::histogram h;
    CHECK(h.percentile(0.5) == 0);
    for (std::uint64_t i = 1; i <= 100; ++i) h.add(i);
    CHECK(h.percentile(0.5) == 50);
    CHECK(h.percentile(0.99) == 99);
    CHECK(h.percentile(1) == 100);
    for (const std::uint64_t value : {std::uint64_t{129}, std::uint64_t{1'000'003}, ~std::uint64_t{0} - 5}) {
        h.clear();
        h.add(value);
        h.add(value);
        h.add(~std::uint64_t{0});
        CHECK(h.percentile(0.5) >= value);
        CHECK(h.percentile(0.5) - value <= value / 100);
        CHECK(h.max() == ~std::uint64_t{0});
    }
}
