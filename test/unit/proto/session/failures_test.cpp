// A session machine in the middle of which something fails: at each step of each script the stream ends, a byte is
// wrong, time passes, or memory runs out.
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <doctest/doctest.h>
#include <support/failing_new.hpp>
#include <support/websocket.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <new>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

/// What arrives, in the pieces in which it arrives.
using session_script = std::vector<bytes>;

std::vector<session_script> session_scripts() {
    const auto fragment = [](websocket::opcode op, std::string payload, bool fin) {
        return bytes(frame{op, std::move(payload), fin});
    };
    const bytes big = binary(std::string(40'000, 'x'));
    const auto piece = [&](std::size_t from, std::size_t to) {
        return bytes(big.begin() + static_cast<std::ptrdiff_t>(from), big.begin() + static_cast<std::ptrdiff_t>(to));
    };
    return {
        {text("hello"), binary("command"), ping("are you there"), pong(), close_frame(1000, "bye")},
        {fragment(websocket::opcode::text, "one ", false), ping("between"),
         fragment(websocket::opcode::continuation, "two ", false),
         fragment(websocket::opcode::continuation, "three", true), close_frame(1001)},
        {piece(0, 9), piece(9, 20'000), piece(20'000, 40'000), piece(40'000, big.size()), text("after it")},
        {text("a") + text("b") + ping("1") + ping("2"), text(std::string(300, 'y')), frame{websocket::opcode::close}},
    };
}

/// Feeds a machine as a driver does, and notes what comes out.
struct driven_machine {
    void feed(bytes_view input) {
        while (!input.empty()) {
            const mutable_bytes direct = machine.want();
            std::size_t size = input.size();
            if (direct.empty()) {
                machine.handle(slice::copy(input), now);
            } else {
                size = std::min(size, direct.size());
                std::copy_n(input.begin(), size, direct.begin());
                machine.handle_direct(size, now);
            }
            input = input.subspan(size);
            drain();
        }
    }
    void drain() {
        std::array<std::byte, websocket::max_control_frame> out{};
        for (int rounds = 0;; ++rounds) {
            REQUIRE(rounds < 1'000);  // it always comes to rest
            bool any = false;
            while (auto event = machine.poll_event()) {
                any = true;
                CHECK(ends == 0);  // nothing follows the end
                ends += std::holds_alternative<close_received>(*event) || std::holds_alternative<session_failed>(*event);
            }
            while (const std::size_t size = machine.poll_control(out)) {
                any = true;
                CHECK(size <= out.size());
            }
            if (!any) return;
        }
    }
    void pass(duration by) {
        now += by;
        machine.handle_timeout(now);
        drain();
    }
    /// However it came here: the peer goes, and that is the end of it.
    void finish() {
        machine.handle_eof();
        drain();
        CHECK(ends == 1);
        CHECK_FALSE(machine.poll_event());
        pass(1h);
        CHECK(ends == 1);
    }

    session_options options{};
    time_point now{1000s};
    session_machine machine{websocket::role::server, options, now};
    int ends = 0;
};

}  // namespace

TEST_CASE("a stream that ends at any step of a script is one end, and nothing after it") {
    for (const session_script& script : session_scripts()) {
        for (std::size_t step = 0; step <= script.size(); ++step) {
            driven_machine driven;
            for (std::size_t i = 0; i < step; ++i) driven.feed(script[i]);
            driven.finish();
        }
    }
}

TEST_CASE("any byte of a script that is another one leaves the machine in order") {
    for (const session_script& script : session_scripts()) {
        for (std::size_t step = 0; step < script.size(); ++step) {
            for (std::size_t at = 0; at < std::min<std::size_t>(script[step].size(), 40); ++at) {
                for (const unsigned flipped : {0x01U, 0x10U, 0x80U, 0xFFU}) {
                    driven_machine driven;
                    for (std::size_t i = 0; i < script.size(); ++i) {
                        bytes piece = script[i];
                        if (i == step) piece[at] ^= static_cast<std::byte>(flipped);
                        driven.feed(piece);
                    }
                    driven.finish();
                }
            }
        }
    }
}

TEST_CASE("time that passes at any step of a script ends the session, or does not, but leaves it in order") {
    for (const session_script& script : session_scripts()) {
        for (std::size_t step = 0; step < script.size(); ++step) {
            for (const duration time : {duration{1ms}, duration{54s}, duration{60s}, duration{1h}}) {
                driven_machine driven;
                for (std::size_t i = 0; i < script.size(); ++i) {
                    driven.feed(script[i]);
                    if (i == step) driven.pass(time);
                }
                driven.finish();
            }
        }
    }
}

TEST_CASE("memory that runs out at any allocation of a script leaves a machine that can be used on, and destroyed") {
    for (const session_script& script : session_scripts()) {
        std::size_t failures = 0;
        for (std::size_t which = 0;; ++which) {
            auto driven = std::make_unique<driven_machine>();
            bool failed = false;
            failing_new::arm(which);
            try {
                for (const bytes& piece : script) driven->feed(piece);
            } catch (const std::bad_alloc&) {
                failed = true;
            }
            failing_new::disarm();
            if (!failing_new::reached()) break;
            CHECK(failed);
            ++failures;
            // What was in its hands is lost, and so the session is of no use; but whatever is called, nothing breaks.
            std::array<std::byte, websocket::max_control_frame> out{};
            driven->machine.handle(slice::copy(text("more")), driven->now);
            while (driven->machine.poll_event() || driven->machine.poll_control(out) > 0) {
            }
            driven->machine.handle_timeout(driven->now + 1h);
            driven->machine.handle_eof();
            while (driven->machine.poll_event() || driven->machine.poll_control(out) > 0) {
            }
        }
        CHECK(failures > 0);
    }
}

TEST_CASE("memory that runs out in an outbound queue changes nothing of what is queued, and of the counters") {
    const outbound_limits limits{};
    const auto data = [] {
        outbound_frame frame;
        frame.head_size = 2;
        frame.body = payload{std::string(100, 'x')};
        return frame;
    };
    const bytes control = ping("ping");
    for (std::size_t which = 0;; ++which) {
        outbound_queue queue{limits};
        std::size_t messages = 0;
        std::size_t controls = 0;
        failing_new::arm(which);
        for (int i = 0; i < 40; ++i) {
            try {
                outbound_frame frame = data();
                if (queue.push(std::move(frame), overflow_policy::wait) == send_status::queued) ++messages;
                if (i % 10 == 0 && queue.push_control(control)) ++controls;
            } catch (const std::bad_alloc&) {
            }
        }
        const bool reached = failing_new::reached();
        failing_new::disarm();
        CHECK(queue.messages() == messages);
        CHECK(queue.bytes() == messages * 102 + controls * control.size());
        CHECK(queue.counters().queued_bytes == queue.bytes());
        queue.discard();
        CHECK(queue.counters().discarded_bytes == queue.counters().queued_bytes);
        if (!reached) break;
    }
}
