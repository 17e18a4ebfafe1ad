#pragma once

#include <cstdint>
#include <string_view>

namespace kephas::http {

/// The status codes that kephas sends (RFC 9110 15, RFC 6585). A response of a peer may hold any other value.
enum class status_code : std::uint16_t {
    switching_protocols = 101,
    ok = 200,
    no_content = 204,
    moved_permanently = 301,
    found = 302,
    not_modified = 304,
    bad_request = 400,
    unauthorized = 401,
    forbidden = 403,
    not_found = 404,
    method_not_allowed = 405,
    request_timeout = 408,
    content_too_large = 413,
    uri_too_long = 414,
    upgrade_required = 426,
    too_many_requests = 429,
    header_fields_too_large = 431,
    internal_server_error = 500,
    not_implemented = 501,
    service_unavailable = 503,
    version_not_supported = 505,
};

/// "Not Found" for 404; "Unknown" for a code that is not one of ours.
[[nodiscard]] std::string_view reason_phrase(status_code code) noexcept;

/// Why a request, or a response, is not acceptable: the status to answer with (or that the peer answered with) and a
/// short sentence of ours that contains nothing of the peer's.
struct refusal {
    status_code status = status_code::bad_request;
    std::string_view reason;  ///< A string literal.

    bool operator==(const refusal&) const = default;
};

}  // namespace kephas::http
