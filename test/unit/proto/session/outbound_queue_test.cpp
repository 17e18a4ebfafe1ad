#include <kephas/proto/session/outbound_queue.hpp>

#include <doctest/doctest.h>
#include <support/hex.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

using namespace kephas;
using namespace kephas::test::literals;

namespace {

constexpr auto wait = overflow_policy::wait;

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
    outbound_queue queue{limits};
    std::vector<std::byte> scratch = std::vector<std::byte>(64 * 1024);
    std::array<bytes_view, 16> out{};
    std::size_t used = 0;

    send_status push(std::string_view text, overflow_policy policy = wait, std::uint64_t key = 0) {
        const auto status = queue.push(frame(text), policy, key);
        check_sums();
        return status;
    }
    bool push_control(std::string_view text) { return queue.push_control(as_bytes(text)); }
    bool push_close(std::string_view text) { return queue.push_close(as_bytes(text)); }

    // What the queue wants to have written next.
    std::string gather() {
        used = queue.gather(out, scratch);
        return gathered();
    }
    std::string gathered() const {
        std::string all;
        for (std::size_t i = 0; i < used; ++i) all += as_text(out[i]);
        return all;
    }
    std::string write(std::size_t size) {
        const auto all = gather().substr(0, size);
        queue.written(all.size());
        check_sums();
        return all;
    }
    // Compresses all that is to be: to the first two characters and an equals sign.
    int compress() {
        int count = 0;
        while (auto taken = queue.take_uncompressed()) {
            auto small = frame(std::string{static_cast<char>(taken->head[0])} + std::string{taken->body.text().substr(0, 1)} + "=");
            small.as_is = true;
            queue.put_compressed(std::move(small));
            ++count;
            check_sums();
        }
        return count;
    }
    std::string drain() {
        std::string all;
        while (!queue.empty()) all += write(std::string::npos);
        return all;
    }
    void check_sums() const {
        const auto& c = queue.counters();
        const auto d = queue.deflated();
        CHECK(c.queued_bytes + d.to_bytes ==
              c.written_bytes + c.dropped_bytes + c.replaced_bytes + c.discarded_bytes + queue.bytes() + d.bytes);
        CHECK(c.queued_messages ==
              c.written_messages + c.dropped_messages + c.replaced_messages + c.discarded_messages + queue.messages());
    }
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "an empty queue gives nothing and is small") {
    static_assert(sizeof(outbound_queue) <= 216);
    CHECK(queue.empty());
    CHECK(gather().empty());
    CHECK(used == 0);
    CHECK(queue.has_room(limits.max_bytes * 10));  // one message always fits
    CHECK(queue.counters() == outbound_counters{});
}

TEST_CASE_FIXTURE(fixture, "small frames leave in order and as one buffer") {
    CHECK(push("one") == send_status::queued);
    CHECK(push("two") == send_status::queued);
    CHECK(push("three") == send_status::queued);
    CHECK(queue.messages() == 3);
    CHECK(queue.bytes() == 11);
    CHECK(gather() == "onetwothree");
    CHECK(used == 1);
    queue.written(11);
    CHECK(queue.empty());
    CHECK(queue.counters().written_messages == 3);
    CHECK(queue.counters().written_bytes == 11);
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "every way to cut the writing gives the same bytes") {
    const std::string large(outbound_queue::copy_threshold * 2, 'L');
    std::string expected;
    for (const std::size_t step : {1U, 2U, 3U, 7U, 100U, 5000U}) {
        std::string all;
        expected.clear();
        for (const auto* text : {"one", "two", "three"}) {
            CHECK(push(text) == send_status::queued);
            CHECK(push(large) == send_status::queued);
            (expected += text) += large;
        }
        while (!queue.empty()) all += write(step);
        CHECK(all == expected);
    }
}

TEST_CASE_FIXTURE(fixture, "a scratch and a list of any size still make progress") {
    const std::string large(outbound_queue::copy_threshold * 2, 'L');
    for (const std::size_t scratch_size : {1U, 2U, 5U, 64U}) {
        for (const std::size_t elements : {1U, 2U, 3U}) {
            CHECK(push("one") == send_status::queued);
            CHECK(push(large) == send_status::queued);
            CHECK(push_control("ping"));
            std::string all;
            while (!queue.empty()) {
                used = queue.gather(std::span{out}.first(elements), std::span{scratch}.first(scratch_size));
                REQUIRE(used > 0);
                all += gathered();
                queue.written(gathered().size());
            }
            // where the ping comes between the frames depends on what fits, but the data is in order
            CHECK(all == "pingone" + large);
        }
    }
}

TEST_CASE_FIXTURE(fixture, "large bodies are referenced, and stay where they are while the queue grows") {
    const std::string large(outbound_queue::copy_threshold + 1, 'L');
    std::string moved = large;
    const auto shared = slice::copy(as_bytes(large));
    std::vector<std::byte> bytes(shared.view().begin(), shared.view().end());
    const std::array<const void*, 3> where{moved.data(), shared.data(), bytes.data()};
    for (payload body : {payload{std::move(moved)}, payload{shared}, payload{std::move(bytes)}}) {
        outbound_frame f{.head = {std::byte{'H'}}, .head_size = 1, .body = std::move(body)};
        CHECK(queue.push(std::move(f), wait) == send_status::queued);
    }
    const auto before = gather();
    CHECK(used == 6);
    CHECK(out[3].data() == where[1]);  // a slice is shared, the others were copied by the loop above
    for (int i = 0; i < 200; ++i) CHECK(queue.push(frame("small"), wait) == send_status::queued);
    CHECK(gathered() == before);
    queue.written(before.size());
    CHECK(queue.messages() == 200);
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "a moved string is written from where it was") {
    std::string large(outbound_queue::copy_threshold + 1, 'L');
    const void* const where = large.data();
    outbound_frame f{.head = {std::byte{'H'}}, .head_size = 1, .body = std::move(large)};
    CHECK(queue.push(std::move(f), wait) == send_status::queued);
    for (int i = 0; i < 50; ++i) CHECK(push("small") == send_status::queued);
    gather();
    CHECK(out[1].data() == where);
}

TEST_CASE_FIXTURE(fixture, "a queue that is full says so and takes nothing") {
    limits = {.max_messages = 2, .max_bytes = 10};
    CHECK(push("1234") == send_status::queued);
    CHECK(queue.has_room(6));
    CHECK_FALSE(queue.has_room(7));
    CHECK(push("1234567") == send_status::full);
    CHECK(push("123456") == send_status::queued);
    CHECK(push("x") == send_status::full);
    CHECK(push("x", overflow_policy::close) == send_status::full);
    CHECK(queue.counters().refused_messages == 0);
    CHECK(write(4) == "1234");
    CHECK(push("y") == send_status::queued);
    CHECK(drain() == "123456y");
}

TEST_CASE_FIXTURE(fixture, "a frame that was not taken is left to the caller") {
    limits = {.max_messages = 1};
    CHECK(push("first") == send_status::queued);
    auto second = frame("second");
    CHECK(queue.push(std::move(second), wait) == send_status::full);
    CHECK(second.body.text() == "econd");  // NOLINT(bugprone-use-after-move)
    drain();
    CHECK(queue.push(std::move(second), wait) == send_status::queued);
    CHECK(drain() == "second");
}

TEST_CASE_FIXTURE(fixture, "one message always fits an empty queue, whatever the limits") {
    limits = {.max_messages = 0, .max_bytes = 0};
    CHECK(push("larger than nothing") == send_status::queued);
    CHECK(push("x") == send_status::full);
    CHECK(drain() == "larger than nothing");
}

TEST_CASE_FIXTURE(fixture, "drop_newest drops and counts the new message") {
    limits = {.max_messages = 1};
    CHECK(push("kept") == send_status::queued);
    CHECK(push("lost", overflow_policy::drop_newest) == send_status::full);
    CHECK(queue.counters().refused_messages == 1);
    CHECK(queue.counters().refused_bytes == 4);
    CHECK(queue.counters().queued_messages == 1);
    CHECK(drain() == "kept");
}

TEST_CASE_FIXTURE(fixture, "drop_oldest makes room from the front, in messages and in bytes") {
    limits = {.max_messages = 3, .max_bytes = 12};
    for (const auto* text : {"1111", "2222", "3333"})
        CHECK(push(text, overflow_policy::drop_oldest) == send_status::queued);
    CHECK(push("4", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(queue.counters().dropped_messages == 1);
    CHECK(queue.counters().dropped_bytes == 4);
    CHECK(push("5555555", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(queue.counters().dropped_messages == 2);
    CHECK(drain() == "333345555555");
    CHECK(push("a") == send_status::queued);
    CHECK(push("larger than all the room", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(drain() == "larger than all the room");
}

TEST_CASE_FIXTURE(fixture, "a frame that has begun is never dropped") {
    limits = {.max_messages = 2};
    CHECK(push("begun") == send_status::queued);
    CHECK(push("old") == send_status::queued);
    CHECK(write(2) == "be");
    CHECK(push("new", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(push("newer", overflow_policy::latest, 1) == send_status::queued);
    CHECK(push("newest", overflow_policy::latest, 1) == send_status::queued);
    CHECK(queue.counters().dropped_messages == 2);
    CHECK(queue.counters().replaced_messages == 1);
    CHECK(drain() == "gunnewest");
}

TEST_CASE_FIXTURE(fixture, "a frame that the kernel may be taking is dropped only when it has not") {
    limits = {.max_messages = 3};
    for (const auto* text : {"aa", "bb"}) CHECK(push(text) == send_status::queued);
    const auto flying = gather();
    CHECK(push("cc", overflow_policy::latest, 7) == send_status::queued);
    CHECK(push("dd", overflow_policy::drop_oldest) == send_status::queued);  // at the cost of cc
    CHECK(push("ee", overflow_policy::drop_oldest) == send_status::queued);  // at the cost of dd
    CHECK(gathered() == flying);
    queue.written(1);
    CHECK(push("ff", overflow_policy::drop_oldest) == send_status::queued);  // at the cost of bb
    CHECK(drain() == "aeeff");
    CHECK(queue.counters().dropped_bytes == 6);
}

TEST_CASE_FIXTURE(fixture, "when what is being written leaves no room, even drop_oldest refuses, and counts it") {
    limits = {.max_messages = 2, .max_bytes = 10};
    CHECK(push("123456789") == send_status::queued);
    CHECK(write(1) == "1");
    CHECK(push("abc", overflow_policy::drop_oldest) == send_status::full);
    CHECK(push("abc", overflow_policy::latest, 1) == send_status::full);
    CHECK(queue.counters().refused_messages == 2);
    CHECK(queue.counters().dropped_messages == 0);
    CHECK(push("k", overflow_policy::latest, 2) == send_status::queued);
    CHECK(push("k=1", overflow_policy::latest, 2) == send_status::full);  // the one that is queued stays
    CHECK(push("ab", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(queue.counters().dropped_messages == 1);
    CHECK(drain() == "23456789ab");
}

TEST_CASE_FIXTURE(fixture, "latest takes the place of the queued message with its key") {
    CHECK(push("x=1", overflow_policy::latest, 1) == send_status::queued);
    CHECK(push("plain") == send_status::queued);
    CHECK(push("y=1", overflow_policy::latest, 2) == send_status::queued);
    CHECK(push("x=22", overflow_policy::latest, 1) == send_status::queued);
    CHECK(queue.messages() == 3);
    CHECK(queue.counters().replaced_messages == 1);
    CHECK(queue.counters().replaced_bytes == 3);
    CHECK(drain() == "x=22plainy=1");
}

TEST_CASE_FIXTURE(fixture, "latest replaces nothing that was not pushed with latest, and nothing in flight") {
    CHECK(push("plain", wait, 5) == send_status::queued);
    CHECK(push("v1", overflow_policy::latest, 5) == send_status::queued);
    gather();
    CHECK(push("v2", overflow_policy::latest, 5) == send_status::queued);
    CHECK(queue.counters().replaced_messages == 0);
    queue.written(0);
    CHECK(drain() == "plainv1v2");
}

TEST_CASE_FIXTURE(fixture,
                  "latest drops from the front when there is no message with its key, or the new one is larger") {
    limits = {.max_messages = 3, .max_bytes = 9};
    for (const auto* text : {"111", "222"}) CHECK(push(text) == send_status::queued);
    CHECK(push("k=1", overflow_policy::latest, 1) == send_status::queued);
    CHECK(push("j=1", overflow_policy::latest, 2) == send_status::queued);
    CHECK(queue.counters().dropped_messages == 1);
    CHECK(push("k=1234", overflow_policy::latest, 1) == send_status::queued);
    CHECK(queue.counters().replaced_messages == 1);
    CHECK(queue.counters().dropped_messages == 2);
    CHECK(drain() == "j=1k=1234");
}

TEST_CASE_FIXTURE(fixture, "control frames leave before queued data, and never inside a frame that has begun") {
    CHECK(push("data1") == send_status::queued);
    CHECK(push("data2") == send_status::queued);
    CHECK(write(3) == "dat");
    CHECK(push_control("<pong1>"));
    CHECK(push_control("<pong2>"));
    CHECK(gather() == "a1<pong1><pong2>data2");
    queue.written(4);
    CHECK(push_control("<pong3>"));
    CHECK(drain() == "ong1><pong2><pong3>data2");
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "a control frame pushed while a gather is being written comes after what it took") {
    CHECK(push("data1") == send_status::queued);
    CHECK(push("data2") == send_status::queued);
    CHECK(gather() == "data1data2");
    CHECK(push_control("<pong>"));
    queue.written(7);
    CHECK(drain() == "ta2<pong>");
}

TEST_CASE_FIXTURE(fixture, "control frames have a reserve of their own") {
    limits = {.max_messages = 1, .max_bytes = 4, .max_control_bytes = 10};
    CHECK(push("full") == send_status::queued);
    CHECK(push_control("12345"));
    CHECK(push_control("67890"));
    CHECK_FALSE(push_control("x"));
    CHECK(queue.bytes() == 14);
    CHECK(queue.messages() == 1);
    CHECK(write(2) == "12");
    CHECK(push_control("xy"));
    CHECK_FALSE(push_control("z"));
    CHECK(drain() == "34567890xyfull");
    CHECK_FALSE(push_control(std::string(256, 'x')));
}

TEST_CASE_FIXTURE(fixture, "the close frame comes last, and nothing is accepted after it") {
    CHECK(push("data") == send_status::queued);
    CHECK(push_close("88 02 03 e8"));
    CHECK(queue.closed());
    CHECK_FALSE(queue.close_written());
    CHECK_FALSE(queue.has_room(1));
    CHECK(push("late") == send_status::closed);
    CHECK_FALSE(push_close("second"));
    CHECK(push_control("<pong>"));  // the close frame has not begun
    CHECK(write(12) == "<pong>data88");
    CHECK(push_control("<late>"));  // RFC 6455 5.5.1: nothing after a close frame
    CHECK(drain() == " 02 03 e8");
    CHECK(queue.close_written());
    CHECK(push_control("<late>"));
    CHECK(queue.empty());
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "a control frame is ignored while the close frame is with the kernel") {
    CHECK(push_close("close"));
    CHECK(gather() == "close");
    CHECK(push_control("<pong>"));
    CHECK(queue.bytes() == 5);
    queue.written(5);
    CHECK(queue.close_written());
    CHECK(queue.empty());
}

TEST_CASE_FIXTURE(fixture, "a close frame fits although the reserve is full") {
    limits.max_control_bytes = 6;
    CHECK(push_control("<pong>"));
    CHECK(push_close("close"));
    CHECK_FALSE(push_control("x"));
    CHECK(drain() == "<pong>close");
}

TEST_CASE_FIXTURE(fixture, "closing without a frame accepts nothing more and writes what is queued") {
    CHECK(push("data") == send_status::queued);
    CHECK(push_close(""));
    CHECK(push("late") == send_status::closed);
    CHECK(push_control("<pong>"));
    CHECK(drain() == "data");
    CHECK_FALSE(queue.close_written());
}

TEST_CASE_FIXTURE(fixture, "a failure finishes the frame that has begun, discards the rest, and closes") {
    for (const auto* text : {"begun", "lost", "gone"}) CHECK(push(text) == send_status::queued);
    CHECK(write(2) == "be");
    CHECK(push_control("<pong>"));
    queue.fail("88 02 03ea"_hex);  // RFC 6455 7.1.7, code 1002
    check_sums();
    CHECK(queue.closed());
    CHECK(queue.counters().discarded_messages == 2);
    CHECK(queue.counters().discarded_bytes == 14);
    CHECK(push("late") == send_status::closed);
    CHECK(push_control("<pong>"));
    CHECK_FALSE(push_close("second"));
    queue.fail("8800"_hex);
    CHECK(drain() == "gun\x88\x02\x03\xea");
    CHECK(queue.close_written());
}

TEST_CASE_FIXTURE(fixture, "a failure leaves what the kernel is taking until it has answered") {
    for (const auto* text : {"aa", "bb", "cc"}) CHECK(push(text) == send_status::queued);
    CHECK(push_control("<1>"));
    CHECK(push_control("<2>"));
    const auto flying = gather();
    CHECK(flying == "<1><2>aabbcc");
    queue.fail(as_bytes("close"));
    CHECK(gathered() == flying);
    CHECK(queue.counters().discarded_bytes == 0);
    SUBCASE("it took nothing") {
        queue.written(0);
        CHECK(drain() == "close");
    }
    SUBCASE("it took a part of a control frame") {
        queue.written(1);
        CHECK(drain() == "1>close");
    }
    SUBCASE("it took a part of a data frame") {
        queue.written(9);
        CHECK(drain() == "bclose");
        CHECK(queue.counters().discarded_messages == 1);
    }
    SUBCASE("it took everything") {
        queue.written(flying.size());
        CHECK(drain() == "close");
    }
    CHECK(queue.close_written());
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "a failure puts its close frame in the place of one that has not begun") {
    CHECK(push("data") == send_status::queued);
    CHECK(push_close("normal"));
    queue.fail(as_bytes("failure"));
    CHECK(drain() == "failure");
    CHECK(queue.counters().discarded_bytes == 10);
}

TEST_CASE_FIXTURE(fixture, "a failure lets a close frame finish that has begun") {
    CHECK(push_close("normal"));
    SUBCASE("in part") { CHECK(write(3) == "nor"); }
    SUBCASE("with the kernel") { gather(); }
    queue.fail(as_bytes("failure"));
    queue.written(0);
    const auto rest = drain();
    CHECK((rest == "mal" || rest == "normal"));
    CHECK(queue.close_written());
}

TEST_CASE_FIXTURE(fixture, "a failure without a close frame only discards") {
    CHECK(push("data") == send_status::queued);
    queue.fail({});
    CHECK(queue.empty());
    CHECK(queue.closed());
    CHECK_FALSE(queue.close_written());
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "discard empties the queue and counts what never left") {
    CHECK(push("partly") == send_status::queued);
    CHECK(push("whole") == send_status::queued);
    CHECK(write(2) == "pa");
    CHECK(push_control("<pong>"));
    CHECK(push_close("close"));
    gather();
    queue.discard();
    queue.written(5);
    CHECK(queue.empty());
    CHECK(queue.closed());
    CHECK(queue.messages() == 0);
    CHECK(queue.counters().written_bytes == 2);
    CHECK(queue.counters().discarded_messages == 2);
    CHECK(queue.counters().discarded_bytes == 4 + 5 + 6 + 5);
    CHECK(push("late") == send_status::closed);
    CHECK(push_control("<pong>"));
    CHECK_FALSE(push_close("close"));
    queue.fail(as_bytes("close"));
    CHECK(queue.empty());
    CHECK(gather().empty());
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "a body lives until it is written, and no longer") {
    const auto body = slice::allocate(5000);
    outbound_frame f{.head = {std::byte{'H'}}, .head_size = 1, .body = body};
    CHECK(queue.push(std::move(f), wait) == send_status::queued);
    CHECK_FALSE(body.unique());
    write(4000);
    CHECK_FALSE(body.unique());
    write(2000);
    CHECK(body.unique());
}

TEST_CASE_FIXTURE(fixture, "an empty frame has nothing to write and does not wait") {
    CHECK(queue.push(outbound_frame{}, wait) == send_status::queued);
    CHECK(queue.empty());
    CHECK(queue.counters().written_messages == 1);
    CHECK(push("v1", overflow_policy::latest, 1) == send_status::queued);
    CHECK(queue.push(outbound_frame{}, overflow_policy::latest, 1) == send_status::queued);
    CHECK(queue.empty());
    CHECK(queue.counters().replaced_messages == 1);
    check_sums();
}

TEST_CASE_FIXTURE(fixture, "trimming an empty queue loses nothing, and a queue that waits is left alone") {
    CHECK(push("data") == send_status::queued);
    CHECK(push_control("<pong>"));
    queue.trim();
    CHECK(drain() == "<pong>data");
    queue.trim();
    CHECK(push("more") == send_status::queued);
    CHECK(push_control("<pong>"));
    CHECK(drain() == "<pong>more");
    CHECK(queue.counters().written_messages == 2);
}

namespace {

outbound_frame frame_of(const slice& body) { return {.head = {std::byte{'H'}}, .head_size = 1, .body = body}; }

struct budget_fixture {
    // What the rings of two queues cost, and a body of 100,000 bytes; not two.
    static constexpr std::size_t ring = 4 * 128;
    outbound_limits limits{.max_messages = 4};
    memory_budget budget{2 * ring + 100'000};
    outbound_queue one{limits, &budget};
    outbound_queue other{limits, &budget};
    std::vector<std::byte> scratch = std::vector<std::byte>(64 * 1024);

    std::size_t write(outbound_queue& queue) {
        std::array<bytes_view, 16> out;
        std::size_t size = 0;
        for (std::size_t i = 0, count = queue.gather(out, scratch); i < count; ++i) size += out[i].size();
        queue.written(size);
        return size;
    }
};

}  // namespace

TEST_CASE_FIXTURE(budget_fixture, "queues that share a body are charged for it once, and for nothing when they are empty") {
    const slice body = slice::allocate(100'000);
    CHECK(one.push(frame_of(body), wait) == send_status::queued);
    const std::size_t alone = budget.used();
    CHECK(alone >= 100'000);
    CHECK(alone <= 100'000 + ring);
    CHECK(other.push(frame_of(body), wait) == send_status::queued);
    CHECK(budget.used() < 200'000);
    CHECK(one.push(frame_of(body), wait) == send_status::queued);
    CHECK(budget.used() < 200'000);
    CHECK(write(one) == 200'002);
    CHECK(budget.used() >= 100'000);
    other.discard();
    one.trim();
    CHECK(budget.used() == 0);
}

TEST_CASE_FIXTURE(budget_fixture, "without room in the budget a queue is full, but one message always fits an empty one") {
    CHECK(one.push(frame_of(slice::allocate(100'000)), wait) == send_status::queued);
    CHECK_FALSE(one.has_room(1, 100'000));
    CHECK(one.push(frame_of(slice::allocate(100'000)), wait) == send_status::full);
    CHECK(one.push(frame_of(slice::allocate(100'000)), overflow_policy::close) == send_status::full);
    CHECK(one.push(frame_of(slice::allocate(100'000)), overflow_policy::drop_newest) == send_status::full);
    CHECK(one.counters().refused_messages == 1);
    CHECK(one.messages() == 1);

    CHECK(other.has_room(1, 10'000'000));
    CHECK(other.push(frame_of(slice::allocate(10'000'000)), wait) == send_status::queued);
    CHECK(other.push(frame_of(slice::allocate(1'000)), wait) == send_status::full);  // overdrawn: not even a small one
    write(one);
    write(other);
    CHECK(other.push(frame_of(slice::allocate(90'000)), wait) == send_status::queued);
}

TEST_CASE("a queue that a write has left something in leaves a quarter of the budget to the others") {
    const outbound_limits limits;
    memory_budget budget{100'000};
    outbound_queue one{limits, &budget};
    outbound_queue other{limits, &budget};
    std::vector<std::byte> scratch(64 * 1024);
    std::array<bytes_view, 16> out;
    CHECK(one.push(frame_of(slice::allocate(60'000)), wait) == send_status::queued);
    CHECK(other.push(frame_of(slice::allocate(10)), wait) == send_status::queued);
    CHECK(one.has_room(1, 20'000));
    (void)one.gather(out, scratch);
    one.written(1);
    CHECK_FALSE(one.has_room(1, 20'000));
    CHECK(one.has_room(1, 10'000));
    CHECK(one.push(frame_of(slice::allocate(20'000)), wait) == send_status::full);
    CHECK(other.push(frame_of(slice::allocate(20'000)), wait) == send_status::queued);
    (void)one.gather(out, scratch);
    one.written(60'000);
    CHECK(one.push(frame_of(slice::allocate(10)), wait) == send_status::queued);
    CHECK(one.has_room(1, 60'000));
}

TEST_CASE_FIXTURE(budget_fixture, "drop_oldest makes room in the budget with what the same queue holds") {
    CHECK(one.push(frame_of(slice::allocate(50'000)), wait) == send_status::queued);
    CHECK(one.push(frame_of(slice::allocate(40'000)), wait) == send_status::queued);
    CHECK(one.push(frame_of(slice::allocate(60'000)), overflow_policy::drop_oldest) == send_status::queued);
    CHECK(one.messages() == 2);
    CHECK(one.counters().dropped_bytes == 50'001);
    // What others hold it cannot drop: then it drops until it holds as little as always fits.
    CHECK(other.push(frame_of(slice::allocate(500'000)), wait) == send_status::queued);
    CHECK(one.push(frame_of(slice::allocate(1'000)), overflow_policy::drop_oldest) == send_status::queued);
    CHECK(one.messages() == 2);
    CHECK(one.counters().dropped_messages == 2);
}

TEST_CASE_FIXTURE(budget_fixture, "a replaced message gives its memory back") {
    const auto before = [&] {
        CHECK(one.push(frame_of(slice::allocate(1'000)), wait) == send_status::queued);
        return budget.used();
    }();
    for (const std::size_t size : {70'000U, 90'000U, 30'000U}) {
        CHECK(one.push(frame_of(slice::allocate(size)), overflow_policy::latest, 7) == send_status::queued);
        CHECK(budget.used() == before + size);
        CHECK(one.messages() == 2);
    }
    CHECK(one.push(frame_of(slice::allocate(500'000)), overflow_policy::latest, 7) == send_status::queued);
    CHECK(one.messages() == 1);  // the other one was dropped for it
    write(one);
    one.trim();
    CHECK(budget.used() == 0);
}

TEST_CASE_FIXTURE(budget_fixture, "deferred charges are made for what the write has left") {
    one.defer_charges();
    CHECK(one.push(frame_of(slice::allocate(30'000)), wait) == send_status::queued);
    CHECK(one.push(frame_of(slice::allocate(40'000)), wait) == send_status::queued);
    CHECK(one.push(frame_of(slice::allocate(210'000)), wait) == send_status::full);  // asked all the same
    CHECK(budget.used() == 0);
    std::array<bytes_view, 16> out;
    (void)one.gather(out, scratch);
    one.written(30'001);
    CHECK(budget.used() >= 40'000);
    CHECK(budget.used() <= 40'000 + ring);
    CHECK(one.push(frame_of(slice::allocate(10'000)), wait) == send_status::queued);
    CHECK(budget.used() >= 50'000);
}

TEST_CASE("a burst that takes more than one gather is one burst: nothing stalls, nothing is charged between") {
    const outbound_limits limits;
    memory_budget budget{200'000};
    outbound_queue one{limits, &budget};
    outbound_queue other{limits, &budget};
    CHECK(other.push(frame_of(slice::allocate(155'000)), wait) == send_status::queued);
    const std::size_t before = budget.used();
    one.defer_charges();
    for (int i = 0; i < 32; ++i) CHECK(one.push(frame_of(slice::allocate(1'000)), wait) == send_status::queued);
    std::array<bytes_view, 16> out;
    std::vector<std::byte> few(16 * 1024);
    const std::size_t count = one.gather(out, few);
    std::size_t given = 0;
    for (std::size_t i = 0; i < count; ++i) given += out[i].size();
    REQUIRE(given < one.bytes());
    one.written(given);
    CHECK(budget.used() == before);
    // Somebody else's message, while more than three quarters of the budget are used: this queue's peer takes what it gets.
    CHECK(one.push(frame_of(slice::allocate(10'000)), overflow_policy::close) == send_status::queued);
    while (!one.empty()) {
        given = 0;
        for (std::size_t i = 0, used = one.gather(out, few); i < used; ++i) given += out[i].size();
        REQUIRE(given > 0);
        one.written(given);
    }
    CHECK(budget.used() == before);
}

TEST_CASE("a short string that moves up to where a long one was is not charged for its memory") {
    const outbound_limits limits{.max_messages = 10};
    memory_budget budget{1'000'000};
    outbound_queue queue{limits, &budget};
    std::vector<std::byte> scratch(64 * 1024);
    std::array<bytes_view, 16> out;
    const auto push = [&](std::size_t size, overflow_policy policy) {
        return queue.push({.head = {}, .head_size = 1, .body = payload{std::string(size, 'x')}}, policy, 1);
    };
    CHECK(push(3, wait) == send_status::queued);
    CHECK(push(200, overflow_policy::latest) == send_status::queued);
    CHECK(queue.push(outbound_frame{}, overflow_policy::latest, 1) == send_status::queued);  // nothing takes its place
    CHECK(queue.messages() == 1);
    CHECK(queue.gather(out, scratch) > 0);
    queue.written(4);
    CHECK(queue.empty());
    queue.trim();
    CHECK(budget.used() == 0);
}

TEST_CASE_FIXTURE(budget_fixture, "strings and vectors are charged with what they allocate, inline bytes with nothing") {
    CHECK(one.push({.head = {}, .head_size = 1, .body = payload{"short"}}, wait) == send_status::queued);
    const std::size_t before = budget.used();
    CHECK(one.push({.head = {}, .head_size = 1, .body = payload{std::string(100, 'x')}}, wait) == send_status::queued);
    CHECK(budget.used() == before + 101);
    CHECK(one.push({.head = {}, .head_size = 1, .body = payload{std::vector<std::byte>(200)}}, wait) == send_status::queued);
    CHECK(budget.used() == before + 301);
    one.fail(as_bytes("close"));
    CHECK(budget.used() < before + 100);
}

TEST_CASE_FIXTURE(fixture, "frames leave only after they were given to be compressed, the small ones excepted") {
    queue.compress_from(5);
    CHECK(push("tiny") == send_status::queued);
    CHECK(push("first") == send_status::queued);
    auto done = frame("as it is");
    done.as_is = true;
    CHECK(queue.push(std::move(done), wait) == send_status::queued);
    CHECK(push("second") == send_status::queued);
    CHECK(push_control("<pong>"));
    CHECK(push_close("<close>"));
    CHECK(gather() == "<pong>");
    queue.written(0);
    CHECK(compress() == 2);
    CHECK(queue.deflated() == deflated_counters{2, 11, 6});
    CHECK(drain() == "<pong>tinyfi=as it isse=<close>");
    CHECK(queue.close_written());
    CHECK(compress() == 0);
}

TEST_CASE_FIXTURE(fixture, "what was compressed is never dropped, and what comes behind it is") {
    limits.max_messages = 3;
    queue.compress_from(0);
    CHECK(push("a old") == send_status::queued);
    CHECK(compress() == 1);
    CHECK(push("b old") == send_status::queued);
    CHECK(push("c old") == send_status::queued);
    CHECK(push("d new", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(queue.counters().dropped_messages == 1);
    CHECK(compress() == 2);
    CHECK(push("e new", overflow_policy::drop_oldest) == send_status::full);
    CHECK(push("e new", overflow_policy::latest, 1) == send_status::full);
    CHECK(drain() == "a =c =d =");
}

TEST_CASE_FIXTURE(fixture, "a frame that is being compressed keeps its place whatever is pushed, and counts as it was") {
    limits.max_messages = 2;
    queue.compress_from(0);
    CHECK(push("latest 1", overflow_policy::latest, 7) == send_status::queued);
    auto taken = queue.take_uncompressed();
    REQUIRE(taken);
    CHECK_FALSE(queue.take_uncompressed());
    CHECK(queue.bytes() == 8);
    CHECK(queue.messages() == 1);
    CHECK(gather().empty());
    CHECK(push("latest 2", overflow_policy::latest, 7) == send_status::queued);
    CHECK(push("latest 3", overflow_policy::latest, 7) == send_status::queued);
    CHECK(push("other", overflow_policy::drop_oldest) == send_status::queued);
    CHECK(queue.counters().replaced_messages == 1);
    CHECK(queue.counters().dropped_messages == 1);
    CHECK(push_control("<pong>"));
    taken->body = payload{"!"};
    taken->as_is = true;
    queue.put_compressed(std::move(*taken));
    CHECK(gather() == "<pong>l!");
    queue.written(8);
    CHECK(compress() == 1);
    CHECK(drain() == "ot=");
}

TEST_CASE_FIXTURE(fixture, "only as much is compressed as is about to leave") {
    queue.compress_from(0);
    for (int i = 0; i < 5; ++i) CHECK(push("x" + std::string(29'999, 'x')) == send_status::queued);
    int taken = 0;
    const auto take = [&] {
        while (auto one = queue.take_uncompressed()) {
            ++taken;
            one->as_is = true;
            queue.put_compressed(std::move(*one));
        }
    };
    take();
    CHECK(taken == 3);  // the third makes it more than 64 KiB
    CHECK(write(30'000).size() == 30'000);
    take();
    CHECK(taken == 4);
    while (!queue.empty()) {
        write(100'000);
        take();
    }
    CHECK(taken == 5);
}

TEST_CASE_FIXTURE(fixture, "a failure discards what was compressed but not begun, also while one is being compressed") {
    queue.compress_from(0);
    for (const char* each : {"one", "two", "three", "four"}) CHECK(push(each) == send_status::queued);
    auto first = queue.take_uncompressed();
    queue.put_compressed(std::move(*first));
    CHECK(write(1) == "o");
    auto second = queue.take_uncompressed();
    queue.put_compressed(std::move(*second));
    auto third = queue.take_uncompressed();
    queue.fail(as_bytes("close"));
    check_sums();
    CHECK(queue.counters().discarded_messages == 3);
    queue.put_compressed(std::move(*third));
    check_sums();
    CHECK_FALSE(queue.take_uncompressed());
    CHECK(drain() == "neclose");

    fixture other;
    other.queue.compress_from(0);
    CHECK(other.push("gone") == send_status::queued);
    auto gone = other.queue.take_uncompressed();
    other.queue.discard();
    other.queue.put_compressed(std::move(*gone));
    other.check_sums();
    CHECK(other.queue.empty());
    CHECK(other.queue.counters().discarded_bytes == 4);
}

TEST_CASE("queues that have been emptied keep nothing of the budget, however much has gone through them") {
    const outbound_limits limits;
    memory_budget budget{256 * 1024};
    std::deque<outbound_queue> queues;
    for (int i = 0; i < 200; ++i) queues.emplace_back(limits, &budget);
    std::vector<std::byte> scratch(256 * 1024);
    std::array<bytes_view, 64> out;
    for (int round = 0; round < 3; ++round) {
        const slice body = slice::allocate(100);
        for (auto& queue : queues) {
            for (int i = 0; i < 40; ++i) REQUIRE(queue.push(frame_of(body), overflow_policy::close) == send_status::queued);
        }
        for (auto& queue : queues) {
            while (!queue.empty()) {
                std::size_t size = 0;
                for (std::size_t i = 0, count = queue.gather(out, scratch); i < count; ++i) size += out[i].size();
                queue.written(size);
            }
        }
        CHECK(budget.used() == 0);
    }
}

TEST_CASE_FIXTURE(budget_fixture, "with nothing to drop but what is being written, drop_oldest refuses what the budget has no room for") {
    CHECK(one.push(frame_of(slice::allocate(90'000)), wait) == send_status::queued);
    std::array<bytes_view, 16> out;
    (void)one.gather(out, scratch);
    one.written(1);
    CHECK(other.push(frame_of(slice::allocate(500'000)), wait) == send_status::queued);
    CHECK(one.push(frame_of(slice::allocate(1'000)), overflow_policy::drop_oldest) == send_status::full);
    CHECK(one.push(frame_of(slice::allocate(1'000)), overflow_policy::latest, 1) == send_status::full);
    CHECK(one.counters().refused_messages == 2);
    CHECK(one.messages() == 1);
}
