#include "workload.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace bench {

namespace {

constexpr std::array<std::uint8_t, 4> mask{0x37, 0xFA, 0x21, 0x3D};  // any, but not 0: the server has to unmask
constexpr std::size_t row_bytes = 256 * 1024;
constexpr std::size_t most_at_once = 256;  // of an open loop that has fallen behind

using eight_bytes = std::array<std::uint8_t, 8>;
static_assert(calls::id_digits == 8);

// six bits a byte from '0' to 'o': a number may stand in a text message
eight_bytes encoded(std::uint64_t number) noexcept {
    eight_bytes text;
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint8_t>('0' + (number >> 6U * i & 63U));
    return text;
}

void put_header(std::vector<std::uint8_t>& to, std::uint8_t first, std::uint64_t length) {
    const std::size_t extra = length < 126 ? 0 : length <= 0xFFFF ? 2 : 8;
    to.push_back(first);
    to.push_back(static_cast<std::uint8_t>(0x80U | (extra == 0 ? length : extra == 2 ? 126U : 127U)));
    for (std::size_t i = extra; i > 0; --i) to.push_back(static_cast<std::uint8_t>(length >> 8U * (i - 1)));
    to.insert(to.end(), mask.begin(), mask.end());
}

void put_masked(std::vector<std::uint8_t>& to, std::span<const std::uint8_t> payload) {
    for (std::size_t i = 0; i < payload.size(); ++i) to.push_back(static_cast<std::uint8_t>(payload[i] ^ mask[i % 4]));
}

}  // namespace

workload::workload(const options& o)
    : first_byte_{static_cast<std::uint8_t>(o.text || o.call ? 0x81 : 0x82)},
      number_at_{o.command ? 4U : 0U},
      number_size_{o.call ? calls::id_digits : std::min<std::size_t>(o.size, 8)} {
    if (o.call) {
        calls_.emplace(o);
        number_at_ = calls_->before_id().size();
        message_.assign(calls_->before_id().begin(), calls_->before_id().end());
    }
    if (o.command)
        for (unsigned shift = 32; shift > 0; shift -= 8)
            message_.push_back(static_cast<std::uint8_t>(*o.command >> (shift - 8)));
    const eight_bytes zero = number_text(0);
    message_.insert(message_.end(), zero.begin(), zero.begin() + static_cast<std::ptrdiff_t>(number_size_));
    if (calls_)
        message_.insert(message_.end(), calls_->after_id().begin(), calls_->after_id().end());
    else
        for (std::size_t i = number_size_; i < o.size; ++i) message_.push_back(static_cast<std::uint8_t>('a' + i % 23));

    std::vector<std::uint8_t> frame;
    put_header(frame, first_byte_, message_.size());
    header_size_ = frame.size();
    put_masked(frame, message_);
    frame_size_ = frame.size();
    row_length_ = std::clamp<std::size_t>(row_bytes / frame_size_, 1, o.rate ? most_at_once : o.depth);
    for (std::size_t i = 0; i < row_length_; ++i) row_.insert(row_.end(), frame.begin(), frame.end());
}

void workload::put_number(std::size_t index, std::uint64_t number) noexcept {
    eight_bytes text = number_text(number);
    for (std::size_t i = 0; i < text.size(); ++i) text[i] ^= mask[(number_at_ + i) % 4];
    std::memcpy(row_.data() + index * frame_size_ + header_size_ + number_at_, text.data(), number_size_);
}

eight_bytes workload::number_text(std::uint64_t number) const noexcept {
    return calls_ ? calls::id_of(number) : encoded(number);
}

bool workload::matches(std::size_t offset, std::span<const std::uint8_t> bytes) const noexcept {
    return bytes.empty() || std::memcmp(message_.data() + offset, bytes.data(), bytes.size()) == 0;
}

bool workload::prefix_matches(const std::uint8_t* prefix, std::uint64_t number) const noexcept {
    const eight_bytes text = encoded(number);
    return std::equal(prefix, prefix + number_at_, message_.data()) &&
           std::memcmp(prefix + number_at_, text.data(), number_size_) == 0;
}

std::uint64_t workload::number_in(const std::uint8_t* prefix) const noexcept {
    std::uint64_t number = 0;
    for (std::size_t i = number_size_; i > 0; --i)
        number = number << 6U | ((prefix[number_at_ + i - 1] - unsigned{'0'}) & 63U);
    return number;
}

std::vector<std::uint8_t> workload::part_of(std::uint64_t number, std::size_t offset, std::size_t count) const {
    std::vector<std::uint8_t> part;
    const eight_bytes text = encoded(number);
    for (std::size_t i = offset; i < message_.size() && part.size() < count; ++i) {
        const bool in_number = i >= number_at_ && i < prefix_size();
        part.push_back(in_number ? text[i - number_at_] : message_[i]);
    }
    return part;
}

std::vector<std::uint8_t> masked_control(std::uint8_t opcode, std::span<const std::uint8_t> payload) {
    std::vector<std::uint8_t> frame;
    put_header(frame, static_cast<std::uint8_t>(0x80U | opcode), payload.size());
    put_masked(frame, payload);
    return frame;
}

}  // namespace bench
