#pragma once

#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/json/value.hpp>

#include <memory>
#include <span>
#include <string_view>

namespace kephas {

/// A JSON text whose outermost object, if it is one, has not been made: for those who look for some of its members and
/// take them. Lifetime: until the same thread reads another text.
struct json_parts {
    bool is_object = false;
    std::span<const std::string_view> keys;  ///< Of the object, as they came: of those that are equal the last one counts.
    std::span<json> values;                  ///< Of the object; otherwise the one value that the text is.
    std::shared_ptr<const void> memory;      ///< In which both are, if the text is long.

    /// The text as one value, which takes all there is.
    [[nodiscard]] json take();
};

/// What `parse_json` does, up to the last step.
[[nodiscard]] result<json_parts, json_error> parse_json_parts(std::string_view text, const json_limits& limits = {},
                                                              std::string_view number_text_key = {});

}  // namespace kephas
