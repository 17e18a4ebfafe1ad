#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

/// Where a WebSocket server is (RFC 6455 section 3).
struct url {
    bool tls = false;       ///< wss.
    std::string host;       ///< A name, an IPv4 address, or an IPv6 address without its brackets.
    std::uint16_t port{};   ///< 80 or 443 unless the text names another.
    std::string target;     ///< Path and query, as they stand in the request.
    std::string authority;  ///< What the Host field says: host and port as they were written.
    std::string text;       ///< The whole of it.
};

/// Throws std::invalid_argument that says what is wrong with `text`.
[[nodiscard]] url parse_url(std::string_view text);

}  // namespace bench
