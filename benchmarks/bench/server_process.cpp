#include "server_process.hpp"

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace bench {

server_process::server_process(pid_t pid) : pid_{pid} {
    if (const int error = clock_getcpuclockid(pid, &cpu_clock_); error != 0)
        throw std::system_error{error, std::generic_category(), "no process " + std::to_string(pid)};
}

std::int64_t server_process::cpu_nanoseconds() const {
    timespec used{};
    if (clock_gettime(cpu_clock_, &used) != 0)
        throw std::system_error{errno, std::generic_category(), "CPU time of the server"};
    return std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

std::int64_t server_process::resident_bytes() const {
    std::ifstream rollup{"/proc/" + std::to_string(pid_) + "/smaps_rollup"};
    for (std::string word; rollup >> word;) {
        std::int64_t kib = 0;
        if (word == "Rss:" && rollup >> kib) return kib * 1024;
    }
    throw std::runtime_error{"cannot read the resident memory of process " + std::to_string(pid_)};
}

}  // namespace bench
