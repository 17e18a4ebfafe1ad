#pragma once

#include <kephas/proto/websocket/close_code.hpp>

#include <cstdint>
#include <string>

namespace kephas {

enum class close_initiator : std::uint8_t {
    peer,       ///< The client sent the first close frame.
    server,     ///< We did: a `close()`, a limit, a drain.
    transport,  ///< Nobody: the connection ended or fell silent.
};

/// Why a client is gone.
struct close_info {
    close_code code = close_code::abnormal;
    std::string reason{};
    close_initiator initiator = close_initiator::transport;
    bool clean = false;  ///< Both close frames were exchanged.

    bool operator==(const close_info&) const = default;
};

}  // namespace kephas
