#include <kephas/proto/http/status.hpp>

namespace kephas::http {

std::string_view reason_phrase(status_code code) noexcept {
    switch (code) {
        case status_code::switching_protocols: return "Switching Protocols";
        case status_code::ok: return "OK";
        case status_code::no_content: return "No Content";
        case status_code::moved_permanently: return "Moved Permanently";
        case status_code::found: return "Found";
        case status_code::not_modified: return "Not Modified";
        case status_code::bad_request: return "Bad Request";
        case status_code::unauthorized: return "Unauthorized";
        case status_code::forbidden: return "Forbidden";
        case status_code::not_found: return "Not Found";
        case status_code::method_not_allowed: return "Method Not Allowed";
        case status_code::request_timeout: return "Request Timeout";
        case status_code::content_too_large: return "Content Too Large";
        case status_code::uri_too_long: return "URI Too Long";
        case status_code::upgrade_required: return "Upgrade Required";
        case status_code::too_many_requests: return "Too Many Requests";
        case status_code::header_fields_too_large: return "Request Header Fields Too Large";
        case status_code::internal_server_error: return "Internal Server Error";
        case status_code::not_implemented: return "Not Implemented";
        case status_code::service_unavailable: return "Service Unavailable";
        case status_code::version_not_supported: return "HTTP Version Not Supported";
    }
    return "Unknown";
}

}  // namespace kephas::http
