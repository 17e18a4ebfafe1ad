#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kephas::http {

/// The file that a request's target names, as a path relative to the root that is served: "/" is "index.html",
/// "/docs/" is "docs/index.html", "/a%20b.js?v=1" is "a b.js". Escapes are decoded once, the query is ignored.
///
/// `nullopt` for whatever is not plainly a file below the root: segments that begin with a dot (`..`, `.`, and hidden
/// files), empty segments, backslashes, control characters, malformed escapes. The answer is meant to be 404.
/// Links that lead out of the root are for the one who opens the file to refuse.
[[nodiscard]] std::optional<std::string> static_path(std::string_view target);

/// The media type for the extension of `path`, with its charset for text; `application/octet-stream` when unknown.
[[nodiscard]] std::string_view content_type(std::string_view path) noexcept;

}  // namespace kephas::http
