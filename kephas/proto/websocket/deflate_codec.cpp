#include <kephas/proto/websocket/deflate_codec.hpp>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include <zlib.h>

namespace kephas::websocket {

namespace {

constexpr std::size_t most_at_once = std::size_t{1} << 30U;  // zlib counts in 32 bits
constexpr std::size_t flush_tail = 4;                        // 00 00 ff ff, which RFC 7692 7.2.1 leaves out
constexpr std::size_t smallest_room = 64;  // more than zlib needs to end a flush without starting it again

[[nodiscard]] uInt clamped(std::size_t size) noexcept { return static_cast<uInt>(std::min(size, most_at_once)); }

// zlib reads through a pointer to what is not const, and does not write.
[[nodiscard]] Bytef* pointer(bytes_view bytes) noexcept {
    return reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
}

void check_memory(int status) {
    if (status == Z_MEM_ERROR) throw std::bad_alloc{};
}

}  // namespace

struct inflate_context::stream : z_stream {};
struct deflate_context::stream : z_stream {};

inflate_context::inflate_context(int window_bits) : stream_{std::make_unique<stream>()} {
    check_memory(inflateInit2(stream_.get(), -window_bits));  // negative: raw
}

inflate_context::~inflate_context() { inflateEnd(stream_.get()); }

void inflate_context::reset() noexcept {
    inflateReset(stream_.get());
    at_boundary_ = true;
}

bool inflate_context::inflate(bytes_view& in, mutable_bytes& out) {
    static constexpr int unused_bits = 7;
    static constexpr int after_block = 128;
    while (!in.empty() && !out.empty()) {
        stream_->next_in = pointer(in);
        stream_->avail_in = clamped(in.size());
        stream_->next_out = reinterpret_cast<Bytef*>(out.data());
        stream_->avail_out = clamped(out.size());
        const int status = ::inflate(stream_.get(), Z_SYNC_FLUSH);
        check_memory(status);
        const std::size_t taken = clamped(in.size()) - stream_->avail_in;
        const std::size_t made = clamped(out.size()) - stream_->avail_out;
        in = in.subspan(taken);
        out = out.subspan(made);
        at_boundary_ = (stream_->data_type & after_block) != 0 && (stream_->data_type & unused_bits) == 0;
        if (status == Z_STREAM_END) {
            restart();
        } else if (status != Z_OK || taken + made == 0) {
            return false;
        }
    }
    return true;
}

// zlib's reset drops the window, but who ended a block as the last one may still refer to what came before it.
void inflate_context::restart() {
    std::array<Bytef, std::size_t{1} << MAX_WBITS> window;
    uInt size = 0;
    inflateGetDictionary(stream_.get(), window.data(), &size);
    inflateReset(stream_.get());
    if (size > 0) check_memory(inflateSetDictionary(stream_.get(), window.data(), size));
    at_boundary_ = true;
}

deflate_context::deflate_context(int window_bits, int level, int memory_level)
    : stream_{std::make_unique<stream>()}, window_bits_{window_bits} {
    check_memory(deflateInit2(stream_.get(), level, Z_DEFLATED, -window_bits, memory_level, Z_DEFAULT_STRATEGY));
}

deflate_context::~deflate_context() { deflateEnd(stream_.get()); }

void deflate_context::reset() noexcept { deflateReset(stream_.get()); }

bool deflate_context::deflate(std::span<const bytes_view> parts, std::vector<std::byte>& out, std::size_t limit) {
    limit = std::min(limit, out.max_size() - flush_tail - out.size()) + out.size() + flush_tail;
    for (bytes_view part : parts) {
        while (!part.empty()) {
            const uInt size = clamped(part.size());
            stream_->next_in = pointer(part);
            stream_->avail_in = size;
            if (!drain(Z_NO_FLUSH, out, limit)) return false;
            part = part.subspan(size);
        }
    }
    if (!drain(Z_SYNC_FLUSH, out, limit)) return false;
    out.resize(out.size() - flush_tail);
    return true;
}

// Runs zlib until it has nothing more to give.
bool deflate_context::drain(int flush, std::vector<std::byte>& out, std::size_t limit) {
    for (;;) {
        const std::size_t used = out.size();
        const std::size_t room = std::clamp(out.capacity() - used, smallest_room, most_at_once);
        if (out.capacity() - used < smallest_room) out.reserve(std::max<std::size_t>(2 * used, 1024));
        out.resize(used + room);
        stream_->next_out = reinterpret_cast<Bytef*>(out.data() + used);
        stream_->avail_out = static_cast<uInt>(room);
        ::deflate(stream_.get(), flush);  // Z_BUF_ERROR says that there was nothing to do
        out.resize(out.size() - stream_->avail_out);
        if (out.size() > limit) return false;
        if (stream_->avail_out > 0) return true;
    }
}

codec_pool::codec_pool(int level, int memory_level) : level_{level}, memory_level_{memory_level} {
    inflating_.reserve(most_kept);
    deflating_.reserve(most_kept);
}

std::unique_ptr<inflate_context> codec_pool::borrow_inflate() {
    if (inflating_.empty()) return std::make_unique<inflate_context>();
    auto context = std::move(inflating_.back());
    inflating_.pop_back();
    context->reset();
    return context;
}

void codec_pool::give_back(std::unique_ptr<inflate_context> context) noexcept {
    if (context && inflating_.size() < most_kept) inflating_.push_back(std::move(context));
}

std::unique_ptr<deflate_context> codec_pool::borrow_deflate(int window_bits) {
    const auto found = std::ranges::find(deflating_, window_bits, &deflate_context::window_bits);
    if (found == deflating_.end()) return std::make_unique<deflate_context>(window_bits, level_, memory_level_);
    auto context = std::move(*found);
    deflating_.erase(found);
    context->reset();
    return context;
}

void codec_pool::give_back(std::unique_ptr<deflate_context> context) noexcept {
    if (!context) return;
    if (deflating_.size() == most_kept) deflating_.erase(deflating_.begin());  // what was used last is used next
    deflating_.push_back(std::move(context));
}

}  // namespace kephas::websocket
