#include <kephas/proto/jsonrpc/encode.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::jsonrpc;

TEST_CASE("a null result is written") {
    CHECK(encode_result(request_id{1}, nullptr) == R"({"jsonrpc":"2.0","result":null,"id":1})");
    CHECK(encode_result(request_id{"a"}, json::array({1})) == R"({"jsonrpc":"2.0","result":[1],"id":"a"})");
}

TEST_CASE("the data of an error is left out if there is none") {
    CHECK(encode_error({}, parse_error()) ==
          R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null})");
    CHECK(encode_error(request_id{1}, server_error("out of \"stock\"", json::object({{"item", 5}}))) ==
          R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"out of \"stock\"","data":{"item":5}},"id":1})");
    CHECK(encode_error(request_id{1}, internal_error(json{})) ==
          R"({"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error","data":null},"id":1})");
}

TEST_CASE("the errors of the specification have its codes and words") {
    CHECK(parse_error() == error_object{-32700, "Parse error", {}});
    CHECK(invalid_request() == error_object{-32600, "Invalid Request", {}});
    CHECK(method_not_found() == error_object{-32601, "Method not found", {}});
    CHECK(invalid_params() == error_object{-32602, "Invalid params", {}});
    CHECK(internal_error() == error_object{-32603, "Internal error", {}});
    CHECK(server_error("busy") == error_object{-32000, "busy", {}});
}

TEST_CASE("params that are null are left out of a request") {
    CHECK(encode_request(request_id{1}, "ping") == R"({"jsonrpc":"2.0","method":"ping","id":1})");
    CHECK(encode_request(request_id{1}, "add", json::array({1, 2})) ==
          R"({"jsonrpc":"2.0","method":"add","params":[1,2],"id":1})");
    CHECK(encode_notification("tick") == R"({"jsonrpc":"2.0","method":"tick"})");
    CHECK(encode_notification("tick", json::object({{"n", 1}})) ==
          R"({"jsonrpc":"2.0","method":"tick","params":{"n":1}})");
}

TEST_CASE("the error reply of a command names the command") {
    CHECK(encode_command_error(512, {method_not_found_code, "unknown command", {}}) ==
          R"({"jsonrpc":"2.0","error":{"code":-32601,"message":"unknown command","data":{"command":512}},"id":null})");
    CHECK(
        encode_command_error(0xFFFFFFFD, server_error("no", json::array({1}))) ==
        R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"no","data":{"command":4294967293,"details":[1]}},"id":null})");
}

TEST_CASE("the error event carries code and message") {
    CHECK(encode_error_event("invalid_json", "a \"message\"") ==
          R"({"type":"error","payload":{"code":"invalid_json","message":"a \"message\""}})");
}
