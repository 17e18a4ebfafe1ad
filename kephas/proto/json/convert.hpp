#pragma once

#include <kephas/proto/json/value.hpp>

#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kephas {

// Between `json` and the types of C++: bool, integers, floating point, strings, `json` itself, and vectors, optionals
// and maps with string keys of whatever converts. A type of yours joins by free functions in its own namespace:
//
//     kephas::json to_json(const point& p) { return kephas::json::object({{"x", p.x}, {"y", p.y}}); }
//     bool from_json(const kephas::json& value, point& p);                                  // false: not a point
//     constexpr std::string_view json_type_name(kephas::json_type<point>) { return "point"; }  // else "object"

/// Stands for the type in `json_type_name`.
template <class T>
struct json_type {};

template <class T>
[[nodiscard]] std::optional<T> from_json(const json& value);
template <class T>
[[nodiscard]] constexpr std::string_view json_type_name();

namespace json_detail {

template <class T>
inline constexpr bool is_vector = false;
template <class T, class A>
inline constexpr bool is_vector<std::vector<T, A>> = true;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
inline constexpr bool is_map = false;
template <class T, class C, class A>
inline constexpr bool is_map<std::map<std::string, T, C, A>> = true;
template <class T, class H, class E, class A>
inline constexpr bool is_map<std::unordered_map<std::string, T, H, E, A>> = true;

template <class T>
concept scalar = std::same_as<T, bool> || json_integer<T> || std::floating_point<T>;
template <class T>
concept text = std::convertible_to<const T&, std::string_view>;
template <class T>
concept built_in = scalar<T> || text<T> || std::same_as<T, json> || is_vector<T> || is_optional<T> || is_map<T>;

template <class T>
concept named_by_user = requires {
    { json_type_name(json_type<T>{}) } -> std::convertible_to<std::string_view>;
};

template <json_integer T>
std::optional<T> to_integer(const json& value) {
    if (const auto integer = value.as_int64(); integer && std::in_range<T>(*integer)) return static_cast<T>(*integer);
    if (const auto integer = value.as_uint64(); integer && std::in_range<T>(*integer)) return static_cast<T>(*integer);
    return std::nullopt;
}

template <class Vector>
std::optional<Vector> to_vector(const json& value) {
    if (!value.is_array()) return std::nullopt;
    Vector all;
    all.reserve(value.size());
    for (const json& element : value.elements()) {
        auto converted = from_json<typename Vector::value_type>(element);
        if (!converted) return std::nullopt;
        all.push_back(std::move(*converted));
    }
    return all;
}

template <class Map>
std::optional<Map> to_map(const json& value) {
    if (!value.is_object()) return std::nullopt;
    Map all;
    for (const auto& [key, member] : value.members()) {
        auto converted = from_json<typename Map::mapped_type>(member);
        if (!converted) return std::nullopt;
        all.emplace(key, std::move(*converted));
    }
    return all;
}

}  // namespace json_detail

/// The JSON of a built-in type; those of other types are found beside them. An empty optional is null.
template <class T>
requires json_detail::built_in<T>
[[nodiscard]] json to_json(const T& value) {
    if constexpr (json_detail::scalar<T> || std::same_as<T, json>) {
        return value;
    } else if constexpr (json_detail::text<T>) {
        return std::string_view{value};
    } else if constexpr (json_detail::is_optional<T>) {
        return value ? to_json(*value) : json{};
    } else if constexpr (json_detail::is_vector<T>) {
        std::vector<json> elements;
        elements.reserve(value.size());
        for (const typename T::value_type& element : value)
            elements.push_back(to_json(element));  // no vector<bool>::reference
        return json::array(std::move(elements));
    } else {
        std::vector<json_member> members;
        members.reserve(value.size());
        for (const auto& [key, mapped] : value) members.push_back({key, to_json(mapped)});
        return json::object(std::move(members));
    }
}

/// The value as a `T`, or `nullopt` if it is none: nothing is converted between kinds, integers are checked against
/// their range, and 3.0 is an integer where 3.5 is not. For an optional null is the empty one. A `T` that is not built
/// in has to be default constructible.
template <class T>
std::optional<T> from_json(const json& value) {
    if constexpr (std::same_as<T, json>) {
        return value;
    } else if constexpr (std::same_as<T, bool>) {
        return value.as_bool();
    } else if constexpr (json_integer<T>) {
        return json_detail::to_integer<T>(value);
    } else if constexpr (std::floating_point<T>) {
        const auto number = value.as_double();
        if (!number) return std::nullopt;
        return static_cast<T>(*number);
    } else if constexpr (std::same_as<T, std::string>) {
        const auto text = value.as_string();
        if (!text) return std::nullopt;
        return std::string{*text};
    } else if constexpr (json_detail::is_optional<T>) {
        if (value.is_null()) return std::optional<T>{std::in_place};
        auto converted = from_json<typename T::value_type>(value);
        if (!converted) return std::nullopt;
        return std::optional<T>{std::in_place, std::move(converted)};
    } else if constexpr (json_detail::is_vector<T>) {
        return json_detail::to_vector<T>(value);
    } else if constexpr (json_detail::is_map<T>) {
        return json_detail::to_map<T>(value);
    } else {
        static_assert(!json_detail::built_in<T>, "a view into a json would not own its text: take a std::string");
        std::optional<T> out{std::in_place};
        if (!from_json(value, *out)) out.reset();
        return out;
    }
}

/// What a peer has to send for a `T`, in the words of JSON: "boolean", "integer", "number", "string", "array",
/// "object", or "value" where anything goes.
template <class T>
constexpr std::string_view json_type_name() {
    if constexpr (std::same_as<T, json>) {
        return "value";
    } else if constexpr (std::same_as<T, bool>) {
        return "boolean";
    } else if constexpr (json_integer<T>) {
        return "integer";
    } else if constexpr (std::floating_point<T>) {
        return "number";
    } else if constexpr (json_detail::text<T>) {
        return "string";
    } else if constexpr (json_detail::is_optional<T>) {
        return json_type_name<typename T::value_type>();
    } else if constexpr (json_detail::is_vector<T>) {
        return "array";
    } else if constexpr (json_detail::named_by_user<T>) {
        return json_type_name(json_type<T>{});
    } else {
        return "object";
    }
}

}  // namespace kephas
