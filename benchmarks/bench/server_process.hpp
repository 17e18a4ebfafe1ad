#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>

namespace bench {

/// The process of the server, seen from outside.
class server_process {
public:
    /// Throws std::system_error if there is no such process.
    explicit server_process(pid_t pid);

    /// Nanoseconds that all its threads have been on a CPU since it started, those that have ended included. The kernel
    /// keeps this sum to the nanosecond (it is the first field of /proc/PID/task/*/schedstat), unlike the ticks of
    /// /proc/PID/stat.
    [[nodiscard]] std::int64_t cpu_nanoseconds() const;

    /// Resident memory, exactly: the counters of /proc/PID/statm lag by up to some hundred pages.
    [[nodiscard]] std::int64_t resident_bytes() const;

private:
    pid_t pid_;
    clockid_t cpu_clock_{};
};

}  // namespace bench
