#include <kephas/base/logger.hpp>

namespace kephas {

std::string_view to_string(log_level level) noexcept {
    switch (level) {
        case log_level::debug: return "debug";
        case log_level::info: return "info";
        case log_level::warning: return "warning";
        case log_level::error: return "error";
        case log_level::off: return "off";
    }
    return "unknown";
}

std::string escaped(std::string_view text, std::size_t limit) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text.substr(0, limit)) {
        const bool printable = c >= 0x20 && c < 0x7F && c != '\\';
        if (printable) out += c;
        else out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (text.size() > limit) out += "...";
    return out;
}

void logger::write(log_level level, std::string_view line) const noexcept {
    try {
        sink_(level, line);
    } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell
    }
}

}  // namespace kephas
