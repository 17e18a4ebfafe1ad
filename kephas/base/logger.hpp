#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace kephas {

enum class log_level : std::uint8_t { debug, info, warning, error, off };

[[nodiscard]] std::string_view to_string(log_level level) noexcept;

/// Receives one line at a time, without a line break. Called from any thread, several at once: it does its own locking.
using log_sink = std::function<void(log_level, std::string_view line)>;

/// `text` with everything but printable ASCII written as `\xNN` and cut after `limit` bytes, so that what a peer
/// sent can neither forge a line of the log nor flood it.
[[nodiscard]] std::string escaped(std::string_view text, std::size_t limit = 200);

/// A level and a sink. Values of it share the sink; copying one is cheap. A line below the level is never formatted.
class logger {
public:
    logger() = default;  ///< Logs nothing.
    logger(log_level level, log_sink sink) : level_{level}, sink_{std::move(sink)} {}

    [[nodiscard]] bool enabled(log_level level) const noexcept { return level >= level_ && sink_ != nullptr; }

    template <class... Args>
    void log(log_level level, fmt::format_string<Args...> format, Args&&... args) const {
        if (enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
    }
    template <class... Args>
    void debug(fmt::format_string<Args...> format, Args&&... args) const {
        log(log_level::debug, format, std::forward<Args>(args)...);
    }
    template <class... Args>
    void info(fmt::format_string<Args...> format, Args&&... args) const {
        log(log_level::info, format, std::forward<Args>(args)...);
    }
    template <class... Args>
    void warning(fmt::format_string<Args...> format, Args&&... args) const {
        log(log_level::warning, format, std::forward<Args>(args)...);
    }
    template <class... Args>
    void error(fmt::format_string<Args...> format, Args&&... args) const {
        log(log_level::error, format, std::forward<Args>(args)...);
    }

private:
    void write(log_level level, std::string_view line) const noexcept;  // a sink that throws loses the line only

    log_level level_ = log_level::off;
    log_sink sink_;
};

}  // namespace kephas
