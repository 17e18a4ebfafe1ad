#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/websocket/deflate_codec.hpp>
#include <kephas/proto/websocket/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace kephas::websocket {

/// The compressed messages that one connection receives (RFC 7692 7.2.2), one after the other. Each is inflated, and
/// measured, and checked if it is text, as its bytes arrive; they are not kept.
///
/// What has been inflated lies in pieces that grow with it and never add up to more than the limit, so that a message
/// that exceeds it has cost no more than that. A message of more than one piece is put together at its end, and costs
/// twice its size for that moment. Throws nothing but `std::bad_alloc`.
class inflater {
public:
    enum class status : std::uint8_t {
        good,
        too_big,   ///< There is more than the limit.
        invalid,   ///< This is not DEFLATE, or it ends in the middle.
        not_utf8,  ///< It is text, and cannot become valid.
    };

    /// With context takeover the connection has a context of its own, from its first compressed message on; otherwise
    /// one is borrowed while a message is unfinished. `lender` must outlive the inflater.
    inflater(codec_lender& lender, bool context_takeover, int window_bits) noexcept;
    inflater(const inflater&) = delete;
    inflater& operator=(const inflater&) = delete;
    ~inflater();

    /// A message begins that may inflate to at most `limit` bytes.
    void begin(std::size_t limit, bool is_text) noexcept;
    /// A frame of that size is announced: false if the compressed message becomes larger than any that is within the
    /// limit needs to be (by an eighth and 1 KiB).
    [[nodiscard]] bool expect(std::uint64_t size) noexcept;
    /// More of the compressed message.
    [[nodiscard]] status consume(bytes_view compressed);
    /// It is complete.
    [[nodiscard]] status finish();
    /// The message; once, after `finish`.
    [[nodiscard]] slice take();

    /// How many compressed bytes of the message have arrived.
    [[nodiscard]] std::size_t arrived() const noexcept { return arrived_; }
    /// How much memory holds what was inflated of it.
    [[nodiscard]] std::size_t capacity() const noexcept;

    /// Lets go of all memory: nothing follows.
    void stop() noexcept;

private:
    [[nodiscard]] status inflate(bytes_view compressed);
    void add_piece(std::size_t compressed);

    codec_lender& lender_;
    std::unique_ptr<inflate_context> context_;
    std::vector<slice> pieces_;
    std::size_t filled_ = 0;     // of the last piece
    std::size_t size_ = 0;       // of all pieces
    std::size_t limit_ = 0;      // for that
    std::size_t announced_ = 0;  // compressed bytes
    std::size_t arrived_ = 0;    // of those
    std::uint8_t window_bits_;
    bool context_takeover_;
    bool is_text_ = false;
    utf8_checker text_;
};

}  // namespace kephas::websocket
