#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::http {

/// One header field. Names are compared without regard to case, values are kept as they came, without outer blanks.
struct header {
    std::string name;
    std::string value;

    bool operator==(const header&) const = default;
};

/// Whether `text` is a token (RFC 9110 5.6.2): what methods, header names and subprotocols are made of.
[[nodiscard]] bool is_token(std::string_view text) noexcept;

/// Compares ASCII text without regard to case; other bytes must be equal.
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// `text` with its ASCII letters in lower case.
[[nodiscard]] std::string to_lower(std::string_view text);

/// `text` without blanks and tabs at either end.
[[nodiscard]] std::string_view trim(std::string_view text) noexcept;

/// The value of the first header of that name; `nullopt` when there is none.
/// Lifetime: a view into `headers`.
[[nodiscard]] std::optional<std::string_view> find_header(std::span<const header> headers,
                                                          std::string_view name) noexcept;

[[nodiscard]] std::size_t count_headers(std::span<const header> headers, std::string_view name) noexcept;

/// The elements of a comma-separated list, which may be spread over several headers of that name, in order. Empty
/// elements are skipped (RFC 9110 5.6.1.2). For lists without quoted strings.
/// Lifetime: views into `headers`.
[[nodiscard]] std::vector<std::string_view> list_elements(std::span<const header> headers, std::string_view name);

/// Whether such a list has `element`, compared as a whole and without regard to case.
[[nodiscard]] bool list_contains(std::span<const header> headers, std::string_view name, std::string_view element);

/// Writes `name: value` and CRLF. Nothing can break out of the line: control characters in the value become blanks,
/// and a header whose name is not a token is left out.
void append_header(std::string& out, std::string_view name, std::string_view value);

}  // namespace kephas::http
