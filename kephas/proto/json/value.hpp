#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kephas {

enum class json_kind : std::uint8_t { null, boolean, number, string, array, object };

struct json_member;

namespace json_detail {

/// The elements of an array or the members of an object in one piece of memory; none if there are none. As trivial as a
/// pointer: the `json` that has it owns it.
template <class T>
struct block {
    T* data;
    std::uint32_t size;
    std::uint32_t capacity;

    [[nodiscard]] std::span<T> all() const noexcept { return {data, size}; }
};

}  // namespace json_detail

/// An integer that JSON writes as a number; the character types are not.
template <class T>
concept json_integer =
    std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
    !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;

/// A JSON value (RFC 8259), in 24 bytes; strings up to 16 bytes, `[]` and `{}` need no memory besides.
///
///     json reply = json::object({{"name", "ada"}, {"scores", json::array({1, 2.5, nullptr})}});
///     reply["online"] = true;
///
/// Numbers are exact as int64 and uint64, and doubles otherwise. Objects keep the order in which members were added.
/// Absence is never an exception: what is not there reads as null, `nullptr` or `nullopt`.
/// A moved-from value is null. Copying, comparing and destroying recurse as deep as the value nests; the parser
/// allows a peer no more than `json_limits::max_depth`.
class json {
public:
    constexpr json() noexcept = default;
    json(std::nullptr_t) noexcept {}
    template <std::same_as<bool> T>  // exactly bool: a pointer is not a truth value
    json(T value) noexcept : rep_{rep::boolean} {
        data_.boolean = value;
    }
    template <json_integer T>
    json(T value) noexcept {
        if constexpr (std::signed_integral<T>) {
            set_int64(value);
        } else {
            set_uint64(value);
        }
    }
    template <std::floating_point T>
    json(T value) noexcept : rep_{rep::float64} {
        data_.float64 = static_cast<double>(value);
    }
    json(std::string_view text) { set_text(rep::string, text); }
    json(const std::string& text) : json{std::string_view{text}} {}
    json(const char* text) {  // a null pointer is null
        if (text != nullptr) set_text(rep::string, text);
    }

    json(const json& other) { copy_from(other); }
    json(json&& other) noexcept { take(other); }
    json& operator=(const json& other) {
        if (this != &other) *this = json{other};
        return *this;
    }
    json& operator=(json&& other) noexcept {
        json old{std::move(*this)};  // other may be a part of this
        take(other);
        return *this;
    }
    ~json() {
        if (rep_ >= rep::decimal) destroy();
    }

    /// `json::array({1, "two", nullptr})`
    [[nodiscard]] static json array(std::initializer_list<json> elements = {});
    [[nodiscard]] static json array(std::vector<json>&& elements) { return array_of(elements); }
    /// Takes the elements from where they are.
    [[nodiscard]] static json array_of(std::span<json> elements);
    /// `json::object({{"a", 1}, {"b", "two"}})`. A key that comes twice keeps its first place and its last value.
    [[nodiscard]] static json object(std::initializer_list<json_member> members = {});
    [[nodiscard]] static json object(std::vector<json_member>&& members);
    /// Takes the members from where they are.
    [[nodiscard]] static json object_of(std::span<json_member> members);
    /// A number that is written exactly as `text`, which must be one by RFC 8259 section 6; it reads as a double.
    [[nodiscard]] static json number_text(std::string_view text);

    [[nodiscard]] json_kind kind() const noexcept;
    [[nodiscard]] bool is_null() const noexcept { return rep_ == rep::null; }
    [[nodiscard]] bool is_bool() const noexcept { return rep_ == rep::boolean; }
    [[nodiscard]] bool is_number() const noexcept { return kind() == json_kind::number; }
    [[nodiscard]] bool is_string() const noexcept { return rep_ == rep::string; }
    [[nodiscard]] bool is_array() const noexcept { return rep_ == rep::array; }
    [[nodiscard]] bool is_object() const noexcept { return rep_ == rep::object; }

    /// The value, if it is of that kind and fits exactly: 3.0 is an integer, 3.5 and 2^64 are none.
    [[nodiscard]] std::optional<bool> as_bool() const noexcept;
    [[nodiscard]] std::optional<std::int64_t> as_int64() const noexcept;
    [[nodiscard]] std::optional<std::uint64_t> as_uint64() const noexcept;
    /// Any number, rounded to the nearest double.
    [[nodiscard]] std::optional<double> as_double() const noexcept;
    /// Valid until this value changes or moves.
    [[nodiscard]] std::optional<std::string_view> as_string() const noexcept;

    /// The number of elements or members; 0 for everything else.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The elements of an array, for `for`; empty for everything else.
    [[nodiscard]] std::span<const json> elements() const noexcept;
    [[nodiscard]] std::span<json> elements() noexcept;
    /// The members of an object: `for (const auto& [key, value] : j.members())`; empty for everything else.
    [[nodiscard]] std::span<const json_member> members() const noexcept;

    /// The member's value; `nullptr` if there is none, or if this is not an object.
    [[nodiscard]] const json* find(std::string_view key) const noexcept;
    [[nodiscard]] json* find(std::string_view key) noexcept;
    [[nodiscard]] bool contains(std::string_view key) const noexcept { return find(key) != nullptr; }

    /// The member or element, or a null value if there is none, so that paths can be followed without asking:
    /// `j.at("payload").at("names").at(0).as_string()`.
    [[nodiscard]] const json& at(std::string_view key) const noexcept;
    [[nodiscard]] const json& at(std::size_t index) const noexcept;

    /// The member of that name, added if it is missing. Anything but an object becomes an empty object first.
    json& operator[](std::string_view key);
    [[nodiscard]] const json& operator[](std::string_view key) const noexcept { return at(key); }
    template <std::integral T>
    json& operator[](T) const = delete;  // at(index), or elements()

    /// Appends an element. Anything but an array becomes an empty array first.
    json& push_back(json element);
    /// Removes a member; false if there is none.
    bool erase(std::string_view key);

    /// Numbers by value, whatever their form; objects whatever the order of their members.
    [[nodiscard]] friend bool operator==(const json& a, const json& b) { return equal(a, b); }

private:
    friend class json_writer;

    // From `decimal` on there may be memory to give back.
    enum class rep : std::uint8_t { null, boolean, int64, uint64, float64, decimal, string, array, object };

    static constexpr std::size_t max_small = 16;
    static constexpr std::uint8_t on_heap = 0xFF;

    struct heap_text {
        char* data;
        std::size_t size;
    };
    union storage {
        bool boolean;
        std::int64_t int64;
        std::uint64_t uint64;  // only above the greatest int64
        double float64;
        char small[max_small];
        heap_text text;
        json_detail::block<json> elements;
        json_detail::block<json_member> members;
    };

    static bool equal(const json& a, const json& b);

    void set_int64(std::int64_t value) noexcept;
    void set_uint64(std::uint64_t value) noexcept;
    void set_text(rep kind, std::string_view text);
    [[nodiscard]] std::string_view text() const noexcept;  // of a string or a decimal
    void copy_from(const json& other);
    void destroy() noexcept;
    void take(json& other) noexcept {
        data_ = other.data_;
        rep_ = std::exchange(other.rep_, rep::null);
        text_size_ = other.text_size_;
    }

    storage data_{};
    rep rep_ = rep::null;
    std::uint8_t text_size_ = 0;  // of a text in data_.small, or on_heap
};

struct json_member {
    std::string key;
    json value;
    bool operator==(const json_member&) const = default;
};

}  // namespace kephas
