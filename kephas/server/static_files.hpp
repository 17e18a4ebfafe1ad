#pragma once

#include <kephas/proto/http/response.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace kephas {

/// The response with the file that `target` names below `root`; `nullopt` if there is none, if it lies outside
/// through a link, is no regular file, or has more than `limit` bytes. Reads from the disk, so it may block.
/// `has_room` is asked, once and last, whether so many bytes may be loaded.
[[nodiscard]] std::optional<http::response> load_file(const std::filesystem::path& root, std::string_view target,
                                                      const std::function<bool(std::size_t)>& has_room,
                                                      std::size_t limit = 16 * 1024 * 1024);

}  // namespace kephas
