#include "connection.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bench {

namespace {

constexpr std::uint8_t close_opcode = 0x8;
constexpr std::uint8_t ping_opcode = 0x9;
constexpr std::uint8_t pong_opcode = 0xA;
constexpr std::array<std::uint8_t, 7> farewell{'g', 'o', 'o', 'd', 'b', 'y', 'e'};
constexpr std::array<std::uint8_t, 2> normal_closure{1000 >> 8U, 1000 & 0xFFU};

}  // namespace

connection::connection(int fd, const options& o, workload& w)
    : workload_{w}, fd_{fd}, ordered_{!o.unordered}, slots_(o.in_flight), due_(o.in_flight) {
    answered_.reserve(o.in_flight);
    for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i] = {i, 0};
}

connection::~connection() { ::close(fd_); }

void connection::start() {
    for (std::uint32_t i = 0; i < slots_.size(); ++i) message_due(i);
}

void connection::message_due(std::uint32_t index) {
    std::size_t end = due_begin_ + due_count_++;
    if (end >= due_.size()) end -= due_.size();
    due_[end] = index;
    ++unanswered_;
}

void connection::replace_answered() {
    for (const std::uint32_t index : answered_) {
        slots_[index].number += slots_.size();
        message_due(index);
    }
    answered_.clear();
}

void connection::leave() {
    leaving_ = true;
    for (const auto& frame : {masked_control(ping_opcode, farewell), masked_control(close_opcode, normal_closure)})
        control_.insert(control_.end(), frame.begin(), frame.end());
}

bool connection::send_control() {
    const ssize_t sent = send(fd_, control_.data(), control_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) fault("cannot be written to");
    control_.erase(control_.begin(), control_.begin() + std::max<ssize_t>(sent, 0));
    return control_.empty();
}

void connection::flush(std::int64_t now) {
    blocked_ = (!control_.empty() && frame_offset_ == 0 && !send_control()) || !send_due(now);
}

bool connection::send_due(std::int64_t now) {
    const std::size_t frame_size = workload_.frame_size();
    while (due_count_ > 0) {
        const std::size_t count = std::min(due_count_, workload_.row_length());
        std::size_t at = due_begin_;
        for (std::size_t i = 0; i < count; ++i) {
            slot& each = slots_[due_[at]];
            workload_.put_number(i, each.number);
            if (i > 0 || frame_offset_ == 0) each.sent_at = now;
            if (++at == due_.size()) at = 0;
        }
        const std::size_t size = count * frame_size - frame_offset_;
        const ssize_t sent = send(fd_, workload_.row() + frame_offset_, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return false;
        if (sent < 0) fault("cannot be written to");
        const std::size_t reached = frame_offset_ + static_cast<std::size_t>(sent);
        const std::size_t whole = reached / frame_size;
        frame_offset_ = reached % frame_size;
        due_count_ -= whole;
        due_begin_ += whole;
        if (due_begin_ >= due_.size()) due_begin_ -= due_.size();
        if (static_cast<std::size_t>(sent) < size) return false;
    }
    return true;
}

void connection::receive(std::span<std::uint8_t> scratch, std::int64_t now, histogram& latencies) {
    const ssize_t got = recv(fd_, scratch.data(), scratch.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        if (!leaving_) fault("ended by the server");
        ended_ = true;
        return;
    }
    std::span<const std::uint8_t> in = scratch.first(static_cast<std::size_t>(got));
    while (!in.empty() || (in_payload_ && received_ == length_)) {
        if (in_payload_) {
            const auto part =
                in.first(static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), length_ - received_)));
            take_payload(part);
            in = in.subspan(part.size());
            if (received_ == length_) end_frame(now, latencies);
        } else if (head_size_ == 0) {
            if (const header h = parse_header(in); h.size > 0) {
                begin_frame(h);
                in = in.subspan(h.size);
            } else {
                head_size_ = in.size();
                std::copy(in.begin(), in.end(), head_.begin());
                in = {};
            }
        } else {
            head_[head_size_++] = in.front();
            in = in.subspan(1);
            if (const header h = parse_header(std::span{head_}.first(head_size_)); h.size > 0) begin_frame(h);
        }
    }
}

connection::header connection::parse_header(std::span<const std::uint8_t> in) noexcept {
    if (in.size() < 2) return {};
    std::uint64_t length = in[1] & 0x7FU;
    const std::size_t extra = length < 126 ? 0 : length == 126 ? 2 : 8;
    if (in.size() < 2 + extra) return {};
    if (extra > 0) length = 0;
    for (std::size_t i = 0; i < extra; ++i) length = length << 8U | in[2 + i];
    if ((in[1] & 0x80U) != 0) length = ~std::uint64_t{0};  // masked, which begin_frame() refuses with any wrong length
    return {2 + extra, in[0], length};
}

void connection::begin_frame(const header& h) {
    const bool control = (h.first & 0x08U) != 0;
    if (control ? h.length > start_.size() : h.first != workload_.first_byte() || h.length != workload_.message_size())
        fault("got a frame that is no echo: first byte " + std::to_string(h.first) + ", length " +
              std::to_string(h.length));
    if (!control && unanswered_ == due_count_) fault("got an echo that nothing asked for");
    head_size_ = 0;
    in_payload_ = true;
    first_ = h.first;
    length_ = h.length;
    received_ = 0;
}

void connection::take_payload(std::span<const std::uint8_t> bytes) {
    const bool control = (first_ & 0x08U) != 0;
    const std::size_t kept = control ? start_.size() : workload_.prefix_size();
    auto offset = static_cast<std::size_t>(received_);
    received_ += bytes.size();
    if (offset < kept) {
        const std::size_t count = std::min(bytes.size(), kept - offset);
        std::copy_n(bytes.begin(), count, start_.begin() + static_cast<std::ptrdiff_t>(offset));
        bytes = bytes.subspan(count);
        offset += count;
    }
    if (!workload_.matches(offset, bytes)) fault("got an echo with another content");
}

void connection::end_frame(std::int64_t now, histogram& latencies) {
    in_payload_ = false;
    if ((first_ & 0x08U) != 0) {
        end_control();
    } else {
        end_message(now, latencies);
    }
}

void connection::end_message(std::int64_t now, histogram& latencies) {
    const auto index =
        ordered_ ? next_reply_ : static_cast<std::uint32_t>(workload_.number_in(start_.data()) % slots_.size());
    const slot& asked = slots_[index];
    if (!workload_.prefix_matches(start_.data(), asked.number))
        fault("got another echo than that of message " + std::to_string(asked.number) +
              (ordered_ ? ", or out of order" : ""));
    latencies.add(static_cast<std::uint64_t>(now - asked.sent_at));
    if (ordered_ && ++next_reply_ == slots_.size()) next_reply_ = 0;
    --unanswered_;
    answered_.push_back(index);
}

void connection::end_control() {
    const std::span payload{start_.data(), static_cast<std::size_t>(length_)};
    const auto opcode = static_cast<std::uint8_t>(first_ & 0x0FU);
    if (opcode == ping_opcode) {
        const auto pong = masked_control(pong_opcode, payload);
        control_.insert(control_.end(), pong.begin(), pong.end());
    } else if (opcode == pong_opcode) {
        got_pong_ = leaving_ && std::equal(payload.begin(), payload.end(), farewell.begin(), farewell.end());
    } else if (opcode == close_opcode && leaving_) {
        got_close_ = length_ == 0 || std::equal(payload.begin(), payload.begin() + 2, normal_closure.begin());
    } else if (opcode == close_opcode) {
        fault("closed by the server" +
              (length_ < 2 ? std::string{} : ", code " + std::to_string(payload[0] << 8U | payload[1])));
    }
}

void connection::fault(const std::string& what) const {
    throw server_fault{"connection on descriptor " + std::to_string(fd_) + ": " + what};
}

}  // namespace bench
