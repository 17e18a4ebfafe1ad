#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct json_member {
    std::string_view name;   ///< Between its quotes, escapes as they stand.
    std::string_view value;  ///< As it stands, without the blanks around it.
};

/// The members of a JSON object (RFC 8259), in their order; nothing if `text` is none. What they hold has the shape of
/// JSON: brackets and quotes match. It is not checked further.
[[nodiscard]] std::optional<std::vector<json_member>> json_members(std::string_view text);

/// Whether `text` is one value, checked as above.
[[nodiscard]] bool is_json(std::string_view text);

/// Whether both are the same value: blanks do not count, and numbers are compared by what they are worth. Members have
/// to stand in the same order, and strings to be escaped alike.
[[nodiscard]] bool same_json(std::string_view, std::string_view);

/// `text` as a JSON string.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace bench
