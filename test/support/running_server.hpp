#pragma once

#include <kephas/kephas.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kephas::test {

/// Lines of a log, to be waited for. Thread-safe.
class log_lines {
public:
    [[nodiscard]] logger as_logger(log_level level = log_level::debug) {
        return logger{level, [this](log_level, std::string_view line) {
                          const std::lock_guard lock{mutex_};
                          lines_.emplace_back(line);
                          changed_.notify_all();
                      }};
    }
    /// Waits for a line that contains `text`; false after ten seconds.
    bool wait_for(std::string_view text) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return contains(text); });
    }
    [[nodiscard]] std::vector<std::string> all() {
        const std::lock_guard lock{mutex_};
        return lines_;
    }

private:
    [[nodiscard]] bool contains(std::string_view text) const {
        for (const auto& line : lines_) {
            if (line.find(text) != std::string::npos) return true;
        }
        return false;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> lines_;
};

/// Options for a server on a free port of the loopback interface, with few threads and without noise.
[[nodiscard]] inline server_options quiet_options() {
    server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.io_threads = 1;
    options.pool_threads = 2;
    options.log = logger{};
    return options;
}

/// An owned server that runs in a thread until it is stopped or destroyed.
class running_server {
public:
    explicit running_server(router routes, server_options options = quiet_options())
        : server_{std::move(routes), std::move(options)} {
        server_.listen();
        thread_ = std::thread{[this] { report_ = server_.run(); }};
    }
    ~running_server() { stop(); }
    running_server(const running_server&) = delete;
    running_server& operator=(const running_server&) = delete;

    drain_report stop() {
        if (thread_.joinable()) server_.stop();
        return wait();
    }
    /// The report of a server that was told to stop already.
    drain_report wait() {
        if (thread_.joinable()) thread_.join();
        return report_;
    }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }
    [[nodiscard]] kephas::server& operator*() noexcept { return server_; }
    [[nodiscard]] kephas::server* operator->() noexcept { return &server_; }

private:
    kephas::server server_;
    drain_report report_;
    std::thread thread_;
};

/// Waits until `condition` holds, looking often; false after ten seconds. For states that nothing announces.
template <class Condition>
bool eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

}  // namespace kephas::test
