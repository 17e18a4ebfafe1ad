#include "connection.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace bench {

namespace {

constexpr std::uint8_t final_bit = 0x80;
constexpr std::uint8_t close_opcode = 0x8;
constexpr std::uint8_t ping_opcode = 0x9;
constexpr std::uint8_t pong_opcode = 0xA;
constexpr std::size_t max_reply = 1024 * 1024;  // to a call
constexpr std::array<std::uint8_t, 7> last_words{'g', 'o', 'o', 'd', 'b', 'y', 'e'};
constexpr std::array<std::uint8_t, 2> normal_closure{1000 >> 8U, 1000 & 0xFFU};

/// Bytes for a reader: printable ones as they are, others as \xNN.
std::string quoted(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "\"";
    for (const std::uint8_t byte : bytes) {
        if (byte >= ' ' && byte < 0x7F && byte != '"' && byte != '\\') {
            text += static_cast<char>(byte);
        } else {
            text += "\\x";
            text += digits[byte >> 4U];
            text += digits[byte & 15U];
        }
    }
    return text + '"';
}

std::string described(std::uint8_t first, std::uint64_t length) {
    const unsigned opcode = first & 0x0FU;
    const std::string name = opcode == 0   ? "a continuation"
                             : opcode == 1 ? "a text message"
                             : opcode == 2 ? "a binary message"
                                           : "a frame of opcode " + std::to_string(opcode);
    const std::string flags = (first & 0x70U) != 0       ? " with reserved bits"
                              : (first & final_bit) == 0 ? " in fragments"
                                                         : "";
    return name + flags + ", " + std::to_string(length) + " bytes";
}

}  // namespace

connection::connection(channel c, std::size_t index, const options& o, workload& w, recorder& r, std::uint64_t first)
    : channel_{std::move(c)},
      index_{index},
      workload_{w},
      recorder_{r},
      verify_{o.verify},
      ordered_{o.verify ? !o.unordered : !w.numbered()},
      open_loop_{o.rate.has_value()},
      oldest_{first},
      next_sent_{first},
      next_due_{first} {}

void connection::ask(std::int64_t intended) {
    if (next_due_ - oldest_ == ring_.size()) grow();
    at(next_due_++) = {intended, false};
    ++unanswered_;
}

void connection::expect(std::int64_t sent_at) {
    ask(sent_at);
    ++next_sent_;
}

void connection::grow() {
    std::vector<message> larger(std::max<std::size_t>(2 * ring_.size(), 1));
    for (std::uint64_t i = oldest_; i < next_due_; ++i) larger[i & (larger.size() - 1)] = at(i);
    ring_ = std::move(larger);
}

bool connection::in_flight(std::uint64_t number) const noexcept {
    return number >= oldest_ && number < next_sent_ && !at(number).answered;
}

void connection::leave(farewell how) {
    leaving_ = true;
    pinged_ = how == farewell::ping_and_close;
    const auto add = [this](const std::vector<std::uint8_t>& frame) {
        control_.insert(control_.end(), frame.begin(), frame.end());
    };
    if (pinged_) add(masked_control(ping_opcode, last_words));
    add(masked_control(close_opcode, normal_closure));
}

bool connection::send_control() {
    if (control_.empty()) return true;
    const ssize_t sent = channel_.write(control_);
    if (sent == channel::ended) fault("cannot be written to");
    control_.erase(control_.begin(), control_.begin() + std::max<ssize_t>(sent, 0));
    return control_.empty();
}

void connection::flush(std::int64_t now) {
    const bool between = frame_offset_ == 0 && !refused_;
    blocked_ = (between && !send_control()) || !send_due(now) || !send_control();
}

bool connection::send_due(std::int64_t now) {
    const std::size_t frame_size = workload_.frame_size();
    refused_ = false;
    while (next_sent_ < next_due_) {
        const auto count =
            static_cast<std::size_t>(std::min<std::uint64_t>(next_due_ - next_sent_, workload_.row_length()));
        for (std::size_t i = 0; i < count; ++i) {
            workload_.put_number(i, next_sent_ + i);
            if (!open_loop_ && (i > 0 || frame_offset_ == 0)) at(next_sent_ + i).asked_at = now;
        }
        const std::size_t size = count * frame_size - frame_offset_;
        const ssize_t sent = channel_.write({workload_.row() + frame_offset_, size});
        if (sent == channel::ended) fault("cannot be written to");
        if (sent == channel::would_block) {
            refused_ = true;
            return false;
        }
        const std::size_t reached = frame_offset_ + static_cast<std::size_t>(sent);
        const std::size_t whole = reached / frame_size;
        if (open_loop_)
            for (std::size_t i = frame_offset_ > 0 ? 1 : 0; i < (reached + frame_size - 1) / frame_size; ++i)
                recorder_.sent(at(next_sent_ + i).asked_at, now);
        frame_offset_ = reached % frame_size;
        next_sent_ += whole;
        if (send_only_) {
            oldest_ = next_sent_;
            unanswered_ -= whole;
        }
    }
    return true;
}

std::size_t connection::receive(std::span<std::uint8_t> scratch, std::int64_t now) {
    answered_ = 0;
    do {
        const ssize_t got = channel_.read(scratch);
        if (got == channel::would_block) break;
        if (got == channel::ended) {
            if (!leaving_) fault("ended by the server");
            ended_ = true;
            break;
        }
        parse(scratch.first(static_cast<std::size_t>(got)), now);
    } while (channel_.has_more());
    return answered_;
}

void connection::parse(std::span<const std::uint8_t> in, std::int64_t now) {
    while (!in.empty() || (in_payload_ && left_ == 0)) {
        if (in_payload_) {
            const bool control = (first_ & 0x08U) != 0;
            const auto part = in.first(static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), left_)));
            control ? take_control(part) : take_message(part);
            left_ -= part.size();
            in = in.subspan(part.size());
            if (left_ > 0) continue;
            in_payload_ = false;
            if (control) {
                end_control();
            } else if ((first_ & final_bit) != 0) {
                end_message(now);
            }
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
    return {2 + extra, in[0], (in[1] & 0x80U) != 0, length};
}

void connection::begin_frame(const header& h) {
    head_size_ = 0;
    in_payload_ = true;
    first_ = h.first;
    left_ = h.length;
    if (h.masked) fault("got a masked frame from the server");
    if ((h.first & 0x08U) != 0) {
        if (h.length > control_in_.size() || (h.first & final_bit) == 0)
            fault("got a control frame that is none: " + described(h.first, h.length));
        control_size_ = 0;
        return;
    }
    // a server may echo in fragments (section 5.4)
    const std::uint8_t expected = in_message_ ? 0 : workload_.first_byte() & 0x0FU;
    const bool right_kind = (h.first & 0x7FU) == expected;
    if (workload_.replies_to_calls() != nullptr) {
        if (!right_kind || h.length > max_reply - (in_message_ ? offset_ : 0))
            fault("expected the reply to a call, as text; came " + described(h.first, h.length));
    } else {
        const std::uint64_t rest = workload_.message_size() - (in_message_ ? offset_ : 0);
        const bool whole = (h.first & final_bit) != 0;
        if (!right_kind || (whole ? h.length != rest : h.length > rest))
            fault("expected " + described(static_cast<std::uint8_t>(expected | final_bit), rest) + "; came " +
                  described(h.first, h.length));
    }
    if (in_message_) return;
    if (oldest_ == next_sent_) fault("got " + described(h.first, h.length) + ", that nothing asked for");
    in_message_ = true;
    offset_ = 0;
}

void connection::take_control(std::span<const std::uint8_t> bytes) {
    std::copy(bytes.begin(), bytes.end(), control_in_.begin() + static_cast<std::ptrdiff_t>(control_size_));
    control_size_ += bytes.size();
}

void connection::take_message(std::span<const std::uint8_t> bytes) {
    if (workload_.replies_to_calls() != nullptr) {
        reply_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        offset_ += bytes.size();
        return;
    }
    const std::size_t kept = workload_.prefix_size();
    if (offset_ < kept) {
        const std::size_t count = std::min(bytes.size(), kept - offset_);
        std::copy_n(bytes.begin(), count, prefix_.begin() + static_cast<std::ptrdiff_t>(offset_));
        bytes = bytes.subspan(count);
        offset_ += count;
    }
    if (verify_ && !workload_.matches(offset_, bytes)) wrong_bytes(answered_number(), offset_, bytes);
    offset_ += bytes.size();
}

/// The number of the message that the reply with `prefix_` has to be the echo of.
std::uint64_t connection::answered_number() const {
    if (ordered_) return oldest_;
    return workload_.number_in(prefix_.data());
}

void connection::end_message(std::int64_t now) {
    in_message_ = false;
    if (workload_.replies_to_calls() != nullptr) return end_call(now);
    const std::uint64_t number = answered_number();
    const bool matches = workload_.prefix_matches(prefix_.data(), number);
    const std::span came{prefix_.data(), workload_.prefix_size()};
    if (ordered_ ? verify_ && !matches : !matches || !in_flight(number)) {
        const std::uint64_t other = workload_.number_in(prefix_.data());
        if (!workload_.numbered() || !workload_.prefix_matches(prefix_.data(), other)) wrong_bytes(oldest_, 0, came);
        fault("expected the echo of message " + std::to_string(oldest_) + (ordered_ ? "" : " or a later one") +
              "; came that of message " + std::to_string(other) +
              (in_flight(other)     ? ", out of order"
               : other < next_sent_ ? ", once more"
                                    : ", which was not sent"));
    }
    count(number, now);
}

void connection::end_call(std::int64_t now) {
    std::uint64_t number = 0;
    try {
        number = workload_.replies_to_calls()->answered(reply_, oldest_);
    } catch (const server_fault& e) {
        fault(e.what());
    }
    if (!in_flight(number))
        fault("got a reply to a call that was answered before, or not made: " + reply_.substr(0, 200));
    reply_.clear();
    count(number, now);
}

void connection::count(std::uint64_t number, std::int64_t now) {
    message& answered = at(number);
    answered.answered = true;
    recorder_.answered(answered.asked_at, now);
    while (oldest_ < next_sent_ && at(oldest_).answered) ++oldest_;
    --unanswered_;
    ++answered_;
}

void connection::end_control() {
    const std::span payload{control_in_.data(), control_size_};
    const auto opcode = static_cast<std::uint8_t>(first_ & 0x0FU);
    if (opcode == ping_opcode) {
        const auto pong = masked_control(pong_opcode, payload);
        control_.insert(control_.end(), pong.begin(), pong.end());
    } else if (opcode == pong_opcode) {
        got_pong_ =
            got_pong_ || (leaving_ && std::equal(payload.begin(), payload.end(), last_words.begin(), last_words.end()));
    } else if (opcode == close_opcode && leaving_) {
        got_close_ = payload.size() < 2 ? payload.empty()
                                        : std::equal(payload.begin(), payload.begin() + 2, normal_closure.begin());
    } else if (opcode == close_opcode) {
        std::string text = "closed by the server";
        if (payload.size() >= 2)
            text += ", code " + std::to_string(payload[0] << 8U | payload[1]) + ' ' + quoted(payload.subspan(2));
        fault(text);
    }
}

void connection::wrong_bytes(std::uint64_t number, std::size_t offset, std::span<const std::uint8_t> came) const {
    constexpr std::size_t before = 8;
    constexpr std::size_t shown = 32;
    const std::vector<std::uint8_t> wanted = workload_.part_of(number, offset, came.size());
    const auto different =
        static_cast<std::size_t>(std::mismatch(wanted.begin(), wanted.end(), came.begin()).first - wanted.begin());
    const std::size_t begin = different > before ? different - before : 0;
    const std::size_t count = std::min(shown, came.size() - begin);
    fault("the echo of message " + std::to_string(number) + " differs at byte " + std::to_string(offset + different) +
          ": from byte " + std::to_string(offset + begin) + " on, expected " +
          quoted(std::span{wanted}.subspan(begin, count)) + "; came " + quoted(came.subspan(begin, count)));
}

void connection::fault(const std::string& what) const {
    throw server_fault{"connection " + std::to_string(index_) + ": " + what};
}

}  // namespace bench
