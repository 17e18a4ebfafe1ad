#pragma once

#include <sys/types.h>

namespace kephas {

/// Which process has opened a connection over a Unix socket, as the kernel knows it (SO_PEERCRED of unix(7)). It may have
/// ended, or have given the socket to another one, since.
struct peer_credentials {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;

    bool operator==(const peer_credentials&) const = default;
};

}  // namespace kephas
