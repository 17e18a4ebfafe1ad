#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kephas::http {

/// Replaces each `%XX` by its byte, once (RFC 3986 2.1); `nullopt` when a `%` is not followed by two hex digits.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

/// The same for a name or value of a query string: `+` is a blank, and a `%` that begins no escape stands for itself,
/// as browsers read it.
[[nodiscard]] std::string form_decode(std::string_view text);

}  // namespace kephas::http
