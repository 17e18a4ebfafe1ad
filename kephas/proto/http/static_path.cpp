#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/percent.hpp>
#include <kephas/proto/http/static_path.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace kephas::http {

namespace {

constexpr bool is_forbidden(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\'; }

struct media_type {
    std::string_view extension;
    std::string_view type;
};

constexpr std::array<media_type, 27> media_types = {{
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"json", "application/json"},
    {"map", "application/json"},
    {"webmanifest", "application/manifest+json"},
    {"txt", "text/plain; charset=utf-8"},
    {"md", "text/plain; charset=utf-8"},
    {"ts", "text/plain; charset=utf-8"},  // d.ts: video/mp2t is what others would say
    {"csv", "text/csv; charset=utf-8"},
    {"xml", "text/xml; charset=utf-8"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"ico", "image/x-icon"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"wasm", "application/wasm"},
    {"pdf", "application/pdf"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
}};

}  // namespace

std::optional<std::string> static_path(std::string_view target) {
    auto path = percent_decode(target.substr(0, target.find('?')));
    if (!path || !path->starts_with('/') || std::ranges::any_of(*path, is_forbidden)) return std::nullopt;
    path->erase(0, 1);
    if (path->empty() || path->ends_with('/')) path->append("index.html");
    // after decoding, so that an escaped slash or dot is no way around it
    for (std::string_view rest = *path; !rest.empty();) {
        const std::size_t end = std::min(rest.find('/'), rest.size());
        if (end == 0 || rest.front() == '.') return std::nullopt;
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return path;
}

std::string_view content_type(std::string_view path) noexcept {
    const std::string_view file = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
    const std::size_t dot = file.rfind('.');
    if (dot != std::string_view::npos) {
        const auto extension = file.substr(dot + 1);
        for (const media_type& m : media_types) {
            if (equal_ignoring_case(extension, m.extension)) return m.type;
        }
    }
    return "application/octet-stream";
}

}  // namespace kephas::http
