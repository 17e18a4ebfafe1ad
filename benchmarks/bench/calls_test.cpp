#include "calls.hpp"

#include "channel.hpp"
#include <doctest/doctest.h>

#include <string>

using namespace bench;

namespace {

options adding() {
    options o;
    o.call = "math.add";
    o.params = "[2,40]";
    return o;
}

std::string text_of(const calls& made, std::uint64_t number) {
    const auto id = calls::id_of(number);
    return made.before_id() + std::string{id.begin(), id.end()} + made.after_id();
}

std::string complaint(calls& made, const std::string& reply) {
    try {
        static_cast<void>(made.answered(reply, 0));
        return "";
    } catch (const server_fault& e) {
        return e.what();
    }
}

}  // namespace

TEST_CASE("a call is JSON-RPC 2.0, and its id a number that always has eight digits") {
    const calls with{adding()};
    CHECK(text_of(with, 3) == R"({"jsonrpc":"2.0","method":"math.add","params":[2,40],"id":10000003})");
    CHECK(text_of(with, 90'000'000) == text_of(with, 0));
    CHECK(text_of(with, 89'999'999).find("99999999") != std::string::npos);
    options o = adding();
    o.call = "a\"b";
    o.params.clear();
    CHECK(text_of(calls{o}, 0) == R"({"jsonrpc":"2.0","method":"a\"b","id":10000000})");
}

TEST_CASE("replies are matched by their id, whatever their shape and order") {
    options o = adding();
    o.expect = "42";
    calls made{o};
    CHECK(made.answered(R"({"jsonrpc":"2.0","result":42,"id":10000007})", 5) == 7);
    CHECK(made.answered(R"({"jsonrpc":"2.0","result":42,"id":10000005})", 5) == 5);  // as the first one
    CHECK(made.answered(R"({"id": 10000006, "result": 42.0, "jsonrpc": "2.0"})", 5) == 6);
    CHECK(made.answered(R"({"jsonrpc":"2.0","result":42,"id":10000009})", 5) == 9);
    CHECK(made.answered(R"({"jsonrpc":"2.0","result":42,"id":10000000})", 89'999'999) == 90'000'000);
}

TEST_CASE("what is no result, or not the expected one, is a fault, and the complaint shows it") {
    for (const bool after_a_right_one : {false, true}) {
        options o = adding();
        o.expect = "42";
        calls made{o};
        if (after_a_right_one) CHECK(made.answered(R"({"jsonrpc":"2.0","result":42,"id":10000000})", 0) == 0);
        CHECK(complaint(made, R"({"jsonrpc":"2.0","result":43,"id":10000000})") == "expected the result 42; came 43");
        CHECK(complaint(made, R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"x"},"id":10000000})") ==
              R"(a call ended with an error: {"jsonrpc":"2.0","error":{"code":-32601,"message":"x"},"id":10000000})");
        for (const char* other :
             {R"({"jsonrpc":"2.0","result":42,"id":1000000})", R"({"jsonrpc":"2.0","result":42,"id":"10000000"})",
              R"({"jsonrpc":"2.0","result":42,"id":1000000x})", R"({"jsonrpc":"2.0","result":42,"id":00000001})"})
            CHECK_MESSAGE(complaint(made, other).starts_with("got a reply to an unknown call"), other);
        for (const char* none :
             {"", "pong", R"({"jsonrpc":"2.0","id":10000000})", R"({"jsonrpc":"1.0","result":42,"id":10000000})",
              R"({"result":42,"id":10000000})", R"({"jsonrpc":"2.0","result":42})",
              R"([{"jsonrpc":"2.0","result":42,"id":10000000}])"})
            CHECK_MESSAGE(complaint(made, none).starts_with("got what is no reply to a call"), none);
        CHECK(complaint(made, R"({"jsonrpc":"2.0","result":42,"id":10000000,"id":10000001})")
                  .starts_with("got \"id\" twice"));
    }
}

TEST_CASE("without an expectation every result will do, and still no error") {
    calls made{adding()};
    CHECK(made.answered(R"({"jsonrpc":"2.0","result":null,"id":10000000})", 0) == 0);
    CHECK(made.answered(R"({"jsonrpc":"2.0","result":[1],"id":10000001})", 0) == 1);
    CHECK(complaint(made, R"({"jsonrpc":"2.0","error":{},"id":10000000})").starts_with("a call ended with an error"));
}

TEST_CASE("an echo is the call itself, and a result is none") {
    options o = adding();
    o.expect_echo = true;
    calls made{o};
    CHECK(made.answered(text_of(made, 4), 0) == 4);
    CHECK(complaint(made, R"({"jsonrpc":"2.0","result":42,"id":10000000})")
              .starts_with("expected the echo of a call; came {"));
    CHECK(complaint(made, text_of(made, 4) + " ").starts_with("expected the echo"));
}
