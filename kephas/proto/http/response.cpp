#include <kephas/proto/http/response.hpp>

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace kephas::http {

namespace {

/// RFC 9110 8.6: no Content-Length where there cannot be a body.
constexpr bool has_body(status_code status) noexcept {
    const auto code = static_cast<unsigned>(status);
    return code >= 200 && code != 204 && code != 304;
}

response typed_response(status_code status, std::string_view type, std::string body) {
    return {status, {{"Content-Type", std::string{type}}}, std::move(body)};
}

}  // namespace

std::string serialize_head(const response& response) {
    std::string out;
    fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", static_cast<unsigned>(response.status),
                   reason_phrase(response.status));
    bool upgrade = false;
    for (const header& h : response.headers) {
        if (equal_ignoring_case(h.name, "Content-Length") || equal_ignoring_case(h.name, "Connection")) continue;
        upgrade = upgrade || equal_ignoring_case(h.name, "Upgrade");
        append_header(out, h.name, h.value);
    }
    if (has_body(response.status)) append_header(out, "Content-Length", std::to_string(response.body.size()));
    append_header(out, "Connection", upgrade ? "Upgrade, close" : "close");  // RFC 9110 7.8: Upgrade is named here too
    out.append("\r\n");
    return out;
}

std::string serialize(const response& response) {
    std::string out = serialize_head(response);
    if (has_body(response.status)) out.append(response.body);
    return out;
}

response text_response(status_code status, std::string body) {
    return typed_response(status, "text/plain; charset=utf-8", std::move(body));
}

response json_response(status_code status, std::string body) {
    return typed_response(status, "application/json", std::move(body));
}

response refusal_response(const refusal& refusal) {
    return text_response(refusal.status, std::string{refusal.reason} + '\n');
}

}  // namespace kephas::http
