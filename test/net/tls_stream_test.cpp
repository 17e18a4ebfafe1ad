// The TLS stream over a transport that takes and gives exactly what the test says.
#include <support/tls_client.hpp>
#include <support/tls_server.hpp>

#include <kephas/net/tls_stream.hpp>

#include <asio/error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

/// What the test and the stream have in common.
struct wire {
    std::string to_server;
    bool at_end = false;                 // the peer sends nothing more, ...
    std::error_code end_code;            // ... which a socket tells with eof, and a stream of a program with nothing
    std::size_t segment = std::string::npos;  // most that one read gives
    std::string from_server;
    std::size_t room = std::string::npos;     // what the "kernel" still takes
    std::function<void(std::error_code)> waiter;
    bool send_ended = false;
    std::error_code write_failure;
    bool throws = false;  // when it is written to
    bool aborted = false;

    void make_room(std::size_t size) {
        room = size;
        if (waiter) std::exchange(waiter, nullptr)({});
    }
};

class scripted_transport final : public stream {
public:
    explicit scripted_transport(wire& other) : wire_{other} {}

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override {
        ec.clear();
        if (wire_.to_server.empty()) {
            ec = wire_.at_end ? wire_.end_code : asio::error::would_block;
            return 0;
        }
        buffer.slab = buffer.lender->borrow_slab();
        const std::size_t size = std::min({wire_.to_server.size(), wire_.segment, buffer.slab.size()});
        std::ranges::copy(as_bytes(wire_.to_server).first(size), buffer.slab.data());
        wire_.to_server.erase(0, size);
        return size;
    }
    void wait_readable(read_waiter& /*who*/) override {}  // the script reads again when there is something
    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        if (wire_.throws) throw std::runtime_error{"a transport that throws"};
        ec = wire_.write_failure;
        if (ec) return 0;
        std::size_t total = 0;
        for (const bytes_view each : buffers) {
            const std::size_t size = std::min(each.size(), wire_.room - total);
            wire_.from_server += as_text(each.first(size));
            total += size;
        }
        if (wire_.room != std::string::npos) wire_.room -= total;
        if (total == 0) ec = asio::error::would_block;
        return total;
    }
    void wait_writable(std::function<void(std::error_code)> ready) override {
        REQUIRE_FALSE(wire_.waiter);  // one wait at a time
        wire_.waiter = std::move(ready);
    }
    void shutdown_send() noexcept override { wire_.send_ended = true; }
    void close() noexcept override {
        if (wire_.waiter) std::exchange(wire_.waiter, nullptr)(asio::error::operation_aborted);
    }
    void abort() noexcept override {
        wire_.aborted = true;
        close();
    }
    bool peer_gone() const noexcept override { return wire_.at_end; }
    std::string remote_address() const override { return "scripted"; }

private:
    wire& wire_;
};

class counting_lender final : public slab_lender {
public:
    slice borrow_slab() override {
        ++lent;
        return cache_.borrow();
    }
    void give_back_slab(slice slab) override {
        REQUIRE_FALSE(slab.block_size() == 0);
        --lent;
        cache_.give_back(std::move(slab));
    }
    int lent = 0;

private:
    slab_cache cache_;
};

struct outcome {
    std::string text;
    std::error_code ec;
    bool waits = false;  // for more from the peer
};

/// A TLS stream and its client, joined by a script.
class fixture {
public:
    explicit fixture(const tls_wishes& wishes = {}) : client{wishes} {
        tls_options options;
        options.certificates = {in_memory(localhost_pair())};
        auto rules = std::make_shared<const tls_context>(options, tls_material::read(options));
        server = make_tls_stream(std::make_unique<scripted_transport>(net), std::move(rules), "plain answer");
    }

    /// Reads until something comes of it, or the wire is empty.
    outcome read(mutable_bytes direct = {}) {
        outcome result;
        read_buffer buffer;
        buffer.direct = direct;
        buffer.lender = &lender;
        std::size_t size = 0;
        do {
            size = server->read_some(buffer, result.ec);
            result.waits = result.ec == asio::error::would_block;
        } while (result.waits && (server->pending() || !net.to_server.empty() || net.at_end));
        if (result.waits) result.ec.clear();
        if (direct.empty()) direct = buffer.slab.bytes();
        result.text = as_text(direct.first(std::min(size, direct.size())));
        if (!buffer.slab.empty()) lender.give_back_slab(std::move(buffer.slab));
        return result;
    }
    void handshake() {
        for (int i = 0; i < 4 && !server->tls(); ++i) {
            net.to_server += client.exchange(std::exchange(net.from_server, {}));
            CHECK(read().waits);
        }
        REQUIRE(server->tls());
        CHECK(client.exchange(std::exchange(net.from_server, {})).empty());
        CHECK(lender.lent == 0);
    }
    std::pair<std::size_t, std::error_code> write(const std::vector<std::string>& texts) {
        std::vector<bytes_view> views;
        for (const std::string& each : texts) views.push_back(as_bytes(each));
        std::error_code ec;
        const std::size_t size = server->write_some(views, ec);
        return {size, ec};
    }
    std::string received() {
        (void)client.exchange(std::exchange(net.from_server, {}));
        return client.take_received();
    }

    counting_lender lender;
    wire net;
    tls_client client;
    std::unique_ptr<stream> server;
};

}  // namespace

TEST_CASE("what write_some accepts never has to be written again, wherever the kernel stops") {
    for (const int version : {12, 13}) {
        const std::string text(20'000, 'a');
        for (const std::size_t room : {0U, 1U, 5U, 100U, 16'000U, 16'405U, 16'406U, 16'500U, 20'000U}) {
            CAPTURE(room);
            fixture f{{.version = version}};
            f.handshake();
            f.net.room = room;
            const auto [size, ec] = f.write({text});
            CHECK_FALSE(ec);
            CHECK((size == 16'384 || size == 20'000));  // whole records
            if (size == 16'384 || f.net.waiter) {
                const auto [more, blocked] = f.write({text.substr(size)});
                if (size < 20'000 || f.net.waiter) {
                    CHECK(more == 0);
                    CHECK((size == 20'000 || blocked == asio::error::would_block));
                }
            }
            bool told = false;
            f.server->wait_writable([&](std::error_code failed) {
                CHECK_FALSE(failed);
                told = true;
            });
            while (!told) {
                REQUIRE(f.net.waiter);
                f.net.make_room(3'000);
            }
            f.net.room = std::string::npos;
            const auto [rest, none] = f.write({text.substr(size), "the end"});
            CHECK(rest == text.size() - size + 7);
            CHECK_FALSE(none);
            CHECK(f.received() == text + "the end");
        }
    }
}

TEST_CASE("a gather list becomes records of 16 KiB, whatever its pieces are") {
    fixture f;
    f.handshake();
    const std::size_t before = f.client.records_received();
    CHECK(f.write({"", "a", "", "b", std::string(40'000, 'c'), "", "d"}).first == 40'003);
    CHECK(f.received() == "ab" + std::string(40'000, 'c') + "d");
    CHECK(f.client.records_received() - before == 3);
    CHECK(f.write({}).first == 0);
    CHECK_FALSE(f.write({"", ""}).second);
    CHECK(f.client.records_received() - before == 3);
}

TEST_CASE("nothing can be written before the handshake, and the end is then a plain one") {
    fixture f;
    CHECK(f.write({"too early"}).second == asio::error::not_connected);
    f.server->shutdown_send();
    CHECK(f.net.send_ended);
    CHECK(f.net.from_server.empty());
    CHECK_FALSE(f.server->tls());
}

TEST_CASE("the end is sent behind what waits for the kernel") {
    fixture f;
    f.handshake();
    f.net.room = 10;
    CHECK(f.write({"last words"}).first == 10);
    f.server->shutdown_send();
    CHECK_FALSE(f.net.send_ended);
    CHECK(f.server->unacknowledged() > 10);
    f.net.make_room(std::string::npos);
    CHECK(f.server->unacknowledged() == 0);
    CHECK(f.net.send_ended);
    CHECK(f.received() == "last words");
    CHECK(f.client.ended_properly());
}

TEST_CASE("each way in which the bytes of a peer are cut gives the same plaintext and keeps no slab") {
    for (const int version : {12, 13}) {
        for (const std::size_t segment : {1U, 2U, 5U, 6U, 1000U, 100'000U}) {
            fixture f{{.version = version}};
            f.net.segment = segment;
            f.handshake();
            std::string sent;
            for (const std::size_t size : {1U, 2U, 16'384U, 300U}) {
                sent += std::string(size, static_cast<char>('a' + size % 26));
                f.net.to_server += f.client.encrypt(sent.substr(sent.size() - size));
            }
            std::string got;
            while (got.size() < sent.size()) {
                const outcome next = f.read();
                REQUIRE_FALSE(next.ec);
                REQUIRE_FALSE(next.waits);
                got += next.text;
            }
            CHECK(got == sent);
            CHECK(f.lender.lent == 0);
        }
    }
}

TEST_CASE("a read into memory of the caller's takes no more than fits, the rest comes with the next ones") {
    fixture f;
    f.handshake();
    f.net.to_server = f.client.encrypt("for the read that waits already");
    CHECK(f.read().text == "for the read that waits already");
    f.net.to_server = f.client.encrypt("0123456789");
    f.net.to_server += f.client.encrypt("abcdefghij");
    std::array<std::byte, 4> small;
    std::string got;
    for (int i = 0; i < 5; ++i) {
        const outcome part = f.read(small);
        REQUIRE(part.text.size() == 4);
        got += part.text;
    }
    CHECK(got == "0123456789abcdefghij");
    CHECK(f.lender.lent == 0);
}

TEST_CASE("a stream that ends without close_notify is truncated, however its transport tells the end, and can be written to") {
    for (const std::error_code end_code : {std::error_code{}, std::error_code{asio::error::eof}}) {
        for (const int version : {12, 13}) {
            fixture cut{{.version = version}};
            cut.handshake();
            cut.net.to_server = cut.client.encrypt("bye");
            cut.net.at_end = true;
            cut.net.end_code = end_code;
            CHECK(cut.read().text == "bye");
            for (int i = 0; i < 2; ++i) {
                const outcome end = cut.read();
                CHECK(end.ec == errc::truncated);
                CHECK(end.ec == condition::peer_gone);
                CHECK(end.text.empty());
            }
            const auto [size, ec] = cut.write({"the answer"});  // it may have ended its side only
            CHECK(size == 10);
            CHECK_FALSE(ec);
            cut.server->shutdown_send();
            CHECK(cut.net.send_ended);
            CHECK(cut.received() == "the answer");
            CHECK(cut.client.ended_properly());
            CHECK(cut.lender.lent == 0);
        }
        fixture early;  // in the middle of the handshake
        early.net.to_server = early.client.exchange({});
        early.net.to_server.resize(early.net.to_server.size() / 2);
        early.net.at_end = true;
        early.net.end_code = end_code;
        CHECK(early.read().ec == errc::truncated);
        CHECK(early.write({"x"}).second == asio::error::not_connected);
    }
}

TEST_CASE("close_notify is the end of the stream, a forged record is a violation") {
    fixture proper;
    proper.handshake();
    proper.net.to_server = proper.client.encrypt("bye");
    proper.client.send_close_notify_to(proper.net.to_server);
    CHECK(proper.read().text == "bye");
    const outcome end = proper.read();
    CHECK(end.ec == asio::error::eof);  // as over TCP: the peer may still read
    CHECK(end.text.empty());
    CHECK(proper.write({"but we have something to say"}).first == 28);

    fixture forged;
    forged.handshake();
    forged.net.to_server = forged.client.encrypt("bye");
    forged.net.to_server.back() = static_cast<char>(forged.net.to_server.back() ^ 1);
    CHECK(forged.read().ec == condition::protocol_violation);
    CHECK(forged.lender.lent == 0);
    CHECK(forged.write({"x"}).second == condition::protocol_violation);
}

TEST_CASE("answers that a peer makes us give and does not read are bounded") {
    fixture f{{.version = 13}};
    f.handshake();
    f.net.room = 0;
    std::error_code ec;
    for (int i = 0; i < 20'000 && !ec; ++i) {
        f.net.to_server = f.client.encrypted_key_update();
        ec = f.read().ec;
    }
    CHECK(ec == asio::error::no_buffer_space);
    CHECK(f.write({"x"}).second == asio::error::no_buffer_space);
}

TEST_CASE("a transport that fails ends the stream with its error") {
    fixture f;
    f.handshake();
    f.net.write_failure = asio::error::broken_pipe;
    CHECK(f.write({"x"}).second == asio::error::broken_pipe);
    f.net.at_end = true;
    CHECK(f.read().ec == asio::error::broken_pipe);

    fixture waiting;
    waiting.handshake();
    waiting.net.room = 5;
    CHECK(waiting.write({"x"}).first == 1);
    std::error_code told;
    waiting.server->wait_writable([&](std::error_code ec) { told = ec; });
    waiting.net.write_failure = asio::error::connection_reset;
    waiting.net.make_room(5);
    CHECK(told == asio::error::connection_reset);

    fixture closed;
    closed.handshake();
    closed.net.room = 5;
    CHECK(closed.write({"x"}).first == 1);
    closed.server->wait_writable([&](std::error_code ec) { told = ec; });
    closed.server->close();
    CHECK(told == asio::error::operation_aborted);
}

TEST_CASE("a transport that throws ends the stream with an error, also while the rest of a record waits for it") {
    fixture at_once;
    at_once.handshake();
    at_once.net.throws = true;
    CHECK(at_once.write({"x"}).second == asio::error::connection_aborted);
    at_once.net.at_end = true;
    CHECK(at_once.read().ec == asio::error::connection_aborted);

    fixture later;
    later.handshake();
    later.net.room = 5;
    CHECK(later.write({"x"}).first == 1);
    std::error_code told;
    later.server->wait_writable([&](std::error_code ec) { told = ec; });
    later.net.throws = true;
    CHECK_NOTHROW(later.net.make_room(5));
    CHECK(told == asio::error::connection_aborted);
    CHECK(later.net.aborted);  // or nothing would tell the session, which reads
    CHECK(later.write({"x"}).second == asio::error::connection_aborted);
}

TEST_CASE("a stream that is destroyed while something waits is not touched again") {
    fixture f;
    f.handshake();
    f.net.room = 5;
    CHECK(f.write({"x"}).first == 1);
    REQUIRE(f.net.waiter);
    f.server.reset();
    f.net.make_room(100);
}

TEST_CASE("a peer that speaks HTTP gets the plain answer") {
    fixture f;
    f.net.to_server = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK(f.read().ec == condition::protocol_violation);
    CHECK(f.net.from_server == "plain answer");
}

TEST_CASE("what is left of a record when the buffer of a read is full is announced, and the next read has it") {
    for (const int version : {12, 13}) {
        fixture f{{.version = version}};
        f.handshake();
        f.net.to_server = f.client.encrypt("the end of a large message, and the next one");
        std::array<std::byte, 26> direct{};
        CHECK(f.read(direct).text == "the end of a large message");
        CHECK(f.net.to_server.empty());  // nothing will come from below
        CHECK(f.server->pending());
        CHECK(f.read().text == ", and the next one");
        CHECK_FALSE(f.server->pending());
        CHECK(f.read().waits);
        CHECK(f.lender.lent == 0);
    }
}
