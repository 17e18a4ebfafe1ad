#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <array>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using websocket::opcode;
using websocket::role;

static_assert(sizeof(session_machine) <= 352 || sizeof(void*) != 8, "there is one for every idle connection");

namespace {

std::string event_line(const session_event& event) {
    struct {
        std::string operator()(const message_received& e) const {
            return name(e.opcode) + " " + to_text(e.payload.view());
        }
        std::string operator()(const pong_received& e) const { return "pong " + to_text(e.payload.view()); }
        std::string operator()(const close_received& e) const {
            return "close " + std::to_string(static_cast<unsigned>(e.code)) + " " + e.reason;
        }
        std::string operator()(const session_failed& e) const {
            return "failed " + std::to_string(static_cast<unsigned>(e.code)) + " " + e.reason +
                   (e.send_close ? "" : " (silently)");
        }
    } printer;
    return std::visit(printer, event);
}

/// One side of a connection in virtual time.
struct side {
    explicit side(session_options with = {}, role self = role::server)
        : options{with}, machine{self, options, now, 42} {}

    void feed(const bytes& input) { machine.handle(slice::copy(input), now); }

    /// The events there are now; pongs and the like are taken as they come, as a driver does.
    lines events() {
        lines out;
        do {
            while (auto event = machine.poll_event()) out.push_back(event_line(*event));
            take_controls();
        } while (machine.pending_input());
        return out;
    }
    lines events(const bytes& input) {
        feed(input);
        return events();
    }
    void take_controls() {
        std::array<std::byte, websocket::max_control_frame> out{};
        while (const std::size_t size = machine.poll_control(out))
            sent.insert(sent.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size));
    }
    bytes take_sent() {
        take_controls();
        return std::exchange(sent, {});
    }

    /// Goes on by `by`, as a driver would that sleeps until the next deadline.
    lines advance(duration by) {
        const time_point until = now + by;
        lines out;
        while (const auto next = machine.poll_timeout()) {
            if (*next > until) break;
            REQUIRE(*next > now);  // otherwise a driver would spin
            now = *next;
            machine.handle_timeout(now);
            const lines some = events();
            out.insert(out.end(), some.begin(), some.end());
        }
        now = until;
        machine.handle_timeout(now);
        const lines some = events();
        out.insert(out.end(), some.begin(), some.end());
        return out;
    }

    session_options options;
    time_point now{1000s};
    session_machine machine;
    bytes sent;
};

/// A session without deadlines and rates but those that a test sets.
session_options calm() {
    return {.messages_per_second = 0,
            .controls_per_second = 0,
            .read_timeout = 0s,
            .ping_interval = 0s,
            .write_timeout = 0s,
            .message_timeout = 0s,
            .close_timeout = 0s};
}

}  // namespace

TEST_CASE("messages and pongs are events") {
    side server;
    CHECK(server.events(text("hello") + binary("x") + pong("p") + text("again")) ==
          lines{"text hello", "binary x", "pong p", "text again"});
    CHECK(server.take_sent().empty());
}

TEST_CASE("a ping is answered by a pong with the same payload, in the order of the pings") {  // RFC 6455 5.5.3
    side server;
    CHECK(server.events(ping("Hello") + text("m") + ping("") + ping("2")) == lines{"text m"});
    CHECK(server.take_sent() == "8a 05 48656c6c6f 8a 00 8a 01 32"_hex);
    CHECK(server.events(ping(std::string(125, 'x'))).empty());
    CHECK(server.take_sent() == "8a 7d"_hex + to_bytes(std::string(125, 'x')));
}

TEST_CASE("no input is consumed while a pong waits to be taken") {
    side server;
    server.feed(ping("1") + ping("2") + text("m"));
    CHECK_FALSE(server.machine.poll_event());
    CHECK(server.machine.pending_control());
    CHECK(server.machine.pending_input());
    CHECK_FALSE(server.machine.poll_event());  // it stays like that

    std::array<std::byte, websocket::max_control_frame> out{};
    CHECK(server.machine.poll_control(mutable_bytes{out}.first(130)) == 0);  // no room, nothing lost
    CHECK(server.machine.poll_control(out) == 3);
    CHECK_FALSE(server.machine.pending_control());
    CHECK_FALSE(server.machine.poll_event());
    CHECK(server.machine.poll_control(out) == 3);
    const auto event = server.machine.poll_event();
    REQUIRE(event);
    CHECK(event_line(*event) == "text m");
    CHECK_FALSE(server.machine.pending_input());
}

TEST_CASE("a client masks its control frames, each with another key") {
    side client{calm(), role::client};
    const bytes unmasked_ping = frame{opcode::ping, "same", true, false};
    CHECK(client.events(unmasked_ping + unmasked_ping).empty());
    const bytes sent = client.take_sent();
    CHECK(decode(sent) == lines{"pong same", "pong same"});
    REQUIRE(sent.size() == 20);
    CHECK(bytes(sent.begin() + 2, sent.begin() + 6) != bytes(sent.begin() + 12, sent.begin() + 16));
    CHECK(client.machine.next_mask() != client.machine.next_mask());
    CHECK_FALSE(side{}.machine.next_mask());
}

TEST_CASE("messages over the rate are not delivered, and end the session") {
    session_options options = calm();
    options.messages_per_second = 10;
    options.message_burst = 3;
    side server{options};
    const bytes four = text("1") + text("2") + text("3") + text("4") + text("5");
    CHECK(server.events(four) == lines{"text 1", "text 2", "text 3", "failed 1008 Rate limit exceeded"});
    CHECK(server.events(text("6")).empty());
    CHECK_FALSE(server.machine.poll_timeout());
}

TEST_CASE("the message rate refills with time, and control frames and fragments do not count in it") {
    session_options options = calm();
    options.messages_per_second = 10;
    options.message_burst = 2;
    side server{options};
    for (int i = 0; i < 20; ++i) {
        const bytes fragmented = bytes{frame{opcode::text, "a", false}} + frame{opcode::continuation, "b", false} +
                                 ping() + pong("p") + frame{opcode::continuation, "c"};
        CHECK(server.events(fragmented) == lines{"pong p", "text abc"});
        server.advance(100ms);
    }
    CHECK(server.events(text("1") + text("2") + text("3")).back() == "failed 1008 Rate limit exceeded");
}

TEST_CASE("what waited unread is charged when it is read") {
    session_options options = calm();
    options.messages_per_second = 1;
    options.message_burst = 2;
    side server{options};
    server.feed(text("1") + text("2") + text("3"));
    CHECK(server.machine.poll_event());
    CHECK(server.machine.poll_event());
    server.machine.pause_reading(server.now);
    server.now += 5s;
    server.machine.resume_reading(server.now);
    CHECK(server.events() == lines{"text 3"});
}

TEST_CASE("the elements of a batch are charged like messages") {
    session_options options = calm();
    options.messages_per_second = 10;
    options.message_burst = 5;
    side server{options};
    CHECK(server.events(text("batch")) == lines{"text batch"});
    CHECK(server.machine.charge(4, server.now));
    CHECK_FALSE(server.machine.charge(1, server.now));
    CHECK(server.machine.pending_input());
    CHECK(server.events() == lines{"failed 1008 Rate limit exceeded"});
    CHECK_FALSE(server.machine.charge(1, server.now));
    CHECK(server.events().empty());  // once

    side later{options};
    CHECK(later.machine.charge(5, later.now));
    later.now += 500ms;
    CHECK(later.machine.charge(5, later.now));
}

TEST_CASE("control frames have a rate of their own") {
    session_options options = calm();
    options.controls_per_second = 10;
    options.control_burst = 2;
    side server{options};
    CHECK(server.events(ping("1") + pong("2") + text("m") + ping("3") + text("n")) ==
          lines{"pong 2", "text m", "failed 1008 Control frame rate limit exceeded"});
    CHECK(server.take_sent() == "8a 01 31"_hex);

    side patient{options};
    for (int i = 0; i < 20; ++i) {
        CHECK(patient.events(ping("x")).empty());
        patient.advance(100ms);
    }
    CHECK(patient.take_sent().size() == 60);
}

TEST_CASE("a violation ends the session, behind what was complete before it") {
    side server;
    CHECK(server.events(text("good") + "83 80 00000000"_hex + text("never")) ==
          lines{"text good", "failed 1002 reserved opcode"});
    CHECK(server.events(text("never")).empty());
    CHECK_FALSE(server.machine.pending_input());
    CHECK_FALSE(server.machine.pending_control());
    CHECK_FALSE(server.machine.poll_timeout());
    CHECK(server.machine.want().empty());
}

TEST_CASE("the limits of the options reach the decoder") {
    session_options options = calm();
    options.max_text_message = 3;
    options.max_binary_message = 4;
    options.max_fragments = 1;
    CHECK(side{options}.events(text("four")) == lines{"failed 1009 text message exceeds the limit of 3 bytes"});
    CHECK(side{options}.events(binary("fives")) == lines{"failed 1009 binary message exceeds the limit of 4 bytes"});
    CHECK(side{options}.events(bytes{frame{opcode::text, "a", false}} + frame{opcode::continuation, "b"}) ==
          lines{"failed 1008 too many fragments"});
}

TEST_CASE("the read deadline is renewed by any bytes and passes without them") {
    session_options options = calm();
    options.read_timeout = 60s;
    side server{options};
    CHECK(server.machine.poll_timeout() == server.now + 60s);
    CHECK(server.advance(59s).empty());
    server.feed("81"_hex);  // half a header will do
    CHECK(server.events().empty());
    CHECK(server.machine.poll_timeout() == server.now + 60s);
    CHECK(server.advance(59s).empty());
    CHECK(server.advance(1s) == lines{"failed 1006 read timeout (silently)"});
    CHECK_FALSE(server.machine.poll_timeout());
    CHECK(server.events(text("late")).empty());
}

TEST_CASE("directly read bytes renew the read deadline too") {
    session_options options = calm();
    options.read_timeout = 60s;
    side server{options};
    const bytes message = binary(std::string(100'000, 'x'));
    server.feed(bytes(message.begin(), message.begin() + 20'000));
    CHECK(server.events().empty());
    server.advance(50s);
    const mutable_bytes span = server.machine.want();
    REQUIRE(span.size() > 1000);
    std::memcpy(span.data(), message.data() + 20'000, 1000);
    server.machine.handle_direct(1000, server.now);
    CHECK(server.events().empty());
    CHECK(server.advance(59s).empty());
    CHECK(server.advance(1s).size() == 1);
}

TEST_CASE("the read deadline is suspended while we do not read") {
    session_options options = calm();
    options.read_timeout = 60s;
    side server{options};
    server.advance(30s);
    server.machine.pause_reading(server.now);
    CHECK_FALSE(server.machine.poll_timeout());
    CHECK(server.advance(1000s).empty());
    server.machine.resume_reading(server.now);
    CHECK(server.advance(59s).empty());
    CHECK(server.advance(1s) == lines{"failed 1006 read timeout (silently)"});
}

TEST_CASE("an unfinished message has a deadline, later the more of it has arrived") {
    session_options options = calm();
    options.message_timeout = 60s;
    const auto unfinished = [](std::size_t size) {
        return bytes{frame{opcode::binary, std::string(size, 'x'), false}};
    };
    SUBCASE("a few bytes") {
        side server{options};
        CHECK(server.events(unfinished(1)).empty());
        CHECK(server.advance(59s).empty());
        CHECK(server.advance(1s) == lines{"failed 1008 message timeout"});
    }
    SUBCASE("a second for each 16 KiB") {
        side server{options};
        CHECK(server.events(unfinished(160 * 1024)).empty());
        CHECK(server.advance(69s).empty());
        CHECK(server.advance(1s) == lines{"failed 1008 message timeout"});
    }
    SUBCASE("what a header announces does not count") {
        side server{options};
        CHECK(server.events("82 ff 0000000000100000 00000000 00"_hex).empty());
        CHECK(server.advance(60s) == lines{"failed 1008 message timeout"});
    }
    SUBCASE("half a header, and half a control frame") {
        side server{options};
        CHECK(server.events("82"_hex).empty());
        CHECK(server.advance(60s) == lines{"failed 1008 message timeout"});
        side other{options};
        CHECK(other.events("89 85 00"_hex).empty());
        CHECK(other.advance(60s) == lines{"failed 1008 message timeout"});
    }
    SUBCASE("trickling, and pings in between, do not move it") {
        side server{options};
        CHECK(server.events(unfinished(1)).empty());
        for (int i = 0; i < 5; ++i) {
            CHECK(server.advance(10s).empty());
            CHECK(server.events(bytes{frame{opcode::continuation, "y", false}} + ping()).empty());
        }
        CHECK(server.advance(10s) == lines{"failed 1008 message timeout"});
    }
    SUBCASE("it ends with the message, and the next message has one of its own") {
        side server{options};
        CHECK(server.events(unfinished(1)).empty());
        CHECK(server.advance(40s).empty());
        CHECK(server.events(bytes{frame{opcode::continuation, "y"}} + unfinished(1)) == lines{"binary xy"});
        CHECK(server.advance(59s).empty());
        CHECK(server.events(frame{opcode::continuation, "y"}) == lines{"binary xy"});
        CHECK_FALSE(server.machine.poll_timeout());
        CHECK(server.advance(1000s).empty());
    }
    SUBCASE("it is suspended while we do not read") {
        side server{options};
        CHECK(server.events(unfinished(1)).empty());
        CHECK(server.advance(40s).empty());
        server.machine.pause_reading(server.now);
        CHECK(server.advance(1000s).empty());
        server.machine.resume_reading(server.now);
        CHECK(server.advance(19s).empty());
        CHECK(server.advance(1s) == lines{"failed 1008 message timeout"});
    }
}

TEST_CASE("pings go out at their interval") {
    session_options options = calm();
    options.ping_interval = 54s;
    side server{options};
    CHECK(server.advance(53s).empty());
    CHECK(server.take_sent().empty());
    server.advance(1s);
    CHECK(server.take_sent() == "89 00"_hex);
    server.advance(54s * 3);
    CHECK(server.take_sent() == "89 00 89 00 89 00"_hex);

    side client{options, role::client};
    client.advance(54s);
    CHECK(decode(client.take_sent()) == lines{"ping"});
}

TEST_CASE("pings that nobody takes do not pile up") {
    session_options options = calm();
    options.ping_interval = 1s;
    side server{options};
    for (int i = 0; i < 5; ++i) server.machine.handle_timeout(server.now += 1s);
    CHECK(server.take_sent() == "89 00"_hex);
}

TEST_CASE("early calls of handle_timeout do nothing, and time may stand still or go backwards") {
    side server;
    server.machine.handle_timeout(server.now);
    server.machine.handle_timeout(server.now - 1000s);
    server.machine.handle(slice::copy(text("x")), server.now - 500s);
    CHECK(server.events() == lines{"text x"});
    CHECK(server.take_sent().empty());
    CHECK(server.machine.poll_timeout() == server.now + 54s);
}

TEST_CASE("zero disables each deadline, and the largest duration does not overflow") {
    side server{calm()};
    CHECK_FALSE(server.machine.poll_timeout());
    session_options endless = calm();
    endless.read_timeout = endless.ping_interval = endless.message_timeout = duration::max();
    side patient{endless};
    CHECK(patient.events("82"_hex).empty());
    CHECK_FALSE(patient.machine.poll_timeout());
}

TEST_CASE("a peer that takes nothing of what is queued is a slow consumer") {
    session_options options = calm();
    options.write_timeout = 10s;
    side server{options};
    server.machine.handle_write_progress(0, 1000, server.now);
    CHECK(server.machine.poll_timeout() == server.now + 10s);
    CHECK(server.advance(9s).empty());
    server.machine.handle_write_progress(0, 5000, server.now);  // more is queued, nothing is taken
    CHECK(server.advance(1s) == lines{"failed 3008 slow consumer"});
}

TEST_CASE("progress is at least 64 KiB, or what was queued, per write timeout") {
    session_options options = calm();
    options.write_timeout = 10s;
    SUBCASE("a trickle is not enough") {
        side server{options};
        server.machine.handle_write_progress(0, 1'000'000, server.now);
        for (int i = 0; i < 9; ++i) {
            CHECK(server.advance(1s).empty());
            server.machine.handle_write_progress(1000, 1'000'000, server.now);
        }
        CHECK(server.advance(1s) == lines{"failed 3008 slow consumer"});
    }
    SUBCASE("64 KiB in time are") {
        side server{options};
        server.machine.handle_write_progress(0, 1'000'000, server.now);
        for (int i = 0; i < 20; ++i) {
            CHECK(server.advance(9s).empty());
            server.machine.handle_write_progress(64 * 1024, 1'000'000, server.now);
        }
    }
    SUBCASE("of a short queue all that was there at the start") {
        side server{options};
        server.machine.handle_write_progress(0, 100, server.now);
        CHECK(server.advance(9s).empty());
        server.machine.handle_write_progress(100, 70, server.now);  // the 70 came later: they have their own time
        CHECK(server.advance(9s).empty());
        server.machine.handle_write_progress(69, 1, server.now);
        CHECK(server.advance(1s) == lines{"failed 3008 slow consumer"});
    }
    SUBCASE("an empty queue has no deadline") {
        side server{options};
        server.machine.handle_write_progress(0, 100, server.now);
        server.machine.handle_write_progress(100, 0, server.now);
        CHECK_FALSE(server.machine.poll_timeout());
        CHECK(server.advance(1000s).empty());
        server.machine.handle_write_progress(0, 100, server.now);
        CHECK(server.machine.poll_timeout() == server.now + 10s);
    }
    SUBCASE("a late report counts as late") {
        side server{options};
        server.machine.handle_write_progress(0, 100, server.now);
        server.now += 11s;
        server.machine.handle_write_progress(1, 99, server.now);
        CHECK(server.events() == lines{"failed 3008 slow consumer"});
    }
}

TEST_CASE("the peer closes first: its code is echoed as the last control frame") {  // RFC 6455 5.5.1
    side server;
    CHECK(server.events(ping("p") + text("m") + close_frame(4001, "bye") + text("ignored") + ping("ignored")) ==
          lines{"text m", "close 4001 bye"});
    CHECK(server.machine.close_was_received());
    CHECK_FALSE(server.machine.close_was_sent());
    CHECK_FALSE(server.machine.done());
    CHECK(server.take_sent() == "8a 01 70 88 02 0fa1"_hex);
    server.machine.close_sent(server.now);
    CHECK(server.machine.done());
    CHECK_FALSE(server.machine.poll_timeout());
    CHECK(server.events(text("ignored")).empty());
    server.machine.handle_eof();
    CHECK(server.events().empty());
    CHECK(server.take_sent().empty());
}

TEST_CASE("an empty close frame is answered by an empty one") {  // RFC 6455 7.1.5
    side server;
    CHECK(server.events(frame{opcode::close, ""}) == lines{"close 1005 "});
    CHECK(server.take_sent() == "88 00"_hex);

    side client{calm(), role::client};
    CHECK(client.events("88 02 03e8"_hex) == lines{"close 1000 "});
    CHECK(decode(client.take_sent()) == lines{"close \x03\xE8"});
}

TEST_CASE("while our answer waits to be written, only the write deadline counts") {
    side server;
    CHECK(server.events(close_frame(1000)) == lines{"close 1000 "});
    server.take_sent();
    CHECK_FALSE(server.machine.poll_timeout());
    server.machine.handle_write_progress(0, 4, server.now);
    CHECK(server.advance(10s) == lines{"failed 3008 slow consumer (silently)"});
}

TEST_CASE("we close first: nothing but the peer's close frame matters any more") {
    side server;
    server.machine.close_sent(server.now);
    CHECK(server.machine.close_was_sent());
    CHECK(server.machine.poll_timeout() == server.now + 5s);
    CHECK(server.events(text("dropped") + ping("dropped") + pong("dropped")).empty());
    CHECK(server.take_sent().empty());
    CHECK(server.events(close_frame(1000, "bye") + text("ignored")) == lines{"close 1000 bye"});
    CHECK(server.machine.done());
    CHECK(server.take_sent().empty());  // ours was the first, there is no second
    CHECK_FALSE(server.machine.poll_timeout());
}

TEST_CASE("a peer that never answers our close frame is given up") {
    side server;
    server.machine.close_sent(server.now);
    CHECK(server.advance(4s).empty());
    CHECK(server.events(text("still talking")).empty());
    server.machine.pause_reading(server.now);  // this deadline is never suspended
    CHECK(server.advance(1s) == lines{"failed 1006 close timeout (silently)"});
    CHECK_FALSE(server.machine.done());
}

TEST_CASE("after our close frame neither rates nor pings matter, but violations do") {
    session_options options;
    options.message_burst = options.control_burst = 1;
    options.ping_interval = 1s;
    side server{options};
    server.machine.close_sent(server.now);
    CHECK(server.events(text("1") + text("2") + text("3") + ping() + ping() + ping()).empty());
    server.advance(3s);
    CHECK(server.take_sent().empty());
    CHECK(server.events("83 80 00000000"_hex) == lines{"failed 1002 reserved opcode (silently)"});
}

TEST_CASE("a pong that waits is dropped once our close frame is out") {
    side server;
    server.feed(ping("late") + text("dropped") + close_frame(1000));
    CHECK_FALSE(server.machine.poll_event());
    CHECK(server.machine.pending_control());
    server.machine.close_sent(server.now);
    CHECK_FALSE(server.machine.pending_control());
    CHECK(server.events() == lines{"close 1000 "});
    CHECK(server.take_sent().empty());
}

TEST_CASE("a stream that ends without a close frame is a failure, behind the messages before it") {
    side server;
    server.feed(text("last") + "81"_hex);
    server.machine.handle_eof();
    CHECK(server.machine.pending_input());
    CHECK(server.events() == lines{"text last", "failed 1006 connection lost (silently)"});
    CHECK(server.events().empty());
    CHECK_FALSE(server.machine.poll_timeout());

    side closing;
    closing.machine.close_sent(closing.now);
    closing.machine.handle_eof();
    CHECK(closing.events() == lines{"failed 1006 connection lost (silently)"});

    side polite;
    polite.feed(close_frame(1000));
    polite.machine.handle_eof();
    CHECK(polite.events() == lines{"close 1000 "});
}

TEST_CASE("only the first failure is told") {
    session_options options;
    options.message_burst = 1;
    side server{options};
    CHECK_FALSE(server.machine.charge(2, server.now));
    server.now += 1000s;
    server.machine.handle_timeout(server.now);
    server.machine.handle_eof();
    CHECK(server.events() == lines{"failed 1008 Rate limit exceeded"});
    CHECK(server.events().empty());
}

TEST_CASE("a connection that ends lets go of what it holds") {
    const slice input = slice::copy(ping("waits") + text("unread"));
    side server;
    server.machine.handle(slice{input}, server.now);
    CHECK_FALSE(server.machine.poll_event());
    CHECK_FALSE(input.unique());
    server.machine.handle_timeout(server.now + 60s);
    CHECK(input.unique());
    CHECK_FALSE(server.machine.pending_control());
    CHECK(server.events() == lines{"failed 1006 read timeout (silently)"});
}
