#include <kephas/proto/jsonrpc/batch_reply.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <doctest/doctest.h>

#include <string>
#include <variant>

// The examples of the JSON-RPC 2.0 specification, section 7, against a server with the methods that they assume.

using namespace kephas;
using namespace kephas::jsonrpc;

namespace {

void run(const request& call, std::size_t index, batch_reply& reply) {
    if (call.method == "subtract") {
        const bool by_name = call.params.is_object();
        const json& minuend = by_name ? call.params.at("minuend") : call.params.at(0);
        const json& subtrahend = by_name ? call.params.at("subtrahend") : call.params.at(1);
        reply.set_result(index, *minuend.as_int64() - *subtrahend.as_int64());
    } else if (call.method == "sum") {
        std::int64_t sum = 0;
        for (const json& term : call.params.elements()) sum += *term.as_int64();
        reply.set_result(index, sum);
    } else if (call.method == "get_data") {
        reply.set_result(index, json::array({"hello", 5}));
    } else if (call.method == "update" || call.method == "notify_hello" || call.method == "notify_sum") {
        reply.set_result(index, nullptr);
    } else {
        reply.set_error(index, method_not_found());
    }
}

// What the server answers; empty: nothing.
std::string answer(std::string_view text) {
    const document asked = parse(text);
    batch_reply reply{asked};
    for (std::size_t i = asked.messages.size(); i > 0; --i) {  // backwards: the order of the answers is kept anyway
        if (const auto* const call = std::get_if<request>(&asked.messages[i - 1])) run(*call, i - 1, reply);
    }
    REQUIRE(reply.complete());
    return reply.take();
}

}  // namespace

TEST_CASE("rpc call with positional parameters") {
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1})") ==
          R"({"jsonrpc":"2.0","result":19,"id":1})");
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2})") ==
          R"({"jsonrpc":"2.0","result":-19,"id":2})");
}

TEST_CASE("rpc call with named parameters") {
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3})") ==
          R"({"jsonrpc":"2.0","result":19,"id":3})");
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4})") ==
          R"({"jsonrpc":"2.0","result":19,"id":4})");
}

TEST_CASE("a notification") {
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]})").empty());
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "foobar"})").empty());
}

TEST_CASE("rpc call of non-existent method") {
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "foobar", "id": "1"})") ==
          R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"})");
}

TEST_CASE("rpc call with invalid JSON") {
    CHECK(answer(R"({"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz])") ==
          R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null})");
}

TEST_CASE("rpc call with invalid Request object") {
    CHECK(answer(R"({"jsonrpc": "2.0", "method": 1, "params": "bar"})") ==
          R"({"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null})");
}

TEST_CASE("rpc call Batch, invalid JSON") {
    CHECK(answer(R"([
  {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
  {"jsonrpc": "2.0", "method"
])") == R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null})");
}

TEST_CASE("rpc call with an empty Array") {
    CHECK(answer("[]") == R"({"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null})");
}

TEST_CASE("rpc call with an invalid Batch (but not empty)") {
    CHECK(answer("[1]") == R"([{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}])");
}

TEST_CASE("rpc call with invalid Batch") {
    CHECK(answer("[1,2,3]") == R"([{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null},)"
                               R"({"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null},)"
                               R"({"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}])");
}

TEST_CASE("rpc call Batch") {
    CHECK(answer(R"([
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ])") == R"([{"jsonrpc":"2.0","result":7,"id":"1"},)"
            R"({"jsonrpc":"2.0","result":19,"id":"2"},)"
            R"({"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null},)"
            R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"5"},)"
            R"({"jsonrpc":"2.0","result":["hello",5],"id":"9"}])");
}

TEST_CASE("rpc call Batch (all notifications)") {
    CHECK(answer(R"([
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ])")
              .empty());
}
