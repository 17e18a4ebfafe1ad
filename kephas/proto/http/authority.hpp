#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kephas::http {

/// A host and, if it was named, a port: what a `Host` header holds (RFC 9110 7.2).
struct authority {
    std::string host;  ///< In lower case; an IPv6 address keeps its brackets.
    std::optional<std::uint16_t> port;

    bool operator==(const authority&) const = default;
};

/// Reads `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. Names may hold letters, digits and `-._~%`; user information
/// is refused. An empty port counts as none (RFC 3986 3.2.3).
[[nodiscard]] std::optional<authority> parse_authority(std::string_view text);

}  // namespace kephas::http
