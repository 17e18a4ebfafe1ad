#include <kephas/base/error.hpp>

#include <kephas/proto/jsonrpc/params.hpp>

#include <doctest/doctest.h>

#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace kephas;
using namespace kephas::jsonrpc;

namespace {

const std::array<std::string, 2> names{"a", "b"};

result<std::vector<const json*>, error_object> bind_params(const json& params, std::span<const std::string> to) {
    const json untouched;
    std::vector<const json*> bound(to.size(), &untouched);
    if (auto error = jsonrpc::bind_params(params, to, bound)) return std::move(*error);
    return bound;
}

}

TEST_CASE("positional params are found by their place") {
    const json params = json::array({1, "two"});
    const auto bound = bind_params(params, names);
    REQUIRE(bound);
    REQUIRE(bound->size() == 2);
    CHECK(*bound->at(0) == 1);
    CHECK(*bound->at(1) == "two");
    CHECK(bound->at(0) == &params.elements()[0]);  // not a copy
}

TEST_CASE("named params are found by their name, in any order") {
    const json params = json::object({{"b", "two"}, {"a", nullptr}});
    const auto bound = bind_params(params, names);
    REQUIRE(bound);
    REQUIRE(bound->at(0) != nullptr);
    CHECK(bound->at(0)->is_null());  // given, and null
    CHECK(*bound->at(1) == "two");
}

TEST_CASE("params that are missing are null pointers") {
    CHECK(bind_params(json{}, names).value() == std::vector<const json*>{nullptr, nullptr});
    const json one = json::array({1});
    CHECK(bind_params(one, names).value() == std::vector<const json*>{&one.at(0), nullptr});
    const json b = json::object({{"b", 1}});
    CHECK(bind_params(b, names).value() == std::vector<const json*>{nullptr, &b.at("b")});
    CHECK(bind_params(json{}, {}).value().empty());
}

TEST_CASE("an unknown name is an error that says it") {
    auto bound = bind_params(json::object({{"a", 1}, {"c", 2}}), names);
    REQUIRE_FALSE(bound.has_value());
    CHECK(bound.error() == invalid_params(json::object({{"parameter", "c"}, {"reason", "unknown"}})));
}

TEST_CASE("too many positional params are an error that counts them") {
    auto bound = bind_params(json::array({1, 2, 3}), names);
    REQUIRE_FALSE(bound.has_value());
    CHECK(bound.error() == invalid_params(json::object({{"reason", "too many"}, {"expected", 2}, {"got", 3}})));
}

TEST_CASE("a parameter of the wrong type is named with the right one") {
    const error_object error = invalid_parameter("b", "number");
    CHECK(error.code == -32602);
    CHECK(error.message == "Invalid params");
    CHECK(error.data == json::object({{"parameter", "b"}, {"expected", "number"}}));
}
