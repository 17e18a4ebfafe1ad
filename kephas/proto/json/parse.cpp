#include <kephas/proto/json/number.hpp>
#include <kephas/proto/json/parse.hpp>

// RapidJSON 1.1.0 compares an empty stack's null pointer plus an offset with its end. Nothing comes of it, but clang's
// sanitizer rightly objects, and would stop every fuzzer there.
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#ifdef __clang__
#pragma clang attribute pop
#endif

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kephas {

namespace {

// Numbers come as text, so that we convert them exactly and can keep the text of an id. Never the recursive parser:
// half a million '[' overflow its stack.
constexpr unsigned parse_flags = rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag |
                                 rapidjson::kParseNumbersAsStringsFlag;
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
    std::vector<json> values;
    std::vector<std::string> keys;
    std::vector<char> in_object;  // one for each open container
};
constexpr std::size_t small_text = 4 * 1024;

std::optional<json> to_integer(std::string_view text) {
    const char* const end = text.data() + text.size();
    std::int64_t int64 = 0;
    if (const auto read = std::from_chars(text.data(), end, int64); read.ec == std::errc{} && read.ptr == end)
        return json{int64};
    std::uint64_t uint64 = 0;
    if (const auto read = std::from_chars(text.data(), end, uint64); read.ec == std::errc{} && read.ptr == end)
        return json{uint64};
    return std::nullopt;
}

// RapidJSON turns the escape of a lone low surrogate into three bytes that are not UTF-8 (RFC 3629 section 3).
bool has_surrogate(std::string_view text) {
    for (auto at = text.find('\xED'); at != std::string_view::npos; at = text.find('\xED', at + 1)) {
        if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) >= 0xA0) return true;
    }
    return false;
}

// Collects values on a stack; the end of a container takes its own from there, so that each vector is allocated once
// and in its size.
class builder {
public:
    using Ch = char;
    using reason_type = json_error::reason_type;

    builder(workspace& space, const json_limits& limits, std::string_view number_text_key)
        : limits_{limits},
          number_text_key_{number_text_key},
          values_{space.values},
          keys_{space.keys},
          in_object_{space.in_object} {
        values_.clear();  // the last text may have been none
        keys_.clear();
        in_object_.clear();
    }

    // RapidJSON's names. False ends the parse.
    bool Null() { return add(json{}); }
    bool Bool(bool value) { return add(json{value}); }
    bool RawNumber(const char* data, rapidjson::SizeType size, bool) {
        const std::string_view text{data, size};
        if (text != "-0") {  // an integer by its form, but only a double has it
            if (auto integer = to_integer(text)) return add(std::move(*integer));
        }
        const auto value = to_double(text);
        if (!value) return refuse(reason_type::number_too_big);
        return add(keeps_text() ? json::number_text(text) : json{*value});
    }
    bool String(const char* data, rapidjson::SizeType size, bool) {
        const std::string_view text{data, size};
        if (has_surrogate(text)) return refuse(reason_type::invalid_string);
        return add(json{text});
    }
    bool Key(const char* data, rapidjson::SizeType size, bool) {
        const std::string_view text{data, size};
        if (has_surrogate(text)) return refuse(reason_type::invalid_string);
        keys_.emplace_back(text);
        return true;
    }
    bool StartArray() { return open(false); }
    bool StartObject() { return open(true); }
    bool EndArray(rapidjson::SizeType size) {
        const auto first = values_.end() - static_cast<std::ptrdiff_t>(size);
        std::vector<json> elements{std::make_move_iterator(first), std::make_move_iterator(values_.end())};
        values_.erase(first, values_.end());
        return close(json::array(std::move(elements)));
    }
    bool EndObject(rapidjson::SizeType size) {
        const auto first = values_.end() - static_cast<std::ptrdiff_t>(size);
        const auto first_key = keys_.end() - static_cast<std::ptrdiff_t>(size);
        std::vector<json_member> members;
        members.reserve(size);
        auto key = first_key;
        for (auto value = first; value != values_.end(); ++value, ++key)
            members.push_back({std::move(*key), std::move(*value)});
        values_.erase(first, values_.end());
        keys_.erase(first_key, keys_.end());
        return close(json::object(std::move(members)));
    }
    // Never called with numbers as text.
    bool Int(int) { return false; }
    bool Uint(unsigned) { return false; }
    bool Int64(std::int64_t) { return false; }
    bool Uint64(std::uint64_t) { return false; }
    bool Double(double) { return false; }

    [[nodiscard]] std::optional<reason_type> refused() const { return refused_; }
    [[nodiscard]] json take() { return std::move(values_.front()); }

private:
    bool refuse(reason_type reason) {
        refused_ = reason;
        return false;
    }
    bool add(json value) {
        if (++elements_ > limits_.max_elements) return refuse(reason_type::too_many_elements);
        values_.push_back(std::move(value));
        return true;
    }
    bool open(bool object) {
        if (in_object_.size() >= limits_.max_depth) return refuse(reason_type::too_deep);
        if (++elements_ > limits_.max_elements) return refuse(reason_type::too_many_elements);
        in_object_.push_back(object);
        return true;
    }
    bool close(json container) {
        in_object_.pop_back();
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
    std::vector<std::string>& keys_;
    std::vector<char>& in_object_;
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

result<json, json_error> parse_json(std::string_view text, const json_limits& limits,
                                    std::string_view number_text_key) {
    static thread_local workspace kept;
    std::optional<workspace> own;
    workspace& space = text.size() <= small_text ? kept : own.emplace();
    rapidjson::MemoryStream stream{text.data(), text.size()};
    builder values{space, limits, number_text_key};
    const rapidjson::ParseResult parsed = is_ascii(text) ? space.reader.Parse<parse_flags>(stream, values)
                                                         : space.reader.Parse<validating>(stream, values);
    if (parsed.IsError()) {
        return json_error{values.refused().value_or(reason_of(parsed.Code())), std::min(parsed.Offset(), text.size())};
    }
    // The stream gives NUL at its end; a NUL within the text must not pass for it.
    if (stream.Tell() != text.size()) return json_error{json_error::reason_type::syntax, stream.Tell()};
    return values.take();
}

}  // namespace kephas
