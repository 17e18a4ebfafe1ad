#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/jsonrpc/request_id.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using jsonrpc::request_id;

TEST_CASE("strings, numbers and null are ids") {
    CHECK(request_id{}.is_null());
    CHECK(request_id{7}.text() == "7");
    CHECK(request_id{"a\"b"}.text() == R"("a\"b")");
    CHECK(request_id::from_json("x") == request_id{"x"});
    CHECK(request_id::from_json(7) == request_id{7});
    CHECK(request_id::from_json(nullptr) == request_id{});
    CHECK_FALSE(request_id{"null"}.is_null());
}

TEST_CASE("booleans, arrays and objects are none") {
    CHECK_FALSE(request_id::from_json(true));
    CHECK_FALSE(request_id::from_json(json::array()));
    CHECK_FALSE(request_id::from_json(json::object()));
}

TEST_CASE("ids are equal if their texts are") {
    CHECK(request_id{1} != request_id{"1"});
    CHECK(request_id::from_json(json::number_text("1.0")) != request_id{1});
    CHECK(std::hash<request_id>{}(request_id{1}) == std::hash<request_id>{}(request_id{1}));
}
