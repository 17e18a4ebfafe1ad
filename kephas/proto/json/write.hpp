#pragma once

#include <kephas/proto/json/value.hpp>

#include <string>
#include <string_view>

namespace kephas {

/// The compact text of a value. Doubles are written with the fewest digits that read back as the same double; NaN and
/// the infinities, which JSON does not have, as null. The text is always valid UTF-8: what a string holds is kept as
/// it is, save for bytes that are not UTF-8, each of which becomes U+FFFD, because a peer would close over them.
[[nodiscard]] std::string write_json(const json& value);

/// The same, appended.
void write_json(const json& value, std::string& append_to);

/// Appends `text` as a JSON string, with its quotation marks.
void write_json_string(std::string_view text, std::string& append_to);

}  // namespace kephas
