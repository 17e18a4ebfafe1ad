#include <kephas/proto/jsonrpc/encode.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <doctest/doctest.h>

#include <string>
#include <variant>

using namespace kephas;
using namespace kephas::jsonrpc;

namespace {

// The one message of a text; fails the test if it is of another type.
template <class Message>
Message only(std::string_view text, const limits& limits = {}) {
    const document read = parse(text, limits);
    CAPTURE(text);
    REQUIRE(read.messages.size() == 1);
    REQUIRE(std::holds_alternative<Message>(read.messages[0]));
    return std::get<Message>(read.messages[0]);
}

std::string call_with_id(std::string_view id) {
    return R"({"jsonrpc":"2.0","method":"m","id":)" + std::string{id} + "}";
}

std::string batch_of(std::size_t size) {
    std::string text = "[";
    for (std::size_t i = 0; i < size; ++i) text += R"({"jsonrpc":"2.0","method":"m"},)";
    text.back() = ']';
    return text;
}

// The whole message, with a depth of `depth`.
std::string call_of_depth(std::size_t depth) {
    return R"({"jsonrpc":"2.0","id":1,"method":"m","params":)" + std::string(depth - 1, '[') +
           std::string(depth - 1, ']') + "}";
}

}  // namespace

TEST_CASE("a request has a method, params and an id") {
    const auto call = only<request>(R"({"jsonrpc":"2.0","method":"add","params":{"a":1},"id":"x"})");
    CHECK(call == request{"add", json::object({{"a", 1}}), request_id{"x"}});
    CHECK_FALSE(call.is_notification());
    CHECK(only<request>(R"({"id":1,"params":[1],"method":"add","jsonrpc":"2.0","more":true})") ==
          request{"add", json::array({1}), request_id{1}});
    CHECK(only<request>(R"({"jsonrpc":"2.0","method":"","id":1})").params.is_null());
}

TEST_CASE("a request without an id is a notification and an id of null is none") {
    CHECK(only<request>(R"({"jsonrpc":"2.0","method":"m"})").is_notification());
    const auto call = only<request>(call_with_id("null"));
    CHECK_FALSE(call.is_notification());
    CHECK(call.id->is_null());
}

TEST_CASE("ids go back as they came") {
    for (const char* id :
         {"1", "0", "-0", "-1", "1.0", "1e3", "1E+3", "0.10", "9007199254740993", "18446744073709551615",
          "18446744073709551616", "123456789012345678901234567890", "-9223372036854775809",
          "1.00000000000000000000000000000000001", "\"\"", "\"1\"", "\"a\\\"b\"", "\"\xE2\x82\xAC\"", "null"}) {
        CAPTURE(id);
        CHECK(encode_result(*only<request>(call_with_id(id)).id, 1) ==
              R"({"jsonrpc":"2.0","result":1,"id":)" + std::string{id} + "}");
        const document batch = parse("[" + call_with_id(id) + "]");
        CHECK(std::get<request>(batch.messages.at(0)).id->text() == id);
    }
}

TEST_CASE("ids of other types are refused, with an id of null") {
    for (const char* id : {"true", "false", "[]", "[1]", "{}"}) {
        CAPTURE(id);
        CHECK(only<invalid_request_message>(call_with_id(id)) == invalid_request_message{{}, invalid_request()});
    }
}

TEST_CASE("an invalid request is answered with its id if that could be told") {
    for (const char* member :
         {R"("jsonrpc":"1.0","method":"m")", R"("jsonrpc":2.0,"method":"m")", R"("method":"m")", R"("jsonrpc":"2.0")",
          R"("jsonrpc":"2.0","method":null)", R"("jsonrpc":"2.0","method":1)", R"("jsonrpc":"2.0","method":["m"])",
          R"("jsonrpc":"2.0","method":"m","params":"bar")", R"("jsonrpc":"2.0","method":"m","params":1)",
          R"("jsonrpc":"2.0","method":"m","params":null)", R"("jsonrpc":"2.0 ","method":"m")"}) {
        const std::string text = "{" + std::string{member} + R"(,"id":7})";
        CHECK(only<invalid_request_message>(text) == invalid_request_message{request_id{7}, invalid_request()});
        CHECK(only<invalid_request_message>("{" + std::string{member} + "}").id.is_null());
    }
    for (const char* text : {"1", "null", "true", "\"text\"", "{}"}) {
        CHECK(only<invalid_request_message>(text) == invalid_request_message{{}, invalid_request()});
    }
}

TEST_CASE("a response carries a result or an error") {
    const auto good = only<response>(R"({"jsonrpc":"2.0","result":{"a":1},"id":5})");
    CHECK(good.id == request_id{5});
    REQUIRE(good.outcome);
    CHECK(good.outcome.value() == json::object({{"a", 1}}));
    CHECK(only<response>(R"({"jsonrpc":"2.0","result":null,"id":5})").outcome.value().is_null());

    const auto bad = only<response>(R"({"jsonrpc":"2.0","error":{"code":-1,"message":"no","data":[1]},"id":"5"})");
    CHECK(bad.id == request_id{"5"});
    REQUIRE_FALSE(bad.outcome.has_value());
    CHECK(bad.outcome.error() == error_object{-1, "no", json::array({1})});
    CHECK(
        only<response>(R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null})").id.is_null());
    CHECK(only<response>(R"({"jsonrpc":"2.0","result":1,"error":null,"id":5})").outcome.value() == 1);
}

TEST_CASE("what was meant for a response and is none is told apart from an invalid request") {
    for (const char* members :
         {R"("jsonrpc":"2.0","result":1,"error":{"code":1,"message":"m"})", R"("jsonrpc":"2.0","error":{"code":1})",
          R"("jsonrpc":"2.0","error":{"message":"m"})", R"("jsonrpc":"2.0","error":{"code":1.5,"message":"m"})",
          R"("jsonrpc":"2.0","error":"text")", R"("jsonrpc":"2.0","error":null)", R"("result":1)"}) {
        const std::string text = "{" + std::string{members} + R"(,"id":5})";
        CHECK(only<invalid_response_message>(text) == invalid_response_message{request_id{5}});
    }
    CHECK(only<invalid_response_message>(R"({"jsonrpc":"2.0","result":1})") == invalid_response_message{});
    CHECK(only<invalid_response_message>(R"({"jsonrpc":"2.0","result":1,"id":[]})") == invalid_response_message{});
}

TEST_CASE("a batch may have every type of message") {
    const document read = parse(R"([{"jsonrpc":"2.0","method":"m","id":1},{"jsonrpc":"2.0","result":1,"id":2},3])");
    CHECK(read.batch);
    REQUIRE(read.messages.size() == 3);
    CHECK(std::holds_alternative<request>(read.messages[0]));
    CHECK(std::holds_alternative<response>(read.messages[1]));
    CHECK(std::holds_alternative<invalid_request_message>(read.messages[2]));
    CHECK_FALSE(parse(call_with_id("1")).batch);
    CHECK(parse("[" + call_with_id("1") + "]").batch);
}

TEST_CASE("a batch within a batch is an invalid request") {
    const document read = parse("[" + batch_of(2) + "]");
    REQUIRE(read.messages.size() == 1);
    CHECK(std::get<invalid_request_message>(read.messages[0]).error == invalid_request());
}

TEST_CASE("a batch that is too long is refused as a whole, and the limit said") {
    CHECK(parse(batch_of(100)).messages.size() == 100);
    const document refused = parse(batch_of(101));
    CHECK_FALSE(refused.batch);
    REQUIRE(refused.messages.size() == 1);
    const auto& error = std::get<invalid_request_message>(refused.messages[0]).error;
    CHECK(error.code == -32600);
    CHECK(error.data->at("limit") == 100);
    CHECK(parse(batch_of(3), {.max_batch = 2}).messages.size() == 1);
}

TEST_CASE("a text that is too big is refused before it is read, and the limit said") {
    std::string text = call_with_id("1");
    text.resize(512 * 1024, ' ');
    CHECK(std::holds_alternative<request>(parse(text).messages[0]));
    text += ' ';
    const auto refused = only<invalid_request_message>(text);
    CHECK(refused.error.code == -32600);
    CHECK(refused.error.data->at("limit") == 512 * 1024);
}

TEST_CASE("nesting is allowed to the limit and refused above it") {
    CHECK(only<request>(call_of_depth(64)).method == "m");
    const auto refused = only<invalid_request_message>(call_of_depth(65));
    CHECK(refused.error.code == -32700);
    CHECK(refused.error.data->at("limit") == 64);
    CHECK(only<invalid_request_message>(std::string(500'000, '[')).error.code == -32700);
}

TEST_CASE("strings that are not UTF-8 are a parse error") {
    CHECK(only<invalid_request_message>("{\"jsonrpc\":\"2.0\",\"method\":\"\xFF\",\"id\":1}").error == parse_error());
    CHECK(only<invalid_request_message>(R"({"jsonrpc":"2.0","method":"\ud800","id":1})").error == parse_error());
}

TEST_CASE("of a member that comes twice the last one counts") {
    CHECK(only<request>(R"({"jsonrpc":"2.0","method":"a","id":1,"id":2,"method":"b"})") ==
          request{"b", {}, request_id{2}});
}

TEST_CASE("a text message is JSON-RPC, an event, or neither") {
    const auto is_jsonrpc = [](std::string_view text) { return std::holds_alternative<document>(classify(text)); };
    const auto unknown = [](std::string_view text) {
        const auto read = classify(text);
        return std::holds_alternative<unknown_text>(read) ? std::get<unknown_text>(read).code : "";
    };
    CHECK(is_jsonrpc(call_with_id("1")));
    CHECK(is_jsonrpc(R"({"jsonrpc":"1.0"})"));
    CHECK(is_jsonrpc(R"({"type":"chat","jsonrpc":"2.0","method":"m"})"));
    CHECK(is_jsonrpc("[]"));
    CHECK(is_jsonrpc(" \n[1"));
    CHECK(is_jsonrpc(std::string(500'000, '[')));
    CHECK(is_jsonrpc(R"({"jsonrpc": "2.0", "method)"));
    CHECK(unknown("") == "invalid_json");
    CHECK(unknown("hello") == "invalid_json");
    CHECK(unknown(R"({"type":"chat)") == "invalid_json");
    CHECK(unknown("{\"type\":\"\xFF\"}") == "invalid_json");
    CHECK(unknown("{}") == "invalid_message");
    CHECK(unknown("1") == "invalid_message");
    CHECK(unknown(R"({"payload":{"type":1}})") == "invalid_message");
}

TEST_CASE("a long text is read as a short one is") {
    const std::string word(10'000, 'x');
    const std::string text = R"({"method":")" + word + R"(","jsonrpc":"2.0","more":[[{}],1],"params":{"a\n":")" + word + R"("},"id":1e2})";
    const auto call = only<request>(text);
    CHECK(call.method == word);
    CHECK(call.params == json::object({{"a\n", word}}));
    CHECK(call.id->text() == "1e2");
    const auto event = classify(R"({"type":"x","payload":")" + word + R"("})");
    REQUIRE(std::holds_alternative<event_text>(event));
    CHECK(std::get<event_text>(event).value == json::object({{"type", "x"}, {"payload", word}}));
}

TEST_CASE("an event is handed over as it was read") {
    const auto read = classify(R"({"type":"chat","payload":{"text":"hi"}})");
    REQUIRE(std::holds_alternative<event_text>(read));
    CHECK(std::get<event_text>(read).value ==
          json::object({{"type", "chat"}, {"payload", json::object({{"text", "hi"}})}}));
}

TEST_CASE("a text that is too big is answered in the dialect that it seems to be") {
    const limits small{.max_size = 50};
    const auto call = classify(call_with_id("1") + std::string(50, ' '), small);
    REQUIRE(std::holds_alternative<document>(call));
    CHECK(std::get<invalid_request_message>(std::get<document>(call).messages.at(0)).error.code == -32600);
    const auto event = classify(R"({"type":"chat"})" + std::string(50, ' '), small);
    REQUIRE(std::holds_alternative<unknown_text>(event));
    CHECK(std::get<unknown_text>(event).code == "invalid_message");
}
