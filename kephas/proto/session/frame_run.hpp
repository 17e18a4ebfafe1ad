#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>

namespace kephas {

/// Short frames of a server, one behind the other in memory that somebody lends, which leave with its next write: what most
/// replies are. They pass no queue, so there are no entries, no budget and no lock.
class frame_run {
public:
    /// `most` is how many frames it may hold. Lifetime: `memory` outlives it.
    frame_run(mutable_bytes memory, std::size_t most, wire_format format = wire_format::websocket) noexcept
        : memory_{memory}, most_{most}, format_{format} {}

    /// Adds a message. False, and it is as it was, if there is no room.
    [[nodiscard]] bool add(websocket::opcode op, std::optional<command_id> id, bytes_view body) noexcept {
        if (used_ + max_server_frame_head + body.size() > memory_.size() || frames_ == most_) return false;
        std::byte* const to = memory_.data() + used_;
        const std::span<std::byte, max_server_frame_head> room{to, max_server_frame_head};
        const std::size_t head = server_frame_head(room, op, id, body.size(), format_);
        if (!body.empty()) std::memmove(to + head, body.data(), body.size());  // not memcpy: see outbound_queue.cpp
        used_ += head + body.size();
        ++frames_;
        return true;
    }

    [[nodiscard]] bool empty() const noexcept { return used_ == 0; }
    [[nodiscard]] std::size_t frames() const noexcept { return frames_; }
    [[nodiscard]] bytes_view bytes() const noexcept { return memory_.first(used_); }
    void clear() noexcept { used_ = frames_ = 0; }

    /// How many bytes of the first `size` are those of whole frames.
    [[nodiscard]] std::size_t whole(std::size_t size, std::size_t& frames) const noexcept {
        std::size_t end = 0;
        for (frames = 0; end < used_; ++frames) {
            const std::size_t next = end + server_frame_size(bytes().subspan(end), format_);
            if (next > size) break;
            end = next;
        }
        return end;
    }

private:
    mutable_bytes memory_;
    std::size_t most_;
    std::size_t used_ = 0;
    std::size_t frames_ = 0;
    wire_format format_;
};

}  // namespace kephas
