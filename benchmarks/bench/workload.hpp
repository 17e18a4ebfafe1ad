#pragma once

#include "calls.hpp"
#include "options.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bench {

/// The messages, made once. All have the same bytes but for a number, so a row of masked frames stands ready that every
/// connection sends from after its numbers were put in.
///
///     [command id, 4 bytes, if any][number, 8 printable bytes or what the payload has room for][letters]
///
/// or a call, whose number is its id.
class workload {
public:
    explicit workload(const options&);

    [[nodiscard]] std::size_t message_size() const noexcept { return message_.size(); }
    [[nodiscard]] std::uint8_t first_byte() const noexcept { return first_byte_; }  ///< FIN and opcode of each frame.

    /// The part of a message up to the end of its number; at most 12 bytes.
    [[nodiscard]] std::size_t prefix_size() const noexcept { return number_at_ + number_size_; }

    [[nodiscard]] std::size_t frame_size() const noexcept { return frame_size_; }
    [[nodiscard]] std::size_t row_length() const noexcept { return row_length_; }
    [[nodiscard]] const std::uint8_t* row() const noexcept { return row_.data(); }

    /// Makes frame `index` of the row the message with this number.
    void put_number(std::size_t index, std::uint64_t number) noexcept;

    /// Whether `bytes` are what a message has at `offset`, which must not be before the end of the prefix.
    [[nodiscard]] bool matches(std::size_t offset, std::span<const std::uint8_t> bytes) const noexcept;

    /// Whether this is the prefix of the message with this number.
    [[nodiscard]] bool prefix_matches(const std::uint8_t* prefix, std::uint64_t number) const noexcept;

    /// If the messages are calls, what is to be known about their replies; otherwise null.
    [[nodiscard]] calls* replies_to_calls() noexcept { return calls_ ? &*calls_ : nullptr; }

    /// Whether a reply tells by its number which message it answers.
    [[nodiscard]] bool numbered() const noexcept { return number_size_ == 8; }

    /// The number in a prefix; any value if it is not one of ours.
    [[nodiscard]] std::uint64_t number_in(const std::uint8_t* prefix) const noexcept;

    /// `count` bytes, or as many as there are, of the message with this number.
    [[nodiscard]] std::vector<std::uint8_t> part_of(std::uint64_t number, std::size_t offset, std::size_t count) const;

private:
    [[nodiscard]] std::array<std::uint8_t, 8> number_text(std::uint64_t number) const noexcept;

    std::optional<calls> calls_;
    std::vector<std::uint8_t> message_;  // unmasked, its number 0
    std::uint8_t first_byte_;
    std::size_t number_at_;
    std::size_t number_size_;
    std::size_t header_size_ = 0;
    std::size_t frame_size_ = 0;
    std::size_t row_length_ = 0;
    std::vector<std::uint8_t> row_;
};

/// A masked control frame with a payload of at most 125 bytes.
[[nodiscard]] std::vector<std::uint8_t> masked_control(std::uint8_t opcode, std::span<const std::uint8_t> payload);

}  // namespace bench
