#include <kephas/proto/json/value.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <memory>

using namespace kephas;

TEST_CASE("a value is built from what a handler has at hand") {
    CHECK(json{}.is_null());
    CHECK(json{nullptr}.is_null());
    CHECK(json{static_cast<const char*>(nullptr)}.is_null());
    CHECK(json{true}.as_bool() == true);
    CHECK(json{7}.as_int64() == 7);
    CHECK(json{std::uint8_t{7}}.as_int64() == 7);
    CHECK(json{-7L}.as_int64() == -7);
    CHECK(json{std::numeric_limits<std::uint64_t>::max()}.as_uint64() == std::numeric_limits<std::uint64_t>::max());
    CHECK(json{2.5F}.as_double() == 2.5);
    CHECK(json{"text"}.as_string() == "text");
    CHECK(json{std::string{"text"}}.as_string() == "text");
    CHECK(json{std::string_view{"te\0xt", 5}}.as_string() == std::string_view{"te\0xt", 5});
    static_assert(!std::is_convertible_v<int*, json>);  // not a truth value
    static_assert(!std::is_convertible_v<char, json>);
    static_assert(sizeof(json) == 24);
}

TEST_CASE("arrays and objects are built in one expression") {
    const json value = json::object({{"a", 1}, {"b", json::array({true, nullptr, "x", json::array()})}, {"c", "d"}});
    CHECK(value.is_object());
    CHECK(value.size() == 3);
    CHECK(value.at("a") == 1);
    CHECK(value.at("b").size() == 4);
    CHECK(value.at("b").at(0) == true);
    CHECK(value.at("b").at(1).is_null());
    CHECK(value.at("b").at(2) == "x");
    CHECK(value.at("b").at(3).is_array());
    CHECK(json::array({json::array({1})}).at(0).at(0) == 1);
    CHECK(json::object({{"k", "v"}}).at("k") == "v");
    CHECK(json::object({{"a", "b"}, {"c", "d"}}).size() == 2);
    CHECK(json::object().empty());
    CHECK(json::array().empty());
    CHECK(json::array().kind() == json_kind::array);
}

TEST_CASE("an object is built member by member and keeps their order") {
    json value;
    value["z"] = 1;
    value["a"] = "two";
    value["z"] = 3;
    value["list"].push_back(1);
    value["list"].push_back(2);
    std::string keys;
    for (const auto& [key, member] : value.members()) keys += key + ' ';
    CHECK(keys == "z a list ");
    CHECK(value.at("z") == 3);
    CHECK(value.at("list") == json::array({1, 2}));
    CHECK(value.erase("a"));
    CHECK_FALSE(value.erase("a"));
    CHECK(value.size() == 2);
    CHECK_FALSE(json{1}.erase("a"));
}

TEST_CASE("what is absent, or of another kind, reads as nothing") {
    const json value = json::object({{"a", 1}});
    CHECK(value.find("b") == nullptr);
    CHECK(value.at("b").at(7).at("c").is_null());
    CHECK(json{"text"}.find("a") == nullptr);
    CHECK(json{"text"}.size() == 0);
    CHECK(json{"text"}.elements().empty());
    CHECK(json{"text"}.members().empty());
    CHECK_FALSE(json{"1"}.as_int64());
    CHECK_FALSE(json{1}.as_string());
    CHECK_FALSE(json{1}.as_bool());
    CHECK_FALSE(json{}.as_double());
    CHECK_FALSE(json{true}.as_int64());
    REQUIRE(value.find("a") != nullptr);
    CHECK(*value.find("a") == 1);
    CHECK(value.contains("a"));
}

TEST_CASE("a number is given as the type asked for only if that holds it exactly") {
    constexpr auto min64 = std::numeric_limits<std::int64_t>::min();
    CHECK(json{3.0}.as_int64() == 3);
    CHECK_FALSE(json{3.5}.as_int64());
    CHECK(json{-0.0}.as_int64() == 0);
    CHECK(json{-0x1p63}.as_int64() == min64);
    CHECK_FALSE(json{0x1p63}.as_int64());
    CHECK(json{0x1p63}.as_uint64() == std::uint64_t{1} << 63U);
    CHECK_FALSE(json{0x1p64}.as_uint64());
    CHECK_FALSE(json{-1}.as_uint64());
    CHECK_FALSE(json{-1.0}.as_uint64());
    CHECK_FALSE(json{std::uint64_t{1} << 63U}.as_int64());
    CHECK_FALSE(json{std::numeric_limits<double>::quiet_NaN()}.as_int64());
    CHECK_FALSE(json{std::numeric_limits<double>::infinity()}.as_uint64());
    CHECK(json{min64}.as_double() == -0x1p63);
}

TEST_CASE("numbers are equal by value and integers are not compared as doubles") {
    CHECK(json{1} == json{1.0});
    CHECK(json{1} == json::number_text("1.0"));
    CHECK(json::number_text("1e3") == json{1000U});
    CHECK(json{std::int64_t{9007199254740993}} != json{9007199254740992.0});
    CHECK(json{std::numeric_limits<std::uint64_t>::max()} != json{0x1p64});
    CHECK(json{1} != json{true});
    CHECK(json{1} != json{"1"});
    CHECK(json{0.5} == json{0.5});
    CHECK(json{0.5} != json{0.25});
}

TEST_CASE("objects are equal whatever the order of their members") {
    CHECK(json::object({{"a", 1}, {"b", 2}}) == json::object({{"b", 2}, {"a", 1}}));
    CHECK(json::object({{"a", 1}, {"b", 2}}) != json::object({{"b", 1}, {"a", 2}}));
    CHECK(json::object({{"a", 1}}) != json::object({{"a", 1}, {"b", 2}}));
    CHECK(json::object({{"a", 1}}) != json::object({{"b", 1}}));
    CHECK(json::array({1, 2}) != json::array({2, 1}));
    CHECK(json::array() != json::object());
    CHECK(json{} != json::object());
}

TEST_CASE("of a key that comes twice the last value wins, in few members and in many") {
    CHECK(json::object({{"a", 1}, {"b", 2}, {"a", 3}}).members()[0] == json_member{"a", 3});
    for (const int count : {1, 16, 17, 100}) {
        CAPTURE(count);
        std::vector<json_member> members;
        for (int round = 0; round < 3; ++round) {
            for (int i = 0; i < count; ++i) members.push_back({std::to_string(i), round * 1000 + i});
        }
        const json value = json::object(std::move(members));
        REQUIRE(value.size() == static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            CHECK(value.members()[static_cast<std::size_t>(i)] == json_member{std::to_string(i), 2000 + i});
        }
    }
}

TEST_CASE("strings of every size are copied, moved and compared") {
    for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 254U, 255U, 256U, 70000U}) {
        CAPTURE(size);
        const std::string text(size, 'x');
        json original{text};
        json copy = original;
        const json moved = std::move(original);
        CHECK(moved.as_string() == text);
        CHECK(copy == moved);
        copy = "short";
        CHECK(copy == "short");
        copy = moved;
        CHECK(copy.as_string() == text);
    }
}

TEST_CASE("a copy is independent of its original") {
    json original = json::object({{"list", json::array({1})}, {"name", "a text that is longer than sixteen bytes"}});
    json copy = original;
    copy["list"].push_back(2);
    copy["name"] = "other";
    CHECK(original.at("list").size() == 1);
    CHECK(original.at("name") == "a text that is longer than sixteen bytes");
    json empty = json::array();
    json copy_of_empty = empty;
    copy_of_empty.push_back(1);
    CHECK(empty.empty());
}

TEST_CASE("a value may be replaced by a part of itself") {
    json value = json::object({{"inner", json::object({{"text", "longer than sixteen bytes"}})}});
    value = value["inner"];
    CHECK(value.at("text") == "longer than sixteen bytes");
    value = std::move(value["text"]);
    CHECK(value == "longer than sixteen bytes");
    json list = json::array({json::array({1, 2})});
    list = std::move(list.elements()[0]);
    CHECK(list == json::array({1, 2}));
}

TEST_CASE("building upon a value of another kind replaces it") {
    json value = "text";
    value["a"] = 1;
    CHECK(value == json::object({{"a", 1}}));
    value.push_back(2);
    CHECK(value == json::array({2}));
}
