// Frames that went past the outbound queue and have not left.
#include <kephas/proto/session/frame_run.hpp>
#include <kephas/proto/session/outbound_queue.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

using namespace kephas;

namespace {

constexpr auto wait = overflow_policy::wait;

/// Frames as a server sends them, one behind the other: "aaa" is one of three bytes of payload.
std::vector<std::byte> run_of(const std::vector<std::string>& texts) {
    std::vector<std::byte> memory(128 * 1024);
    frame_run run{memory, texts.size()};
    for (const auto& text : texts) REQUIRE(run.add(websocket::opcode::text, std::nullopt, as_bytes(text)));
    return {run.bytes().begin(), run.bytes().end()};
}

// The first character is the frame's head, the rest its body.
outbound_frame frame(std::string_view text) {
    outbound_frame result;
    result.head[0] = static_cast<std::byte>(text.at(0));
    result.head_size = 1;
    result.body = payload::copy(text.substr(1));
    return result;
}

struct fixture {
    outbound_limits limits{};
    std::vector<std::byte> scratch = std::vector<std::byte>(64 * 1024);
    std::array<bytes_view, 16> out{};
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "what is put back leaves first, wherever the kernel had stopped, and is counted once") {
    const std::vector<std::string> texts{"a", std::string(300, 'b'), "", "cc"};
    const auto frames = run_of(texts);
    const std::string expected = std::string{as_text(frames)} + "queued";
    for (std::size_t written = 0; written < 3; ++written) {  // the first frame has three bytes
        CAPTURE(written);
        outbound_queue own{limits};
        CHECK(own.push(frame("queued"), wait) == send_status::queued);
        own.put_back(frames, written);
        CHECK(own.messages() == 5);
        CHECK(own.bytes() == expected.size() - written);
        CHECK(own.push_control(as_bytes("PING")));
        std::string all;
        while (!own.empty()) {
            const std::size_t count = own.gather(out, scratch);
            std::string some;
            for (std::size_t i = 0; i < count; ++i) some += as_text(out[i]);
            own.written(1);
            all += some.at(0);
        }
        // A control frame leaves at the next frame boundary: behind the frame that had begun.
        const std::size_t boundary = written == 0 ? 0 : 3;
        CHECK(all == (expected.substr(0, boundary) + "PING" + expected.substr(boundary)).substr(written));
        const auto& c = own.counters();
        CHECK(c.queued_messages == 5);
        CHECK(c.written_messages == 5);
        CHECK(c.queued_bytes == expected.size() + 4);
        CHECK(c.written_bytes == expected.size() + 4);
    }
}

TEST_CASE_FIXTURE(fixture, "what is put back into a queue that has failed is discarded but for the frame that had begun") {
    for (const std::size_t written : {0U, 2U}) {
        CAPTURE(written);
        outbound_queue own{limits};
        own.fail(as_bytes("CLOSE"));
        const auto frames = run_of({"abc", "def"});
        own.put_back(frames, written);
        CHECK(own.messages() == (written > 0 ? 1 : 0));
        const std::size_t count = own.gather(out, scratch);
        std::string all;
        for (std::size_t i = 0; i < count; ++i) all += as_text(out[i]);
        CHECK(all == (written > 0 ? std::string{as_text(frames)}.substr(written, 5 - written) : std::string{}) + "CLOSE");
        const auto& c = own.counters();
        CHECK(c.queued_bytes == 10 + 5);
        CHECK(c.discarded_bytes == (written > 0 ? 5 : 10));
        CHECK(c.written_bytes == written);
        CHECK(c.queued_bytes == c.written_bytes + c.discarded_bytes + own.bytes());
    }
}

TEST_CASE_FIXTURE(fixture, "what is put back is charged to the budget, and nothing is left of that when it has gone") {
    memory_budget budget{100'000};
    outbound_queue one{limits, &budget};
    one.put_back(run_of({std::string(4'000, 'x'), std::string(4'000, 'y')}), 10);
    CHECK(budget.used() >= 8'000);
    CHECK(one.push(frame(std::string(300, 'z')), wait) == send_status::queued);
    while (!one.empty()) {
        std::size_t size = 0;
        for (std::size_t i = 0, count = one.gather(out, scratch); i < count; ++i) size += out[i].size();
        one.written(size);
    }
    CHECK(budget.used() == 0);
}
