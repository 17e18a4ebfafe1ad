#pragma once

#include <kephas/base/bytes.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace kephas::websocket {

/// zlib's state for one raw DEFLATE stream that comes in (RFC 1951). Throws nothing but `std::bad_alloc`.
class inflate_context {
public:
    /// The window in bits, 8 to 15. Whatever the peer agreed to use, a larger one understands it.
    explicit inflate_context(int window_bits = 15);
    ~inflate_context();
    inflate_context(const inflate_context&) = delete;
    inflate_context& operator=(const inflate_context&) = delete;

    /// Forgets everything.
    void reset() noexcept;
    /// Inflates from the front of `in` to the front of `out`, and takes from both what was used: when it returns, one
    /// of them is empty. False if `in` is not DEFLATE. After a final block the stream goes on with the same window
    /// (RFC 7692 7.2.3.4).
    [[nodiscard]] bool inflate(bytes_view& in, mutable_bytes& out);
    /// Whether what came in so far ends with a block, at the end of a byte.
    [[nodiscard]] bool at_boundary() const noexcept { return at_boundary_; }

private:
    struct stream;

    void restart();

    std::unique_ptr<stream> stream_;
    bool at_boundary_ = true;
};

/// zlib's state for one raw DEFLATE stream that goes out. Throws nothing but `std::bad_alloc`.
class deflate_context {
public:
    /// `window_bits` 9 to 15, `level` 1 to 9, `memory_level` 1 to 9.
    deflate_context(int window_bits, int level, int memory_level);
    ~deflate_context();
    deflate_context(const deflate_context&) = delete;
    deflate_context& operator=(const deflate_context&) = delete;

    /// Forgets everything.
    void reset() noexcept;
    /// Appends the compressed `parts` to `out`, flushed to the end of a byte and without the four bytes that every
    /// flush ends with (RFC 7692 7.2.1). False, with the stream in the middle of nowhere, once there would be more
    /// than `limit` bytes.
    [[nodiscard]] bool deflate(std::span<const bytes_view> parts, std::vector<std::byte>& out, std::size_t limit);
    [[nodiscard]] int window_bits() const noexcept { return window_bits_; }

private:
    struct stream;

    bool drain(int flush, std::vector<std::byte>& out, std::size_t limit);

    std::unique_ptr<stream> stream_;
    int window_bits_;
};

/// Lends zlib's contexts to those who need one for a moment.
class codec_lender {
public:
    virtual ~codec_lender() = default;
    /// With a window of 15 bits, reset.
    [[nodiscard]] virtual std::unique_ptr<inflate_context> borrow_inflate() = 0;
    virtual void give_back(std::unique_ptr<inflate_context> context) noexcept = 0;
    /// Reset; 9 to 15 bits.
    [[nodiscard]] virtual std::unique_ptr<deflate_context> borrow_deflate(int window_bits) = 0;
    virtual void give_back(std::unique_ptr<deflate_context> context) noexcept = 0;
};

/// Keeps a few contexts, so that they need not be made anew for each message. Not thread-safe.
class codec_pool final : public codec_lender {
public:
    codec_pool(int level, int memory_level);

    [[nodiscard]] std::unique_ptr<inflate_context> borrow_inflate() override;
    void give_back(std::unique_ptr<inflate_context> context) noexcept override;
    [[nodiscard]] std::unique_ptr<deflate_context> borrow_deflate(int window_bits) override;
    void give_back(std::unique_ptr<deflate_context> context) noexcept override;

    static constexpr std::size_t most_kept = 4;  ///< Of each kind.

private:
    std::vector<std::unique_ptr<inflate_context>> inflating_;
    std::vector<std::unique_ptr<deflate_context>> deflating_;
    int level_;
    int memory_level_;
};

}  // namespace kephas::websocket
