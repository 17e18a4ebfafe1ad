#pragma once

#include <kephas/proto/http/header.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kephas::http {

/// One parameter of a WebSocket extension: a name, and a value if there was a `=`.
struct extension_parameter {
    std::string name;
    std::optional<std::string> value;

    bool operator==(const extension_parameter&) const = default;
};

/// One element of Sec-WebSocket-Extensions, with its parameters as they came: doubles are kept.
struct extension {
    std::string name;
    std::vector<extension_parameter> parameters;

    bool operator==(const extension&) const = default;
};

/// The elements of all Sec-WebSocket-Extensions headers, in order (RFC 6455 9.1). Quoted values are unquoted, and are
/// tokens then, as the RFC demands. `nullopt` when the list is malformed.
[[nodiscard]] std::optional<std::vector<extension>> parse_extensions(std::span<const header> headers);

}  // namespace kephas::http
