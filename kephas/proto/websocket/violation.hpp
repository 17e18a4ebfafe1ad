#pragma once

#include <kephas/proto/websocket/close_code.hpp>

#include <string>

namespace kephas {

/// Why the peer's bytes cannot be decoded any further.
struct violation {
    close_code code = close_code::protocol_error;
    std::string reason;
};

}  // namespace kephas
