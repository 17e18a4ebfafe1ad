#include <kephas/proto/json/number.hpp>
#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/json/parts.hpp>

// RapidJSON 1.1.0 compares an empty stack's null pointer plus an offset with its end. Nothing comes of it, but clang's
// sanitizer rightly objects, and would stop every fuzzer there.
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/reader.h>
#include <rapidjson/stream.h>
#ifdef __clang__
#pragma clang attribute pop
#endif

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kephas {

namespace {

// Numbers come as text, so that we convert them exactly and can keep the text of an id. Never the recursive parser:
// half a million '[' overflow its stack. Strings are unescaped where they are, in a copy of the text.
constexpr unsigned parse_flags = rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag |
                                 rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseInsituFlag;
// RapidJSON validates one byte after the other, which takes longer than all the rest: only where there is something to find.
constexpr unsigned validating = parse_flags | rapidjson::kParseValidateEncodingFlag;

bool is_ascii(std::string_view text) noexcept {
    unsigned char all = 0;
    for (const char c : text) all = static_cast<unsigned char>(all | static_cast<unsigned char>(c));
    return all < 0x80;
}

/// What a parse needs on the way; kept by each thread from one small text to the next.
struct workspace {
    rapidjson::Reader reader;
    std::vector<char> text;  // up to a NUL
    std::vector<json> values;
    std::vector<std::string_view> keys;  // parts of the text
    std::vector<json_member> members;    // of the object that ends
    std::vector<char> in_object;         // one for each open container
};
constexpr std::size_t small_text = 4 * 1024;

// RapidJSON turns the escape of a lone low surrogate into three bytes that are not UTF-8 (RFC 3629 section 3).
bool has_surrogate(std::string_view text) {
    for (auto at = text.find('\xED'); at != std::string_view::npos; at = text.find('\xED', at + 1)) {
        if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) >= 0xA0) return true;
    }
    return false;
}

/// `members` is memory to use.
json make_object(std::span<const std::string_view> keys, std::span<json> values, std::vector<json_member>& members) {
    members.clear();
    for (std::size_t i = 0; i < keys.size(); ++i) members.push_back({std::string{keys[i]}, std::move(values[i])});
    return json::object_of(members);
}

// Collects values on a stack; the end of a container takes its own from there, so that its memory is allocated once and
// in its size. Those of the outermost object stay there.
class builder {
public:
    using Ch = char;
    using reason_type = json_error::reason_type;

    builder(workspace& space, const json_limits& limits, std::string_view number_text_key, bool has_escapes)
        : limits_{limits},
          number_text_key_{number_text_key},
          values_{space.values},
          keys_{space.keys},
          members_{space.members},
          in_object_{space.in_object},
          has_escapes_{has_escapes} {
        values_.clear();  // those of the last text
        keys_.clear();
        in_object_.clear();
    }

    // RapidJSON's names. False ends the parse.
    bool Null() { return add(nullptr); }
    bool Bool(bool value) { return add(value); }
    bool RawNumber(const char* data, rapidjson::SizeType size, bool) {
        const std::string_view text{data, size};
        if (text != "-0") {  // an integer by its form, but only a double has it
            const char* const end = data + size;
            std::int64_t int64 = 0;
            if (const auto read = std::from_chars(data, end, int64); read.ec == std::errc{} && read.ptr == end)
                return add(int64);
            std::uint64_t uint64 = 0;
            if (const auto read = std::from_chars(data, end, uint64); read.ec == std::errc{} && read.ptr == end)
                return add(uint64);
        }
        const auto value = to_double(text);
        if (!value) return refuse(reason_type::number_too_big);
        return keeps_text() ? add(json::number_text(text)) : add(*value);
    }
    bool String(const char* data, rapidjson::SizeType size, bool) {
        const std::string_view text{data, size};
        if (has_escapes_ && has_surrogate(text)) return refuse(reason_type::invalid_string);
        return add(text);
    }
    bool Key(const char* data, rapidjson::SizeType size, bool) {
        const std::string_view text{data, size};
        if (has_escapes_ && has_surrogate(text)) return refuse(reason_type::invalid_string);
        keys_.push_back(text);
        return true;
    }
    bool StartArray() { return open(false); }
    bool StartObject() { return open(true); }
    bool EndArray(rapidjson::SizeType size) {
        return close(size, json::array_of(std::span{values_}.last(size)));
    }
    bool EndObject(rapidjson::SizeType size) {
        if (in_object_.size() == 1) {
            outermost_is_object_ = true;
            return true;
        }
        json object = make_object(std::span{keys_}.last(size), std::span{values_}.last(size), members_);
        keys_.resize(keys_.size() - size);
        return close(size, std::move(object));
    }
    // Never called with numbers as text.
    bool Int(int) { return false; }
    bool Uint(unsigned) { return false; }
    bool Int64(std::int64_t) { return false; }
    bool Uint64(std::uint64_t) { return false; }
    bool Double(double) { return false; }

    [[nodiscard]] std::optional<reason_type> refused() const { return refused_; }
    [[nodiscard]] bool outermost_is_object() const { return outermost_is_object_; }

private:
    bool refuse(reason_type reason) {
        refused_ = reason;
        return false;
    }
    template <class T>
    bool add(T&& value) {
        if (++elements_ > limits_.max_elements) return refuse(reason_type::too_many_elements);
        values_.emplace_back(std::forward<T>(value));
        return true;
    }
    bool open(bool object) {
        if (in_object_.size() >= limits_.max_depth) return refuse(reason_type::too_deep);
        if (++elements_ > limits_.max_elements) return refuse(reason_type::too_many_elements);
        in_object_.push_back(object);
        return true;
    }
    bool close(std::size_t size, json container) {
        in_object_.pop_back();
        values_.resize(values_.size() - size);
        values_.push_back(std::move(container));
        return true;
    }
    [[nodiscard]] bool keeps_text() const {
        return !number_text_key_.empty() && !in_object_.empty() && in_object_.back() != 0 &&
               keys_.back() == number_text_key_;
    }

    const json_limits& limits_;
    std::string_view number_text_key_;
    std::vector<json>& values_;
    std::vector<std::string_view>& keys_;
    std::vector<json_member>& members_;
    std::vector<char>& in_object_;
    bool has_escapes_;
    bool outermost_is_object_ = false;
    std::size_t elements_ = 0;
    std::optional<reason_type> refused_;
};

json_error::reason_type reason_of(rapidjson::ParseErrorCode code) {
    switch (code) {
        case rapidjson::kParseErrorStringInvalidEncoding:
        case rapidjson::kParseErrorStringUnicodeSurrogateInvalid: return json_error::reason_type::invalid_string;
        case rapidjson::kParseErrorNumberTooBig: return json_error::reason_type::number_too_big;
        default: return json_error::reason_type::syntax;
    }
}

}  // namespace

std::string_view describe(json_error::reason_type reason) noexcept {
    switch (reason) {
        case json_error::reason_type::syntax: return "not JSON";
        case json_error::reason_type::invalid_string: return "a string is not valid UTF-8 or has a control character";
        case json_error::reason_type::number_too_big: return "a number is too big";
        case json_error::reason_type::too_deep: return "nested too deeply";
        case json_error::reason_type::too_many_elements: return "too many elements";
    }
    return "not JSON";
}

json json_parts::take() {
    if (!is_object) return std::move(values.front());
    std::vector<json_member> members;
    members.reserve(keys.size());
    return make_object(keys, values, members);
}

result<json_parts, json_error> parse_json_parts(std::string_view text, const json_limits& limits,
                                                std::string_view number_text_key) {
    static thread_local workspace kept;
    const std::shared_ptr<workspace> own = text.size() <= small_text ? nullptr : std::make_shared<workspace>();
    workspace& space = own ? *own : kept;
    space.text.reserve(text.size() + 1);
    space.text.assign(text.begin(), text.end());
    space.text.push_back('\0');
    rapidjson::InsituStringStream stream{space.text.data()};
    builder values{space, limits, number_text_key, text.find('\\') != std::string_view::npos};
    const rapidjson::ParseResult parsed = is_ascii(text) ? space.reader.Parse<parse_flags>(stream, values)
                                                         : space.reader.Parse<validating>(stream, values);
    if (parsed.IsError()) {
        return json_error{values.refused().value_or(reason_of(parsed.Code())), std::min(parsed.Offset(), text.size())};
    }
    // The NUL behind the text ends it; a NUL within must not pass for that.
    if (stream.Tell() != text.size()) return json_error{json_error::reason_type::syntax, stream.Tell()};
    return json_parts{values.outermost_is_object(), space.keys, space.values, own};
}

result<json, json_error> parse_json(std::string_view text, const json_limits& limits,
                                    std::string_view number_text_key) {
    auto parts = parse_json_parts(text, limits, number_text_key);
    if (!parts) return parts.error();
    return parts->take();
}

}  // namespace kephas
