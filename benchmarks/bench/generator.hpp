#pragma once

#include "connection.hpp"
#include "histogram.hpp"
#include "options.hpp"
#include "server_process.hpp"
#include "workload.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace bench {

struct measurement {
    histogram latencies;  ///< Nanoseconds; its count is the number of messages.
    double seconds = 0;
    std::int64_t server_cpu_nanoseconds = 0;
};

/// All connections, on one epoll loop. Throws server_fault when a reply is wrong, the server ends a connection, or
/// nothing happens for ten seconds: no message is lost without being noticed.
class generator {
public:
    explicit generator(const options&);
    generator(const generator&) = delete;
    generator& operator=(const generator&) = delete;
    ~generator();

    /// Opens `count` more connections, one after the other. A server that is not up yet is given five seconds.
    void connect(std::size_t count);

    /// Sends, at first unmeasured, and returns when the measured window is over and every message was answered.
    [[nodiscard]] measurement measure(const server_process* server);

    /// Ends the connections and returns how many of them the server has ended properly.
    [[nodiscard]] std::size_t say_goodbye();

private:
    void flush(connection&);
    void turn();
    void turn_until(const std::function<bool()>& done);

    const options& options_;
    workload workload_;
    int epoll_;
    std::deque<connection> connections_;
    std::vector<std::uint8_t> scratch_;
    histogram latencies_;
    bool sending_ = false;
    std::size_t ended_ = 0;
    std::int64_t now_ = 0;  // of the current turn, in nanoseconds
};

}  // namespace bench
