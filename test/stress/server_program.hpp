#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

namespace stress {

/// The stress server in a process of its own, ended with the object. Throws `std::runtime_error` if it does not start.
class server_program {
public:
    server_program();
    server_program(const server_program&) = delete;
    server_program& operator=(const server_program&) = delete;
    ~server_program();

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    void terminate() const;
    /// Waits until it has ended; its exit code, or minus the signal that ended it.
    int wait();

private:
    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
};

}  // namespace stress
