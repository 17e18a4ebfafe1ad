#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/growth.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/inflater.hpp>
#include <kephas/proto/websocket/mask.hpp>
#include <kephas/proto/websocket/opcode.hpp>
#include <kephas/proto/websocket/utf8.hpp>
#include <kephas/proto/websocket/violation.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace kephas::websocket {

/// What a decoder accepts.
struct decoder_options {
    std::size_t max_binary_message = 10 * 1024 * 1024 + 4;  ///< Bytes of payload, all fragments together. More: 1009.
    std::size_t max_text_message = 512 * 1024;              ///< The same for text.
    std::uint32_t max_fragments = 131'072;                  ///< Per message. More: 1008.
    std::uint32_t max_empty_fragments = 1'024;              ///< In a row. More: 1008.
};

/// A complete data message, or a control frame.
struct decoded {
    opcode op = opcode::binary;  ///< Never `continuation`.
    slice payload;  ///< Unmasked, inflated; valid UTF-8 if it is text. A part of the input, or a buffer of its own.
};

/// The receiving half of RFC 6455 section 5, for either role: frames in, messages and control frames out.
///
/// Frames are unmasked where they lie, and one that arrived complete leaves as a part of the input. A message that
/// arrives in pieces is assembled in a buffer that holds at most twice what has arrived (256 bytes at least), whatever
/// its header announces. A compressed message is inflated as it arrives (see `inflater`), and all limits are those of
/// what it inflates to. Throws nothing but `std::bad_alloc`.
class decoder {
public:
    explicit decoder(role self, const decoder_options& options = {}) noexcept;

    /// permessage-deflate was negotiated. To be called before the first bytes; without it RSV1 is a violation.
    void use_deflate(std::unique_ptr<inflater> inflater) noexcept { inflater_ = std::move(inflater); }

    /// Where the next bytes would best be read to, or an empty span. Valid until the next call of a member that
    /// is not const.
    [[nodiscard]] mutable_bytes want() const noexcept;
    /// More bytes, unmasked in place: the caller must be their only user. They are let go as soon as `next()` has
    /// consumed them.
    void feed(slice input);
    /// `size` bytes were read to the span that `want()` gave.
    void commit(std::size_t size);

    /// The next message or control frame; none when it needs more bytes, after a close frame, or when `failed()`.
    /// Control frames inside a fragmented message come before it. Everything that was complete before a
    /// violation comes before it.
    [[nodiscard]] std::optional<decoded> next();
    /// The next message if it is the first thing in the input, one short frame, and all of it is there; none says nothing.
    [[nodiscard]] std::optional<decoded> next_if_whole() noexcept;

    [[nodiscard]] bool failed() const noexcept { return fault_ > fault::closed; }
    /// Why it failed. Only valid if it did.
    [[nodiscard]] violation failure() const;

    /// The input that is in use.
    [[nodiscard]] const slice& input() const noexcept { return input_; }
    /// Whether `next()` has something left to look at.
    [[nodiscard]] bool pending() const noexcept;
    /// Whether a frame or a message has begun to arrive, and not ended.
    [[nodiscard]] bool unfinished() const noexcept;
    /// How much of the payload of the unfinished message has arrived.
    [[nodiscard]] std::size_t arrived() const noexcept { return compressed_ ? inflater_->arrived() : assembled_; }
    /// The size of the memory in which the unfinished message is assembled.
    [[nodiscard]] std::size_t capacity() const noexcept {
        return compressed_ ? inflater_->capacity() : assembly_.size();
    }

    /// Lets go of all memory and ignores whatever comes from now on.
    void stop() noexcept;

    static constexpr std::size_t direct_threshold = steady_growth_from;  ///< `want()` asks only for more missing bytes than this.

private:
    enum class fault : std::uint8_t {
        none,
        closed,  // not a fault: a close frame ended the conversation
        reserved_bits,
        reserved_opcode,
        mask_missing,
        mask_present,
        length_not_minimal,
        length_out_of_range,
        control_fragmented,
        control_too_long,
        nothing_to_continue,
        message_not_finished,
        binary_too_big,
        text_too_big,
        too_many_fragments,
        too_many_empty_fragments,
        close_too_short,
        close_code_invalid,
        close_reason_not_utf8,
        text_not_utf8,
        not_deflate,
    };

    [[nodiscard]] std::size_t whole_message() const noexcept;
    std::optional<decoded> take_whole(std::size_t size) noexcept;
    bool read_header();
    std::size_t parse_header(const std::byte* from, std::size_t available) noexcept;
    void begin_frame(opcode op, bool fin, bool rsv1, std::uint64_t size) noexcept;
    std::optional<decoded> read_payload();
    std::optional<decoded> read_compressed();
    std::optional<decoded> end_compressed();
    bool accept(inflater::status status) noexcept;
    std::optional<decoded> end_frame();
    decoded deliver(slice payload) noexcept;
    void assemble(std::size_t size) noexcept;
    void check_close(bytes_view payload) noexcept;
    bool check_text(bytes_view bytes) noexcept;
    void make_room(std::size_t capacity);
    void make_room_for_direct();
    slice take_input(std::size_t size) noexcept;
    void unmask(mutable_bytes bytes) noexcept;
    void fail(fault why) noexcept;
    [[nodiscard]] std::size_t message_limit() const noexcept;
    [[nodiscard]] std::size_t largest_message() const noexcept;

    slice input_;
    std::size_t consumed_ = 0;  // of input_
    slice assembly_;
    std::size_t assembled_ = 0;  // of assembly_: payload of the unfinished message, of all fragments so far
    slice control_;              // a control frame that arrives in pieces
    std::size_t missing_ = 0;    // payload of the current frame that has not arrived
    std::size_t max_binary_message_;
    std::size_t max_text_message_;
    std::uint32_t max_fragments_;
    std::uint32_t max_empty_fragments_;
    std::uint32_t fragments_ = 0;
    std::uint32_t empty_fragments_ = 0;  // in a row
    mask_key mask_{};                    // turned to the next byte of the current frame
    std::array<std::byte, 14> head_{};   // a header that was cut
    std::uint8_t head_size_ = 0;
    role role_;
    bool in_frame_ = false;  // a header was read and its payload is not complete
    bool fin_ = false;
    bool compressed_ = false;                // the unfinished message; then there is an inflater
    opcode frame_ = opcode::continuation;    // of the current frame
    opcode message_ = opcode::continuation;  // of the unfinished message; continuation if there is none
    utf8_checker text_;
    fault fault_ = fault::none;
    std::unique_ptr<inflater> inflater_;  // if permessage-deflate was negotiated
};

static_assert(sizeof(decoder) <= 168 || sizeof(void*) != 8, "there is one for every idle connection");

}  // namespace kephas::websocket
