#pragma once

#include <fcntl.h>
#include <sys/socket.h>

namespace kephas::test {

/// How many sockets of this process a program that it starts would have.
inline int inheritable_sockets() {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) {
        int type = 0;
        socklen_t size = sizeof(type);
        if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && (::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) ++count;
    }
    return count;
}

}  // namespace kephas::test
