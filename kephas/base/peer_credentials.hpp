#pragma once

#include <cstdint>

namespace kephas {

/// Which process has opened a connection over a Unix socket, as the kernel knows it (SO_PEERCRED of unix(7)). It may have
/// ended, or have given the socket to another one, since.
struct peer_credentials {
    std::int32_t pid = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;

    bool operator==(const peer_credentials&) const = default;
};

}  // namespace kephas
