#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/json/value.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kephas {

/// What a text may cost. The text's own size is the caller's to limit.
struct json_limits {
    std::size_t max_depth = 64;            ///< Arrays and objects within each other; a lone number has depth 0.
    std::size_t max_elements = 1'000'000;  ///< Values in all, at every depth.
};

/// Why a text was refused, and at which byte.
struct json_error {
    enum class reason_type : std::uint8_t {
        syntax = 1,         ///< Not JSON (RFC 8259).
        invalid_string,     ///< A string with bad UTF-8, half a surrogate pair, or a control character.
        number_too_big,     ///< A number beyond the range of double.
        too_deep,           ///< Nested deeper than `json_limits::max_depth`.
        too_many_elements,  ///< More values than `json_limits::max_elements`.
    };
    reason_type reason = reason_type::syntax;
    std::size_t offset = 0;
    bool operator==(const json_error&) const = default;
};

/// A few words for `reason`, in English.
[[nodiscard]] std::string_view describe(json_error::reason_type reason) noexcept;

/// Reads one JSON text (RFC 8259), all of it. Time is O(n log n) at most and memory O(n), whatever the text; nesting
/// costs no stack. Integers are exact within 64 bits, other numbers doubles. Of a key that comes twice the last value
/// wins.
/// Numbers that are the value of a member called `number_text_key` and not integers of 64 bits keep their text
/// (`json::number_text`), so that they can be written as they came.
[[nodiscard]] result<json, json_error> parse_json(std::string_view text, const json_limits& limits = {},
                                                  std::string_view number_text_key = {});

}  // namespace kephas
