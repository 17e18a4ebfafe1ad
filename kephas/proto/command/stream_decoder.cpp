#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/stream_decoder.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace kephas {

namespace {

constexpr std::size_t smallest_direct_read = 4 * 1024;  // less room than this is not worth a read of its own

}  // namespace

mutable_bytes stream_decoder::want() const noexcept {
    if (fault_ != fault::none || size_ == 0 || missing() < direct_threshold || consumed_ < input_.size()) return {};
    const std::size_t room = assembly_.size() - assembled_;
    if (room < smallest_direct_read) return {};
    return assembly_.bytes().subspan(assembled_, std::min(room, missing()));
}

void stream_decoder::feed(slice input) {
    if (fault_ != fault::none || input.empty()) return;
    // Some of the earlier input is not expected to be left, but nothing may get lost.
    if (consumed_ < input_.size()) input = slice::join(input_.view().subspan(consumed_), input.view());
    input_ = std::move(input);
    consumed_ = 0;
}

void stream_decoder::commit(std::size_t size) {
    assembled_ += std::min(size, want().size());
    make_room_for_direct();
}

std::optional<slice> stream_decoder::next() {
    while (fault_ == fault::none) {
        if (size_ == 0) {
            if (!read_length()) break;
            if (size_ == 0) return take_input(0);  // a keep-alive
        }
        const std::size_t available = input_.size() - consumed_;
        if (assembled_ == 0 && available >= size_) {  // all of it lies in the input: it stays there
            return take_input(std::exchange(size_, 0));
        }
        if (available == 0 && missing() > 0) break;
        assemble(input_.view().subspan(consumed_, std::min(available, missing())));
        if (missing() == 0) {
            take_input(0);
            assembled_ = 0;
            return std::exchange(assembly_, {}).sub(0, std::exchange(size_, 0));
        }
        make_room_for_direct();
    }
    if (consumed_ == input_.size()) take_input(0);
    return std::nullopt;
}

bool stream_decoder::pending() const noexcept {
    return fault_ == fault::none && (consumed_ < input_.size() || (size_ > 0 && missing() == 0));
}

void stream_decoder::stop() noexcept {
    if (fault_ == fault::none) fault_ = fault::stopped;
    input_ = {};
    assembly_ = {};
    consumed_ = assembled_ = size_ = head_size_ = 0;
}

violation stream_decoder::failure() const {
    if (fault_ == fault::too_short) return {close_code::protocol_error, "Invalid message format"};
    return {close_code::message_too_big,
            "binary message exceeds the limit of " + std::to_string(max_message_) + " bytes"};
}

// True once a length was read; false when bytes are missing, or it is a violation.
bool stream_decoder::read_length() noexcept {
    const bytes_view rest = input_.view().subspan(consumed_);
    if (head_size_ == 0 && rest.size() >= head_.size()) [[likely]] {
        consumed_ += head_.size();
        return begin(load_big_endian<std::uint32_t>(rest.data()));
    }
    const std::size_t size = std::min(rest.size(), head_.size() - head_size_);
    if (size > 0) std::memcpy(head_.data() + head_size_, rest.data(), size);
    head_size_ = static_cast<std::uint8_t>(head_size_ + size);
    consumed_ += size;
    if (head_size_ < head_.size()) return false;
    head_size_ = 0;
    return begin(load_big_endian<std::uint32_t>(head_.data()));
}

bool stream_decoder::begin(std::uint32_t size) noexcept {
    if (size > 0 && size < command_id_size) fail(fault::too_short);
    else if (size > max_message_) fail(fault::too_big);
    else size_ = size;
    return fault_ == fault::none;
}

slice stream_decoder::take_input(std::size_t size) noexcept {
    const std::size_t from = std::exchange(consumed_, consumed_ + size);
    if (consumed_ < input_.size()) return size == 0 ? slice{} : input_.sub(from, size);
    consumed_ = 0;
    slice last = std::exchange(input_, {});  // the last user of the input takes it: no count is touched
    return size == 0 ? slice{} : std::move(last).sub(from, size);
}

void stream_decoder::assemble(bytes_view bytes) {
    if (bytes.empty()) return;
    if (const std::size_t needed = assembled_ + bytes.size(); needed > assembly_.size()) make_room(needed);
    std::memcpy(assembly_.data() + assembled_, bytes.data(), bytes.size());
    assembled_ += bytes.size();
    consumed_ += bytes.size();
}

void stream_decoder::make_room(std::size_t needed) {
    slice larger = slice::allocate(grown_capacity(needed, size_, true));
    if (assembled_ > 0) std::memcpy(larger.data(), assembly_.data(), assembled_);
    assembly_ = std::move(larger);
}

// When much is missing of a message of which something has arrived, the rest is read to where it will live.
void stream_decoder::make_room_for_direct() {
    if (missing() < direct_threshold || assembled_ < smallest_direct_read) return;
    if (assembly_.size() - assembled_ < smallest_direct_read) make_room(assembled_);
}

void stream_decoder::fail(fault why) noexcept {
    fault_ = why;
    stop();
}

}  // namespace kephas
