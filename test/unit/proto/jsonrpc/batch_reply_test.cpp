#include <kephas/proto/jsonrpc/batch_reply.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::jsonrpc;

TEST_CASE("a batch is answered in the order of its requests, whatever the order of the answers") {
    batch_reply reply{parse(R"([{"jsonrpc":"2.0","method":"a","id":1},
                                {"jsonrpc":"2.0","method":"b"},
                                {"jsonrpc":"2.0","method":"c","id":"3"}])")};
    CHECK_FALSE(reply.complete());
    reply.set_error(2, method_not_found());
    CHECK_FALSE(reply.complete());
    reply.set_result(0, 5);
    CHECK(reply.complete());
    CHECK(reply.take() == R"([{"jsonrpc":"2.0","result":5,"id":1},)"
                          R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"3"}])");
}

TEST_CASE("notifications and responses take no place and may be answered in vain") {
    batch_reply reply{parse(R"([{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","result":1,"id":9}])")};
    CHECK(reply.complete());
    reply.set_result(0, 1);
    reply.set_error(1, internal_error());
    CHECK(reply.complete());
    CHECK(reply.take().empty());
}

TEST_CASE("invalid requests are answered from the start") {
    batch_reply reply{parse(R"([1,{"jsonrpc":"2.0","method":"a","id":1}])")};
    CHECK_FALSE(reply.complete());
    reply.set_result(1, nullptr);
    CHECK(reply.take() == R"([{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null},)"
                               R"({"jsonrpc":"2.0","result":null,"id":1}])");
}

TEST_CASE("the second answer to a request is ignored") {
    batch_reply reply{parse(R"({"jsonrpc":"2.0","method":"a","id":1})")};
    reply.set_result(0, 1);
    reply.set_error(0, internal_error());
    CHECK(reply.take() == R"({"jsonrpc":"2.0","result":1,"id":1})");
}

TEST_CASE("a document that is no batch is answered without brackets, or not at all") {
    batch_reply single{parse(R"({"jsonrpc":"2.0","method":"a","id":1})")};
    single.set_error(0, internal_error());
    CHECK(single.take() == R"({"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error"},"id":1})");
    CHECK(batch_reply{parse("{")}.take().starts_with(R"({"jsonrpc":"2.0","error":)"));
    CHECK(batch_reply{parse("[1]")}.take().starts_with(R"([{"jsonrpc":"2.0","error":)"));
    CHECK(batch_reply{parse(R"({"jsonrpc":"2.0","method":"a"})")}.take().empty());
}
