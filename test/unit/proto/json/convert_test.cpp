#include <kephas/proto/json/convert.hpp>

#include <doctest/doctest.h>

namespace game {

struct point {
    int x = 0;
    int y = 0;
    bool operator==(const point&) const = default;
};

kephas::json to_json(const point& p) { return kephas::json::object({{"x", p.x}, {"y", p.y}}); }

bool from_json(const kephas::json& value, point& p) {
    const auto x = kephas::from_json<int>(value.at("x"));
    const auto y = kephas::from_json<int>(value.at("y"));
    if (!x || !y) return false;
    p = {*x, *y};
    return true;
}

enum class color { red, green };

kephas::json to_json(color c) { return c == color::red ? "red" : "green"; }
bool from_json(const kephas::json& value, color& c) {
    c = value == "green" ? color::green : color::red;
    return value == "red" || value == "green";
}
constexpr std::string_view json_type_name(kephas::json_type<color>) { return "color"; }

}  // namespace game

using namespace kephas;

TEST_CASE("integers are checked against their range and 3.5 is none") {
    CHECK(from_json<int>(3) == 3);
    CHECK(from_json<int>(3.0) == 3);
    CHECK_FALSE(from_json<int>(3.5));
    CHECK_FALSE(from_json<int>("3"));
    CHECK_FALSE(from_json<int>(true));
    CHECK_FALSE(from_json<int>(nullptr));
    CHECK(from_json<std::uint8_t>(255) == 255);
    CHECK_FALSE(from_json<std::uint8_t>(256));
    CHECK_FALSE(from_json<std::uint8_t>(-1));
    CHECK(from_json<std::int8_t>(-128) == -128);
    CHECK_FALSE(from_json<std::int8_t>(-129));
    CHECK(from_json<std::uint64_t>(std::uint64_t{1} << 63U) == std::uint64_t{1} << 63U);
    CHECK_FALSE(from_json<std::int64_t>(std::uint64_t{1} << 63U));
    CHECK_FALSE(from_json<std::uint64_t>(1e20));
}

TEST_CASE("other scalars are taken from their own kind only") {
    CHECK(from_json<bool>(true) == true);
    CHECK_FALSE(from_json<bool>(1));
    CHECK(from_json<double>(2.5) == 2.5);
    CHECK(from_json<double>(2) == 2.0);
    CHECK(from_json<float>(0.5) == 0.5F);
    CHECK_FALSE(from_json<double>("2.5"));
    CHECK(from_json<std::string>("text") == "text");
    CHECK_FALSE(from_json<std::string>(1));
    CHECK(from_json<json>(json::array({1})) == json::array({1}));
}

TEST_CASE("containers are converted if all of their elements are") {
    CHECK(from_json<std::vector<int>>(json::array({1, 2})) == std::vector{1, 2});
    CHECK(from_json<std::vector<bool>>(json::array({true, false})) == std::vector{true, false});
    CHECK_FALSE(from_json<std::vector<int>>(json::array({1, "2"})));
    CHECK_FALSE(from_json<std::vector<int>>(json::object()));
    using map = std::map<std::string, std::vector<double>>;
    CHECK(from_json<map>(json::object({{"a", json::array({1, 2.5})}})) == map{{"a", {1, 2.5}}});
    CHECK_FALSE(from_json<map>(json::array()));
    using hashed = std::unordered_map<std::string, int>;
    CHECK(from_json<hashed>(json::object({{"a", 1}, {"b", 2}})) == hashed{{"a", 1}, {"b", 2}});
    CHECK_FALSE(from_json<hashed>(json::object({{"a", nullptr}})));
}

TEST_CASE("null is an empty optional and anything else must fit") {
    const auto empty = from_json<std::optional<int>>(nullptr);
    REQUIRE(empty.has_value());
    CHECK_FALSE(empty->has_value());
    CHECK(from_json<std::optional<int>>(3).value() == 3);
    CHECK_FALSE(from_json<std::optional<int>>("3").has_value());
    CHECK(from_json<std::vector<std::optional<int>>>(json::array({1, nullptr}))->at(1) == std::nullopt);
}

TEST_CASE("built-in types become JSON") {
    CHECK(to_json(true) == true);
    CHECK(to_json(std::uint16_t{7}) == 7);
    CHECK(to_json(2.5F) == 2.5);
    CHECK(to_json("text") == "text");
    CHECK(to_json(std::string{"text"}) == "text");
    CHECK(to_json(std::string_view{"text"}) == "text");
    CHECK(to_json(json::array({1})) == json::array({1}));
    CHECK(to_json(std::optional<int>{}).is_null());
    CHECK(to_json(std::optional{3}) == 3);
    CHECK(to_json(std::vector<std::vector<bool>>{{true}, {}}) == json::array({json::array({true}), json::array()}));
    CHECK(to_json(std::map<std::string, int>{{"a", 1}, {"b", 2}}) == json::object({{"a", 1}, {"b", 2}}));
}

TEST_CASE("a type of the user's joins by functions in its own namespace") {
    const std::vector<game::point> path{{1, 2}, {3, 4}};
    const json value = to_json(path);
    CHECK(value.at(1) == json::object({{"x", 3}, {"y", 4}}));
    CHECK(from_json<std::vector<game::point>>(value) == path);
    CHECK_FALSE(from_json<game::point>(json::object({{"x", 1}})));
    CHECK(to_json(std::optional{game::color::green}) == "green");
    CHECK(from_json<game::color>("green") == game::color::green);
    CHECK_FALSE(from_json<game::color>("blue"));
}

TEST_CASE("types have names for error messages") {
    static_assert(json_type_name<bool>() == "boolean");
    CHECK(json_type_name<unsigned>() == "integer");
    CHECK(json_type_name<double>() == "number");
    CHECK(json_type_name<std::string>() == "string");
    CHECK(json_type_name<std::vector<int>>() == "array");
    CHECK(json_type_name<std::map<std::string, int>>() == "object");
    CHECK(json_type_name<std::optional<int>>() == "integer");
    CHECK(json_type_name<json>() == "value");
    CHECK(json_type_name<game::point>() == "object");
    CHECK(json_type_name<game::color>() == "color");
}
