#include <kephas/proto/websocket/inflater.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

namespace kephas::websocket {

namespace {

constexpr std::array tail{std::byte{0x00}, std::byte{0x00}, std::byte{0xFF}, std::byte{0xFF}};  // RFC 7692 7.2.2
constexpr std::size_t smallest_piece = 128;
constexpr std::size_t largest_first_piece = 16 * 1024;
constexpr std::size_t smallest_next_piece = 1024;
constexpr std::size_t largest_piece = 1024 * 1024;
constexpr int smallest_window = 9;  // what zlib uses when it is asked for 8

}  // namespace

inflater::inflater(codec_lender& lender, bool context_takeover, int window_bits) noexcept
    : lender_{lender},
      window_bits_{static_cast<std::uint8_t>(std::max(window_bits, smallest_window))},
      context_takeover_{context_takeover} {}

inflater::~inflater() { stop(); }

void inflater::begin(std::size_t limit, bool is_text) noexcept {
    pieces_.clear();
    filled_ = size_ = announced_ = arrived_ = 0;
    limit_ = limit;
    is_text_ = is_text;
    text_.reset();
}

bool inflater::expect(std::uint64_t size) noexcept {
    // What cannot be compressed grows a little: a ninth bit per byte, if it is written with the fixed codes.
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 2;
    const std::size_t base = std::min(limit_, most);
    const std::size_t allowed = base + base / 8 + 1024;
    if (size > allowed - announced_) return false;
    announced_ += static_cast<std::size_t>(size);
    return true;
}

inflater::status inflater::consume(bytes_view compressed) {
    if (compressed.empty()) return status::good;
    arrived_ += compressed.size();
    if (!context_) {
        context_ = context_takeover_ ? std::make_unique<inflate_context>(window_bits_) : lender_.borrow_inflate();
    }
    return inflate(compressed);
}

inflater::status inflater::finish() {
    // A compressor that is flushed with nothing to flush writes nothing, not even what the tail belongs to.
    if (arrived_ == 0) return status::good;
    if (const status after_tail = inflate(tail); after_tail != status::good) return after_tail;
    if (!context_->at_boundary()) return status::invalid;
    if (!context_takeover_) lender_.give_back(std::move(context_));
    return is_text_ && !text_.complete() ? status::not_utf8 : status::good;
}

slice inflater::take() {
    slice message;
    if (pieces_.size() == 1 && pieces_.front().size() / 2 <= size_) {
        message = std::move(pieces_.front()).sub(0, size_);
    } else if (size_ > 0) {
        message = slice::allocate(size_);
        std::byte* to = message.data();
        for (slice& piece : pieces_) {
            const std::size_t size = std::min(piece.size(), static_cast<std::size_t>(message.data() + size_ - to));
            std::memcpy(to, piece.data(), size);
            to += size;
            piece = slice{};
        }
    }
    std::vector<slice>{}.swap(pieces_);
    filled_ = size_ = 0;
    return message;
}

std::size_t inflater::capacity() const noexcept {
    std::size_t sum = 0;
    for (const slice& piece : pieces_) sum += piece.size();
    return sum;
}

void inflater::stop() noexcept {
    std::vector<slice>{}.swap(pieces_);
    filled_ = size_ = 0;
    if (!context_takeover_) lender_.give_back(std::move(context_));
    context_.reset();
}

inflater::status inflater::inflate(bytes_view compressed) {
    for (;;) {
        const bool full = size_ == limit_;
        if (!full && (pieces_.empty() || filled_ == pieces_.back().size())) add_piece(compressed.size());
        std::byte beyond;  // one byte more than the limit is too many
        const mutable_bytes room = full ? mutable_bytes{&beyond, 1} : pieces_.back().bytes().subspan(filled_);
        mutable_bytes rest = room;
        const bool valid = context_->inflate(compressed, rest);
        const mutable_bytes fresh = room.first(room.size() - rest.size());
        if (full && !fresh.empty()) return status::too_big;
        filled_ += fresh.size();
        size_ += fresh.size();
        if (is_text_ && !text_.consume(fresh)) return status::not_utf8;  // it came before what is invalid
        if (!valid) return status::invalid;
        if (!rest.empty()) return status::good;  // and so all of the input was used
    }
}

void inflater::add_piece(std::size_t compressed) {
    const std::size_t wanted = pieces_.empty() ? std::clamp(4 * compressed, smallest_piece, largest_first_piece)
                                               : std::clamp(size_, smallest_next_piece, largest_piece);
    pieces_.push_back(slice::allocate(std::min(wanted, limit_ - size_)));
    filled_ = 0;
}

}  // namespace kephas::websocket
