#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What the long proofs share: clients on plain sockets, without any code of kephas's, and figures.
namespace soak {

/// A connected TCP socket to the loopback interface; `receive_buffer` bounds what the kernel takes for a client that does
/// not read. Throws `std::runtime_error`.
[[nodiscard]] int connect_to(std::uint16_t port, int receive_buffer = 0);
/// The opening handshake; what comes behind the answer may be lost. Throws.
void handshake(int socket, std::string_view target);
/// Sends a command with one short masked frame. Throws.
void send_command(int socket, std::uint32_t command, std::string_view payload);
/// Sends a command and waits for its answer, which must be the same. Returns the microseconds that took. Throws.
double echo(int socket, std::uint32_t command, std::string_view payload);

/// A line of /proc/self/status, in KiB: "VmRSS:", "VmHWM:" (the peak).
[[nodiscard]] long memory(std::string_view line);

class latencies {
public:
    void add(double value) { values_.push_back(value); }
    /// 0.5 is the median; 0 without values.
    [[nodiscard]] double quantile(double q);
    [[nodiscard]] std::size_t count() const noexcept { return values_.size(); }

private:
    std::vector<double> values_;
};

}  // namespace soak
