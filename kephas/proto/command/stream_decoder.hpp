#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/growth.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/websocket/violation.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace kephas {

/// The receiving half of commands over a stream, for either side: each message is a u32 big-endian length and as many
/// bytes of a command frame (`command/frame.hpp`). A length of 0 is a keep-alive; 1 to 3 leave no room for an id, and
/// more than the limit is too big: both are decided at the length, before anything is kept.
///
/// A message that arrived complete leaves as a part of the input. One that arrives in pieces is assembled in a buffer that
/// holds at most twice what has arrived (256 bytes at least), whatever its length announces.
/// Throws nothing but `std::bad_alloc`.
class stream_decoder {
public:
    /// `max_message` is in bytes, command id included.
    explicit stream_decoder(std::size_t max_message) noexcept : max_message_{max_message} {}

    /// Where the next bytes would best be read to, or an empty span. Valid until the next call of a member that
    /// is not const.
    [[nodiscard]] mutable_bytes want() const noexcept;
    /// More bytes. They are let go as soon as `next()` has consumed them.
    void feed(slice input);
    /// `size` bytes were read to the span that `want()` gave.
    void commit(std::size_t size);

    /// The next message, of which an empty one is a keep-alive; none when it needs more bytes, or when `failed()`.
    /// Everything that was complete before a violation comes before it.
    [[nodiscard]] std::optional<slice> next();

    [[nodiscard]] bool failed() const noexcept { return fault_ > fault::stopped; }
    /// Why it failed. Only valid if it did.
    [[nodiscard]] violation failure() const;

    /// The input that is in use.
    [[nodiscard]] const slice& input() const noexcept { return input_; }
    /// Whether `next()` has something left to look at.
    [[nodiscard]] bool pending() const noexcept;
    /// Whether a message has begun to arrive, and not ended.
    [[nodiscard]] bool unfinished() const noexcept {
        return fault_ == fault::none && (size_ > 0 || head_size_ > 0);
    }
    /// How much of the unfinished message has arrived.
    [[nodiscard]] std::size_t arrived() const noexcept { return assembled_; }
    /// The size of the memory in which the unfinished message is assembled.
    [[nodiscard]] std::size_t capacity() const noexcept { return assembly_.size(); }

    /// Lets go of all memory and ignores whatever comes from now on.
    void stop() noexcept;

    static constexpr std::size_t direct_threshold = steady_growth_from;  ///< `want()` asks only for more missing bytes.

private:
    enum class fault : std::uint8_t { none, stopped, too_short, too_big };

    bool read_length() noexcept;
    bool begin(std::uint32_t size) noexcept;
    slice take_input(std::size_t size) noexcept;
    void assemble(bytes_view bytes);
    void make_room(std::size_t needed);
    void make_room_for_direct();
    void fail(fault why) noexcept;
    [[nodiscard]] std::size_t missing() const noexcept { return size_ - assembled_; }

    slice input_;
    std::size_t consumed_ = 0;  // of input_
    slice assembly_;
    std::size_t assembled_ = 0;  // of assembly_
    std::size_t max_message_;
    std::uint32_t size_ = 0;            // of the message that arrives; 0: none does
    std::array<std::byte, 4> head_{};   // a length that was cut
    std::uint8_t head_size_ = 0;
    fault fault_ = fault::none;
};

}  // namespace kephas
