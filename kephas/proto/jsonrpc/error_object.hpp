#pragma once

#include <kephas/proto/json/value.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace kephas::jsonrpc {

/// Why a call failed (JSON-RPC 2.0, section 5.1).
struct error_object {
    std::int64_t code = 0;
    std::string message;
    std::optional<json> data;
    bool operator==(const error_object&) const = default;
};

inline constexpr std::int64_t parse_error_code = -32700;       ///< The text is not JSON.
inline constexpr std::int64_t invalid_request_code = -32600;   ///< JSON, but not a request.
inline constexpr std::int64_t method_not_found_code = -32601;  ///< No such method.
inline constexpr std::int64_t invalid_params_code = -32602;    ///< The method takes other parameters.
inline constexpr std::int64_t internal_error_code = -32603;    ///< A fault of ours; the details are in our log.
inline constexpr std::int64_t server_error_code = -32000;      ///< What a handler reports, unless it says otherwise.

[[nodiscard]] inline error_object parse_error(std::optional<json> data = {}) {
    return {parse_error_code, "Parse error", std::move(data)};
}
[[nodiscard]] inline error_object invalid_request(std::optional<json> data = {}) {
    return {invalid_request_code, "Invalid Request", std::move(data)};
}
[[nodiscard]] inline error_object method_not_found(std::optional<json> data = {}) {
    return {method_not_found_code, "Method not found", std::move(data)};
}
[[nodiscard]] inline error_object invalid_params(std::optional<json> data = {}) {
    return {invalid_params_code, "Invalid params", std::move(data)};
}
[[nodiscard]] inline error_object internal_error(std::optional<json> data = {}) {
    return {internal_error_code, "Internal error", std::move(data)};
}
[[nodiscard]] inline error_object server_error(std::string_view message, std::optional<json> data = {}) {
    return {server_error_code, std::string{message}, std::move(data)};
}

}  // namespace kephas::jsonrpc
