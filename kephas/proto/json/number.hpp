#pragma once

#include <optional>
#include <string_view>

namespace kephas {

/// The double nearest to a JSON number (RFC 8259 section 6); `nullopt` above the greatest one. What is too small for
/// a double is zero. `text` must be a number. No locale, and time linear in the text.
[[nodiscard]] std::optional<double> to_double(std::string_view text) noexcept;

}  // namespace kephas
