#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/proto/websocket/close_code.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

namespace kephas {

/// Why a client has no connection, or has none any more.
struct connection_end {
    enum class ended_by : std::uint8_t {
        server,     ///< It refused the handshake, or sent the first close frame.
        client,     ///< This side did: `close()`, or the server broke the protocol.
        transport,  ///< Nobody: it was not reached, was lost, or fell silent.
    };

    ended_by by = ended_by::transport;
    close_code code = close_code::abnormal;  ///< 1006 also where there never was a connection.
    std::string reason{};                    ///< The server's text if it ended it: not to be trusted.
    bool clean = false;                      ///< Both sides have said goodbye.
    std::error_code error{};                 ///< What the system or the handshake said; none after a close.
    int status = 0;                          ///< The HTTP status of a handshake that was refused.
    std::optional<duration> retry_after{};   ///< When the server wants to be asked again (RFC 9110 10.2.3).

    bool operator==(const connection_end&) const = default;
};

}  // namespace kephas
