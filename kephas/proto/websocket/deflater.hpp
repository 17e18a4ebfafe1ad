#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/websocket/deflate_codec.hpp>
#include <kephas/proto/websocket/deflate_options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace kephas::websocket {

/// The messages that one connection sends, or a broadcast for many: compressed one after the other (RFC 7692 7.2.1).
/// Throws nothing but `std::bad_alloc`.
class deflater {
public:
    /// With context takeover it has a context of its own, from the first message on; otherwise one is borrowed for each
    /// message. With a window of 8 bits nothing is compressed. `lender` must outlive the deflater.
    deflater(codec_lender& lender, const deflate_options& options, bool context_takeover, int window_bits) noexcept;
    deflater(const deflater&) = delete;
    deflater& operator=(const deflater&) = delete;
    ~deflater();

    /// Whether a message of that size is to be compressed at all.
    [[nodiscard]] bool wants(std::size_t payload_size) const noexcept { return payload_size >= threshold_; }
    /// The payload of the compressed message whose bytes are `parts`, one behind the other. Nothing if it would not be
    /// smaller: then the message goes as it is. What has been compressed with context takeover has to be sent, in order.
    [[nodiscard]] std::optional<slice> deflate(std::span<const bytes_view> parts);

private:
    codec_lender& lender_;
    std::unique_ptr<deflate_context> context_;
    std::size_t threshold_;
    std::uint8_t window_bits_;
    std::uint8_t level_;
    std::uint8_t memory_level_;
    bool context_takeover_;
};

}  // namespace kephas::websocket
