#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kephas {

/// Why a connection did not become a WebSocket connection although it wanted to, or was not even asked what it wanted.
enum class refusal_reason : std::uint8_t {
    connections,          ///< 503: as many connections are open as there may be (`connection_limits::total`).
    handshakes,           ///< 503: too many, or too large, unfinished handshakes and HTTP requests.
    address_connections,  ///< 429: as many connections are open as one address may have.
    address_rate,         ///< 429: the address opens them faster than it may.
    clients,              ///< 503: `max_clients` WebSocket connections are open.
    responses,            ///< 503: HTTP responses in flight hold as many bytes as they may.
    draining,             ///< 503: the server is shutting down.
    timed_out,            ///< The request did not arrive, or was not decided, within `handshake_timeout`; no answer.
    malformed,            ///< 4xx or 505: no request that can be understood.
    origin,               ///< 403: a web page that may not connect.
    unauthorized,         ///< Whatever `authorize` has answered.
};

inline constexpr std::size_t refusal_reason_count = 11;

/// "address_rate"
[[nodiscard]] std::string_view to_string(refusal_reason reason) noexcept;

}  // namespace kephas
