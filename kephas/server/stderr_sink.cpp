#include <kephas/server/stderr_sink.hpp>

#include <fmt/chrono.h>

#include <cstdio>
#include <ctime>

namespace kephas {

log_sink stderr_sink() {
    return [](log_level level, std::string_view line) {
        const std::string text =
            fmt::format("{:%Y-%m-%dT%H:%M:%SZ} {:<7} {}\n", fmt::gmtime(std::time(nullptr)), to_string(level), line);
        std::fwrite(text.data(), 1, text.size(), stderr);  // one call, so that lines of different threads never mix
    };
}

}  // namespace kephas
