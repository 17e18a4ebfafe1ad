#include <kephas/proto/http/static_path.hpp>

#include <kephas/server/static_files.hpp>

#include <algorithm>
#include <fstream>
#include <string>
#include <system_error>

namespace kephas {

namespace {
bool lies_below(const std::filesystem::path& root, const std::filesystem::path& file) {
    const auto [end_of_root, ignored] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
    return end_of_root == root.end();
}
}  // namespace

std::optional<http::response> load_file(const std::filesystem::path& root, std::string_view target,
                                        const std::function<bool(std::size_t)>& has_room, std::size_t limit) {
    const auto relative = http::static_path(target);
    if (!relative) return std::nullopt;
    std::error_code ec;
    const auto real_root = std::filesystem::canonical(root, ec);
    if (ec) return std::nullopt;
    const auto file = std::filesystem::canonical(real_root / *relative, ec);
    if (ec || !lies_below(real_root, file) || !std::filesystem::is_regular_file(file, ec)) return std::nullopt;
    const auto size = std::filesystem::file_size(file, ec);
    if (ec || size > limit) return std::nullopt;

    std::ifstream in{file, std::ios::binary};
    if (!in || !has_room(size)) return std::nullopt;
    http::response response;
    response.body.resize(size);
    if (!in.read(response.body.data(), static_cast<std::streamsize>(size))) return std::nullopt;
    response.headers = {{"Content-Type", std::string{http::content_type(*relative)}},
                        {"X-Content-Type-Options", "nosniff"},
                        {"Cache-Control", "no-cache"}};
    return response;
}

}  // namespace kephas
