#include <kephas/proto/websocket/deflater.hpp>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace kephas::websocket {

namespace {

constexpr int smallest_window = 9;  // zlib cannot compress for a window of 8 bits
constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

}  // namespace

deflater::deflater(codec_lender& lender, const deflate_options& options, bool context_takeover,
                   int window_bits) noexcept
    : lender_{lender},
      threshold_{window_bits < smallest_window ? never : std::max<std::size_t>(options.threshold, 1)},
      window_bits_{static_cast<std::uint8_t>(window_bits)},
      level_{static_cast<std::uint8_t>(options.level)},
      memory_level_{static_cast<std::uint8_t>(options.memory_level)},
      context_takeover_{context_takeover} {}

deflater::~deflater() = default;

std::optional<slice> deflater::deflate(std::span<const bytes_view> parts) {
    std::size_t size = 0;
    for (const bytes_view part : parts) size += part.size();
    if (!wants(size)) return std::nullopt;
    if (!context_) {
        context_ = context_takeover_ ? std::make_unique<deflate_context>(window_bits_, level_, memory_level_)
                                     : lender_.borrow_deflate(window_bits_);
    }
    std::vector<std::byte> out;
    out.reserve(std::clamp<std::size_t>(size / 2, 256, 64 * 1024));
    // With context takeover the context has moved on, and the peer's has to follow, even if nothing is saved.
    const bool smaller = context_->deflate(parts, out, context_takeover_ ? never : size - 1);
    if (!context_takeover_) lender_.give_back(std::exchange(context_, nullptr));
    if (!smaller) return std::nullopt;
    return slice::copy(out);
}

}  // namespace kephas::websocket
