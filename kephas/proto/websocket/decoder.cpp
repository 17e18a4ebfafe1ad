#include <kephas/base/growth.hpp>

#include <kephas/proto/websocket/decoder.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace kephas::websocket {
namespace {

constexpr std::size_t smallest_direct_read = 4 * 1024;  // less room than this is not worth a read of its own

constexpr unsigned fin_bit = 0x80;
constexpr unsigned rsv1_bit = 0x40;
constexpr unsigned rsv_bits = 0x70;
constexpr unsigned opcode_bits = 0x0F;
constexpr unsigned mask_bit = 0x80;
constexpr unsigned length_bits = 0x7F;
constexpr unsigned longest_short = 125;  // a length that fits into seven bits

[[nodiscard]] bool is_known(unsigned op) noexcept { return op <= 2 || (op >= 8 && op <= 10); }

}  // namespace

decoder::decoder(role self, const decoder_options& options) noexcept
    : max_binary_message_{options.max_binary_message},
      max_text_message_{options.max_text_message},
      max_fragments_{options.max_fragments},
      max_empty_fragments_{options.max_empty_fragments},
      role_{self} {}

mutable_bytes decoder::want() const noexcept {
    if (fault_ != fault::none || !in_frame_ || is_control(frame_)) return {};
    if (missing_ < direct_threshold || consumed_ < input_.size()) return {};
    const std::size_t room = assembly_.size() - assembled_;
    if (room < smallest_direct_read) return {};
    return assembly_.bytes().subspan(assembled_, std::min(room, missing_));
}

void decoder::feed(slice input) {
    if (fault_ != fault::none || input.empty()) return;
    // Some of the earlier input is not expected to be left, but nothing may get lost.
    if (consumed_ < input_.size()) input = slice::join(input_.view().subspan(consumed_), input.view());
    input_ = std::move(input);
    consumed_ = 0;
}

void decoder::commit(std::size_t size) {
    size = std::min(size, want().size());
    if (size == 0) return;
    assemble(size);
    if (fault_ == fault::none) make_room_for_direct();
}

inline slice decoder::take_input(std::size_t size) noexcept {
    const std::size_t from = std::exchange(consumed_, consumed_ + size);
    if (consumed_ < input_.size()) return size == 0 ? slice{} : input_.sub(from, size);
    consumed_ = 0;
    slice last = std::exchange(input_, {});  // the last user of the input takes it: no count is touched
    return size == 0 ? slice{} : std::move(last).sub(from, size);
}

// Nearly every message: one short frame of a client, all of it in the input. Its size with the header; 0 for all others,
// which take the long way, as do those with which something is wrong.
inline std::size_t decoder::whole_message() const noexcept {
    constexpr std::size_t head = 2 + sizeof(mask_key);
    const std::size_t available = input_.size() - consumed_;
    if (available < head || in_frame_ || head_size_ != 0 || message_ != opcode::continuation || role_ != role::server) return 0;
    const std::byte* const from = input_.data() + consumed_;
    const bool binary = from[0] == std::byte{fin_bit | static_cast<unsigned>(opcode::binary)};
    if (!binary && from[0] != std::byte{fin_bit | static_cast<unsigned>(opcode::text)}) return 0;
    const unsigned size = std::to_integer<unsigned>(from[1]) - mask_bit;  // a huge one if it is not masked
    if (size > longest_short || head + size > available) return 0;
    return size <= (binary ? max_binary_message_ : max_text_message_) ? head + size : 0;
}

inline std::optional<decoded> decoder::take_whole(std::size_t size) noexcept {
    constexpr std::size_t head = 2 + sizeof(mask_key);
    const std::byte* const from = input_.data() + consumed_;
    const opcode op = static_cast<opcode>(std::to_integer<unsigned>(from[0]) & opcode_bits);
    const mutable_bytes payload = input_.bytes().subspan(consumed_ + head, size - head);
    apply_mask(payload, load_mask_key(from + 2));
    if (op == opcode::text && !is_utf8(payload)) {
        fail(fault::text_not_utf8);
        return std::nullopt;
    }
    consumed_ += head;
    return decoded{op, take_input(payload.size())};
}

std::optional<decoded> decoder::next_if_whole() noexcept {
    const std::size_t size = fault_ == fault::none ? whole_message() : 0;
    if (size == 0) return std::nullopt;
    return take_whole(size);
}

std::optional<decoded> decoder::next() {
    while (fault_ == fault::none) {
        if (const std::size_t size = whole_message(); size > 0) return take_whole(size);
        if (!in_frame_ && !read_header()) break;
        if (missing_ > 0 && consumed_ == input_.size()) break;
        if (auto complete = read_payload()) return complete;
    }
    if (consumed_ == input_.size()) take_input(0);
    return std::nullopt;
}

bool decoder::pending() const noexcept {
    return fault_ == fault::none && (consumed_ < input_.size() || (in_frame_ && missing_ == 0));
}

bool decoder::unfinished() const noexcept {
    return fault_ == fault::none && (in_frame_ || head_size_ > 0 || message_ != opcode::continuation);
}

void decoder::stop() noexcept {
    if (fault_ == fault::none) fault_ = fault::closed;
    input_ = {};
    assembly_ = {};
    control_ = {};
    consumed_ = assembled_ = 0;
    compressed_ = false;
    if (inflater_) inflater_->stop();
}

// True once a frame has begun; false when bytes are missing or the header is a violation.
bool decoder::read_header() {
    const bytes_view rest = input_.view().subspan(consumed_);
    if (head_size_ == 0) {
        const std::size_t size = parse_header(rest.data(), rest.size());
        if (fault_ != fault::none) return false;
        if (size > 0) {
            consumed_ += size;
            return true;
        }
        if (!rest.empty()) std::memcpy(head_.data(), rest.data(), rest.size());
        head_size_ = static_cast<std::uint8_t>(rest.size());
        consumed_ = input_.size();
        return false;
    }
    for (const std::byte next : rest) {  // rare, and 13 bytes at most
        head_[head_size_++] = next;
        ++consumed_;
        const std::size_t size = parse_header(head_.data(), head_size_);
        if (fault_ != fault::none) return false;
        if (size > 0) {
            head_size_ = 0;
            return true;
        }
    }
    return false;
}

// The size of the header, or 0 if it is not complete, or a violation. RFC 6455 5.2.
std::size_t decoder::parse_header(const std::byte* from, std::size_t available) noexcept {
    const auto refuse = [this](fault why) {
        fail(why);
        return std::size_t{0};
    };
    if (available < 2) return 0;
    const auto first = std::to_integer<unsigned>(from[0]);
    const auto second = std::to_integer<unsigned>(from[1]);
    const bool fin = (first & fin_bit) != 0;
    const auto op = static_cast<opcode>(first & opcode_bits);

    if (const unsigned rsv = first & rsv_bits; rsv != 0) [[unlikely]] {
        // RFC 7692 6.1: only on the first frame of a data message
        const bool compressed = rsv == rsv1_bit && inflater_ && (op == opcode::text || op == opcode::binary);
        if (!compressed) return refuse(fault::reserved_bits);
    }
    if (!is_known(first & opcode_bits)) return refuse(fault::reserved_opcode);
    const bool masked = (second & mask_bit) != 0;
    if (masked != (role_ == role::server)) return refuse(masked ? fault::mask_present : fault::mask_missing);

    std::uint64_t size = second & length_bits;
    if (is_control(op)) {
        if (!fin) return refuse(fault::control_fragmented);
        if (size > max_control_payload) return refuse(fault::control_too_long);
    } else if (op == opcode::continuation) {
        if (message_ == opcode::continuation) return refuse(fault::nothing_to_continue);
    } else if (message_ != opcode::continuation) {
        return refuse(fault::message_not_finished);
    }

    const std::size_t extended = size < 126 ? 0 : size == 126 ? 2 : 8;
    const std::size_t head = 2 + extended + (masked ? sizeof(mask_key) : 0);
    if (available < head) return 0;
    if (extended == 2) {
        size = load_big_endian<std::uint16_t>(from + 2);
        if (size < 126) return refuse(fault::length_not_minimal);
    } else if (extended == 8) {
        size = load_big_endian<std::uint64_t>(from + 2);
        if (size >> 63U != 0) return refuse(fault::length_out_of_range);
        if (size <= 0xFFFF) return refuse(fault::length_not_minimal);
    }
    if (masked) mask_ = load_mask_key(from + head - sizeof(mask_key));
    begin_frame(op, fin, (first & rsv1_bit) != 0, size);
    return head;
}

void decoder::begin_frame(opcode op, bool fin, bool rsv1, std::uint64_t size) noexcept {
    frame_ = op;
    in_frame_ = true;
    if (!is_control(op)) {
        if (op != opcode::continuation) {
            message_ = op;
            compressed_ = rsv1;
            if (rsv1) inflater_->begin(message_limit(), op == opcode::text);
            text_.reset();
            fragments_ = empty_fragments_ = 0;
        }
        fin_ = fin;
        const bool fits = compressed_ ? inflater_->expect(size) : size <= message_limit() - assembled_;
        if (!fits)  // before a byte of the payload is kept
            return fail(message_ == opcode::text ? fault::text_too_big : fault::binary_too_big);
        const bool fragment = !fin || op == opcode::continuation;
        if (fragment) {
            if (++fragments_ > max_fragments_) return fail(fault::too_many_fragments);
            empty_fragments_ = size == 0 ? empty_fragments_ + 1 : 0;
            if (empty_fragments_ > max_empty_fragments_) return fail(fault::too_many_empty_fragments);
        }
    }
    missing_ = static_cast<std::size_t>(size);  // at most the limit
}

std::optional<decoded> decoder::read_payload() {
    const bool control = is_control(frame_);
    if (compressed_ && !control) [[unlikely]]
        return read_compressed();
    const std::size_t available = input_.size() - consumed_;
    const bool untouched = control ? control_.empty() : fin_ && assembled_ == 0;
    if (untouched && available >= missing_) [[likely]] {  // all of it lies in the input: it stays there
        const mutable_bytes bytes = input_.bytes().subspan(consumed_, missing_);
        unmask(bytes);
        if (control) {
            if (frame_ == opcode::close) check_close(bytes);
        } else if (check_text(bytes) && !text_.complete()) {
            fail(fault::text_not_utf8);
        }
        if (fault_ != fault::none) return std::nullopt;
        in_frame_ = false;
        const std::size_t size = std::exchange(missing_, 0);
        return deliver(take_input(size));
    }

    const std::size_t size = std::min(available, missing_);
    const std::byte* const from = input_.data() + consumed_;
    if (control) {
        if (control_.empty()) control_ = slice::allocate(missing_);
        const mutable_bytes to = control_.bytes().last(missing_).first(size);
        std::memcpy(to.data(), from, size);
        unmask(to);
        missing_ -= size;
    } else if (size > 0) {
        if (const std::size_t needed = assembled_ + size; needed > assembly_.size()) make_room(needed);
        std::memcpy(assembly_.data() + assembled_, from, size);
        assemble(size);
    }
    consumed_ += size;
    if (fault_ != fault::none) return std::nullopt;
    if (missing_ == 0) return end_frame();
    if (!control) make_room_for_direct();
    return std::nullopt;
}

// What is here of a compressed frame is inflated, and let go.
std::optional<decoded> decoder::read_compressed() {
    const std::size_t size = std::min(input_.size() - consumed_, missing_);
    const mutable_bytes bytes = input_.bytes().subspan(consumed_, size);
    unmask(bytes);
    consumed_ += size;
    missing_ -= size;
    if (!accept(inflater_->consume(bytes)) || missing_ > 0) return std::nullopt;
    in_frame_ = false;
    return fin_ ? end_compressed() : std::nullopt;
}

std::optional<decoded> decoder::end_compressed() {
    if (!accept(inflater_->finish())) return std::nullopt;
    compressed_ = false;
    return deliver(inflater_->take());
}

bool decoder::accept(inflater::status status) noexcept {
    switch (status) {
        case inflater::status::good: return true;
        case inflater::status::too_big:
            fail(message_ == opcode::text ? fault::text_too_big : fault::binary_too_big);
            break;
        case inflater::status::invalid: fail(fault::not_deflate); break;
        case inflater::status::not_utf8: fail(fault::text_not_utf8); break;
    }
    return false;
}

// The current frame has arrived, in pieces or as a fragment.
std::optional<decoded> decoder::end_frame() {
    in_frame_ = false;
    if (is_control(frame_)) {
        if (frame_ == opcode::close) check_close(control_.view());
        if (fault_ != fault::none) return std::nullopt;
        return deliver(std::exchange(control_, {}));
    }
    if (!fin_) return std::nullopt;
    if (!text_.complete()) {
        fail(fault::text_not_utf8);
        return std::nullopt;
    }
    const std::size_t size = std::exchange(assembled_, 0);
    return deliver(std::exchange(assembly_, {}).sub(0, size));
}

decoded decoder::deliver(slice payload) noexcept {
    if (is_control(frame_)) {
        if (frame_ == opcode::close) stop();  // RFC 6455 5.5.1: nothing follows
        return {frame_, std::move(payload)};
    }
    return {std::exchange(message_, opcode::continuation), std::move(payload)};
}

// `size` masked bytes lie behind what was assembled so far.
void decoder::assemble(std::size_t size) noexcept {
    const mutable_bytes bytes = assembly_.bytes().subspan(assembled_, size);
    unmask(bytes);
    assembled_ += size;
    missing_ -= size;
    check_text(bytes);
}

void decoder::check_close(bytes_view payload) noexcept {  // RFC 6455 5.5.1 and 7.4
    if (payload.empty()) return;
    if (payload.size() < 2) return fail(fault::close_too_short);
    if (!is_valid_on_wire(close_code{load_big_endian<std::uint16_t>(payload.data())}))
        return fail(fault::close_code_invalid);
    if (!is_utf8(payload.subspan(2))) fail(fault::close_reason_not_utf8);
}

// False for what can never become text; true for what is no text at all.
bool decoder::check_text(bytes_view bytes) noexcept {
    if (message_ != opcode::text || text_.consume(bytes)) return true;
    fail(fault::text_not_utf8);
    return false;
}

void decoder::make_room(std::size_t needed) {
    slice larger = slice::allocate(grown_capacity(needed, largest_message(), fin_));
    if (assembled_ > 0) std::memcpy(larger.data(), assembly_.data(), assembled_);
    assembly_ = std::move(larger);
}

// When much is missing of a frame of which something has arrived, the rest is read to where it will live.
void decoder::make_room_for_direct() {
    if (missing_ < direct_threshold || assembled_ < smallest_direct_read) return;
    if (assembly_.size() - assembled_ < smallest_direct_read) make_room(assembled_);
}

void decoder::unmask(mutable_bytes bytes) noexcept {
    if (role_ != role::server) return;
    apply_mask(bytes, mask_);
    mask_ = rotated(mask_, bytes.size());
}

void decoder::fail(fault why) noexcept {
    fault_ = why;
    stop();
}

std::size_t decoder::message_limit() const noexcept {
    return message_ == opcode::text ? max_text_message_ : max_binary_message_;
}

// What the unfinished message can still grow to.
std::size_t decoder::largest_message() const noexcept { return fin_ ? assembled_ + missing_ : message_limit(); }

violation decoder::failure() const {
    const auto protocol = [](const char* reason) { return violation{close_code::protocol_error, reason}; };
    const auto too_big = [](const char* kind, std::size_t limit) {
        return violation{close_code::message_too_big,
                         std::string{kind} + " message exceeds the limit of " + std::to_string(limit) + " bytes"};
    };
    switch (fault_) {
        case fault::none:
        case fault::closed: break;
        case fault::reserved_bits: return protocol("reserved bits are set");
        case fault::reserved_opcode: return protocol("reserved opcode");
        case fault::mask_missing: return protocol("frame is not masked");
        case fault::mask_present: return protocol("frame is masked");
        case fault::length_not_minimal: return protocol("length is not minimal");
        case fault::length_out_of_range: return protocol("length is out of range");
        case fault::control_fragmented: return protocol("control frame is fragmented");
        case fault::control_too_long: return protocol("control frame is too long");
        case fault::nothing_to_continue: return protocol("continuation without a message");
        case fault::message_not_finished: return protocol("new message inside a fragmented one");
        case fault::binary_too_big: return too_big("binary", max_binary_message_);
        case fault::text_too_big: return too_big("text", max_text_message_);
        case fault::too_many_fragments: return {close_code::policy_violation, "too many fragments"};
        case fault::too_many_empty_fragments: return {close_code::policy_violation, "too many empty fragments"};
        case fault::close_too_short: return protocol("close frame is too short");
        case fault::close_code_invalid: return protocol("invalid close code");
        case fault::close_reason_not_utf8: return {close_code::invalid_payload, "close reason is not UTF-8"};
        case fault::text_not_utf8: return {close_code::invalid_payload, "text is not UTF-8"};
        case fault::not_deflate: return {close_code::invalid_payload, "compressed message is invalid"};
    }
    return {close_code::normal, {}};
}

}  // namespace kephas::websocket
