#include <kephas/proto/session/reconnection.hpp>

#include <doctest/doctest.h>

#include <limits>

using namespace kephas;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

connection_end lost() { return {}; }
connection_end closed(unsigned code) {
    return {.by = connection_end::ended_by::server, .code = static_cast<close_code>(code), .clean = true};
}
connection_end refused(int status) { return {.by = connection_end::ended_by::server, .status = status}; }

}  // namespace

TEST_CASE("the bound of the delay doubles from base to cap, and the delay is a random part of it") {
    const reconnect_options options{.base = 500ms, .cap = 3s};
    time_point now{};
    reconnection policy{options};
    CHECK(policy.ended(lost(), now, most) == 500ms);
    CHECK(policy.ended(lost(), now, most) == 1s);
    CHECK(policy.ended(lost(), now, most / 2) == 1s - 1ns);  // half of 2 s, rounded down
    CHECK(policy.ended(lost(), now, most) == 3s);
    CHECK(policy.ended(lost(), now, most) == 3s);
    CHECK(policy.ended(lost(), now, 0) == 0s);
    CHECK(policy.attempts() == 6);
}

TEST_CASE("a cap below the base, and none, and very many attempts") {
    const time_point now{};
    const reconnect_options small{.base = 500ms, .cap = 100ms};
    reconnection capped{small};
    CHECK(capped.ended(lost(), now, most) == 100ms);
    const reconnect_options none{.base = 0s, .cap = 0s};
    reconnection at_once{none};
    CHECK(at_once.ended(lost(), now, most) == 0s);
    const reconnect_options huge{.base = 1ns, .cap = duration::max()};
    reconnection far{huge};
    for (int i = 0; i < 200; ++i) {
        const auto delay = far.ended(lost(), now, most);
        REQUIRE(delay);
        CHECK(*delay > 0s);
    }
}

TEST_CASE("the backoff begins anew only after a connection that has lasted") {
    const reconnect_options options{.base = 1s, .cap = 60s, .stable_after = 10s};
    time_point now{};
    reconnection policy{options};
    CHECK(policy.ended(lost(), now, most) == 1s);
    policy.connected(now);
    now += 10s - 1ns;
    CHECK(policy.ended(lost(), now, most) == 2s);  // it was up, but not for long
    policy.connected(now);
    now += 10s;
    CHECK(policy.ended(lost(), now, most) == 1s);
}

TEST_CASE("attempts in a row have a limit") {
    const reconnect_options options{.base = 1s, .max_attempts = 2};
    time_point now{};
    reconnection policy{options};
    CHECK(policy.ended(lost(), now, 0).has_value());
    CHECK(policy.ended(lost(), now, 0).has_value());
    CHECK_FALSE(policy.ended(lost(), now, 0).has_value());
}

TEST_CASE("no attempt begins after max_elapsed") {
    const reconnect_options options{.base = 4s, .cap = 4s, .max_elapsed = 10s};
    time_point now{};
    reconnection policy{options};
    CHECK(policy.ended(lost(), now, most) == 4s);
    now += 4s;
    CHECK(policy.ended(lost(), now, most) == 4s);
    now += 4s;
    CHECK_FALSE(policy.ended(lost(), now, most).has_value());
    CHECK(policy.ended(lost(), now, most / 2).has_value());  // a shorter one would do
}

TEST_CASE("close codes: as may_reconnect says") {
    for (const unsigned code : {1001U, 1005U, 1006U, 1011U, 1012U, 1013U, 1014U, 3000U, 3008U, 4499U}) {
        CAPTURE(code);
        CHECK(worth_reconnecting(closed(code)));
    }
    for (const unsigned code : {1000U, 1002U, 1003U, 1007U, 1008U, 1009U, 1010U, 1015U, 3500U, 4999U}) {
        CAPTURE(code);
        CHECK_FALSE(worth_reconnecting(closed(code)));
    }
}

TEST_CASE("refused handshakes: again where the answer may be different next time") {
    for (const int status : {408, 425, 429, 500, 502, 503, 504}) {
        CAPTURE(status);
        CHECK(worth_reconnecting(refused(status)));
    }
    for (const int status : {200, 301, 400, 401, 403, 404, 426, 501, 505}) {
        CAPTURE(status);
        CHECK_FALSE(worth_reconnecting(refused(status)));
    }
}

TEST_CASE("Retry-After comes before the random delay, up to its limit") {
    const reconnect_options options{.base = 1s, .max_retry_after = 1min};
    reconnection policy{options};
    connection_end end = refused(503);
    end.retry_after = 30s;
    CHECK(policy.ended(end, {}, most) == 31s);
    end.retry_after = 1h;
    CHECK(policy.ended(end, {}, 0) == 1min);
    end.retry_after = -5s;
    CHECK(policy.ended(end, {}, 0) == 0s);
}

TEST_CASE("the user may overrule the rule, and leave a case to it") {
    reconnect_options options;
    options.decide = [](const connection_end& end) -> std::optional<bool> {
        if (end.status == 401) return true;  // the token has been renewed
        if (end.code == close_code::going_away) return false;
        return std::nullopt;
    };
    reconnection policy{options};
    CHECK(policy.ended(refused(401), {}, 0).has_value());
    CHECK_FALSE(policy.ended(closed(1001), {}, 0).has_value());
    CHECK(policy.ended(closed(1012), {}, 0).has_value());
    CHECK_FALSE(policy.ended(closed(1000), {}, 0).has_value());
}

TEST_CASE("without reconnection there is none, whatever the user decides") {
    const reconnect_options options{.enabled = false, .decide = [](const connection_end&) { return true; }};
    reconnection policy{options};
    CHECK_FALSE(policy.ended(lost(), {}, 0).has_value());
}
