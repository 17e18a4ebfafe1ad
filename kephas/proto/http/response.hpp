#pragma once

#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/status.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace kephas::http {

/// A response with a body that is known in whole.
struct response {
    status_code status = status_code::ok;
    std::vector<header> headers{};  ///< Without Content-Length and Connection: serialize() writes these.
    std::string body{};

    bool operator==(const response&) const = default;
};

/// The status line, the headers and the empty line: the answer to a HEAD. The connection ends after each response, so
/// `Connection: close` is always among them. There is no `Date`: proto has no clock. A header cannot break out of its
/// line, see append_header().
[[nodiscard]] std::string serialize_head(const response& response);

/// The head and the body.
[[nodiscard]] std::string serialize(const response& response);

[[nodiscard]] response text_response(status_code status, std::string body);  ///< text/plain, UTF-8.
[[nodiscard]] response json_response(status_code status, std::string body);

/// The answer to a request that is not acceptable: its reason as text.
[[nodiscard]] response refusal_response(const refusal& refusal);

}  // namespace kephas::http
