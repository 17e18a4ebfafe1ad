#pragma once

#include <cstdint>
#include <string_view>

namespace kephas {

/// Why a WebSocket connection ends: a status code of RFC 6455 7.4, or one of ours from 3000 on.
enum class close_code : std::uint16_t {
    normal = 1000,               ///< The purpose of the connection is fulfilled.
    going_away = 1001,           ///< The server drains, or the page is left.
    protocol_error = 1002,       ///< The peer broke RFC 6455, or sent a command shorter than its id.
    unsupported_data = 1003,     ///< A kind of message that this endpoint does not take.
    no_status = 1005,            ///< Never on the wire: the close frame had no code.
    abnormal = 1006,             ///< Never on the wire: the connection ended without a close frame.
    invalid_payload = 1007,      ///< Text that is not UTF-8.
    policy_violation = 1008,     ///< Too many messages, an origin or a token that is not accepted.
    message_too_big = 1009,      ///< Decided at the frame header, before the payload is buffered.
    mandatory_extension = 1010,  ///< Sent by clients only.
    internal_error = 1011,       ///< A handler of ours failed in a way that ends the connection.
    service_restart = 1012,      ///< The server restarts: come back soon.
    try_again_later = 1013,      ///< The server is overloaded.
    bad_gateway = 1014,
    tls_handshake = 1015,  ///< Never on the wire.
    slow_consumer = 3008,  ///< The client does not read as fast as it is written to.
};

/// Whether the code may stand in a close frame that is received (RFC 6455 7.4.1 and 7.4.2).
[[nodiscard]] bool is_valid_on_wire(close_code code) noexcept;

/// Whether a client that was closed with `code` should come back: after 1001, 1005, 1006 and 1011 to 1014,
/// and from 3000 on after codes whose last three digits are below 500.
[[nodiscard]] constexpr bool may_reconnect(close_code code) noexcept {
    const auto value = static_cast<unsigned>(code);
    if (value >= 3000) return value % 1000 < 500;
    return value == 1001 || value == 1005 || value == 1006 || (value >= 1011 && value <= 1014);
}

/// `reason` cut to what fits into a close frame (123 bytes), at a character boundary.
[[nodiscard]] std::string_view fitting_reason(std::string_view reason) noexcept;

}  // namespace kephas
