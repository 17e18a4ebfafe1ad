// A connection as a server has it: the session machine, the outbound queue and a driver between them that does what
// server/session.cpp does, against a peer that reads and writes frames of its own.
// Input: a byte of flags, then operations: a byte that says which, a byte of argument, and bytes where it takes some.
//
// However the calls follow each other: what reaches the peer is well-formed, in order, nothing twice; pongs answer the pings
// one by one; nothing follows the close frame, and there is one wherever one is due; every byte that was queued was
// written, dropped, replaced, discarded, or still waits; and once everything may leave, nothing stays behind.

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace kephas;
using websocket::opcode;

namespace {

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "client_session: %s\n", what);
    std::abort();
}

using bytes = std::vector<std::byte>;

void append(bytes& to, bytes_view more) { to.insert(to.end(), more.begin(), more.end()); }

/// The other end: its frames go in as bytes, and it reads whatever leaves the queue.
class peer {
public:
    [[nodiscard]] static bytes frame(opcode op, bytes_view payload, bool fin = true) {
        std::array<std::byte, websocket::max_header_size> head{};
        const websocket::mask_key key{0x37FA213D};
        const std::size_t size = websocket::encode_header(head, op, payload.size(), key);
        if (!fin) head[0] &= std::byte{0x7F};
        bytes out(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(size));
        append(out, payload);
        websocket::apply_mask(std::span{out}.subspan(size), key);
        return out;
    }

    void read(bytes_view wire) {
        if (wire.empty()) return;
        check(!closed_, "bytes behind the close frame");
        received_ += wire.size();
        decoder_.feed(slice::copy(wire));
        while (const auto frame = decoder_.next()) {
            if (frame->op == opcode::pong) pongs.emplace_back(as_text(frame->payload.view()));
            else if (frame->op == opcode::ping) ++pings;
            else if (frame->op == opcode::close) closed_ = true;
            else messages.emplace_back(as_text(frame->payload.view()));
        }
        check(!decoder_.failed(), "the peer cannot read what it was sent");
    }

    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] bool unfinished() const noexcept { return decoder_.unfinished(); }
    [[nodiscard]] std::size_t received() const noexcept { return received_; }

    std::vector<std::string> pongs;
    std::vector<std::string> messages;
    std::size_t pings = 0;

private:
    websocket::decoder decoder_{websocket::role::client, {.max_fragments = 1}};
    std::size_t received_ = 0;
    bool closed_ = false;
};

class connection {
public:
    explicit connection(unsigned flags)
        : options_{session_limits(flags)},
          limits_{queue_limits(flags)},
          machine_{websocket::role::server, options_, now_},
          reference_{websocket::role::server,
                     {.max_binary_message = options_.max_binary_message,
                      .max_text_message = options_.max_text_message,
                      .max_fragments = options_.max_fragments,
                      .max_empty_fragments = options_.max_empty_fragments}} {}

    // the peer's side

    void peer_sends(bytes_view wire) { append(on_the_way_, wire); }

    /// `size` bytes of what is on the way arrive.
    void read(std::size_t size) {
        if (!open_ || paused()) return;
        size = std::min(size, on_the_way_.size());
        bytes_view input = bytes_view{on_the_way_}.first(size);
        if (!machine_.close_was_received()) reference_.feed(slice::copy(input));
        note_reference();
        if (const mutable_bytes span = machine_.want(); !span.empty() && !input.empty()) {
            const std::size_t direct = std::min(span.size(), input.size());
            std::memcpy(span.data(), input.data(), direct);
            machine_.handle_direct(direct, now_);
            input = input.subspan(direct);
        }
        if (!input.empty()) machine_.handle(slice::copy(input), now_);
        on_the_way_.erase(on_the_way_.begin(), on_the_way_.begin() + static_cast<std::ptrdiff_t>(size));
        process();
    }
    void eof() {
        machine_.handle_eof();
        process();
    }

    // the application's

    void send(std::size_t size, overflow_policy policy, std::uint64_t key) {
        (void)push(make_body(size), policy, key);
        compare();
    }
    void close(close_code code) {
        std::array<std::byte, websocket::max_control_frame> frame;
        const std::size_t size = websocket::encode_close(frame, code, "bye");
        if (queue_.push_close(bytes_view{frame}.first(size))) close_due_ = true;
        closing_ = true;
        compare();
    }
    void fail(close_code code) { fail(code, "failed", true); }

    // the kernel's

    /// Takes up to `most` bytes of what is gathered.
    void write(std::size_t most, std::size_t elements, std::size_t scratch) {
        if (gone_) return;
        std::array<bytes_view, 8> out;
        scratch_.assign(scratch, std::byte{});
        const std::size_t count = queue_.gather(std::span{out}.first(std::min(elements, out.size())), scratch_);
        bytes wire;
        for (std::size_t i = 0; i < count; ++i) append(wire, out[i]);
        check(count > 0 || queue_.empty() || elements == 0 || scratch == 0, "gather gave nothing of what waits");
        wire.resize(std::min(wire.size(), most));
        queue_.written(wire.size());
        peer_.read(wire);
        machine_.handle_write_progress(wire.size(), queue_.bytes(), now_);
        if (queue_.close_written() && !std::exchange(close_noted_, true)) machine_.close_sent(now_);
        queue_held();
        compare();
    }

    void wait(duration time) {
        now_ += time;
        machine_.handle_timeout(now_);
        const auto next = machine_.poll_timeout();
        check(!next || *next > now_, "asks to be woken at a time at which it has just been woken");
        process();
    }
    void lost() {
        queue_.discard();
        gone_ = true;
        open_ = false;
    }
    void trim() { queue_.trim(); }

    /// Everything may leave and everything may arrive.
    void settle() {
        for (int round = 0; round < 100'000 && open_ && (!on_the_way_.empty() || machine_.pending_input()); ++round) {
            write(static_cast<std::size_t>(-1), 8, 64 * 1024);
            if (on_the_way_.empty()) process();
            else read(10'000);
        }
        for (int round = 0; round < 100'000 && (!queue_.empty() || !held_.empty()) && !gone_; ++round) {
            write(static_cast<std::size_t>(-1), 8, 64 * 1024);
        }
        check(queue_.empty(), "the queue does not run empty");
        if (gone_) return;
        check(!peer_.unfinished(), "the peer waits for the rest of a frame");
        check(peer_.closed() == close_due_, "a close frame is missing, or came without a reason");
        check(held_.empty() || !open_, "a reply is held for ever");
        if (open_ && !closing_) {
            check(peer_.pongs.size() == expected_pongs_.size(), "a ping has no pong");
            check(echoed_ == expected_echoes_, "a message is not echoed");
        }
        check(peer_.messages.size() == queue_.counters().written_messages, "a written message did not arrive");
    }

private:
    struct sent {
        std::size_t place;
        bool may_overtake;  // `latest` takes the place of an older one
    };

    static session_options session_limits(unsigned flags) {
        session_options options;
        options.max_binary_message = 50'000;
        options.max_text_message = 1'000;
        options.max_fragments = 50;
        options.max_empty_fragments = 5;
        if ((flags & 1U) == 0) options.messages_per_second = options.controls_per_second = 0;
        if ((flags & 2U) != 0) options.write_timeout = options.ping_interval = duration::zero();
        return options;
    }
    static outbound_limits queue_limits(unsigned flags) {
        static constexpr std::array<outbound_limits, 4> some{
            outbound_limits{}, {1, 100, 131}, {3, 2'000, 300}, {20, 60'000, 4'096}};
        return some[(flags >> 2U) % some.size()];
    }

    [[nodiscard]] bool paused() const { return !closing_ && (!held_.empty() || !held_control_.empty()); }

    // As session::process.
    void process() {
        while (open_ && (!paused() || machine_.failing())) {
            if (auto event = machine_.poll_event()) std::visit([this](const auto& what) { handle(what); }, *event);
            else if (!take_controls()) break;
        }
        if (open_) (void)take_controls();
        compare();
    }
    void handle(const message_received& message) {
        check(!machine_.close_was_sent(), "a message behind our close frame");
        if (closing_) return;
        ++echoed_;
        bytes body = make_body(message.payload.size());
        if (!held_.empty() || !push(body, overflow_policy::wait, 0)) held_.push_back(std::move(body));
    }
    void handle(const pong_received& /*pong*/) {}
    void handle(const close_received& /*close*/) {
        (void)take_controls();
        end();
    }
    void handle(const session_failed& failure) { fail(failure.code, failure.reason, failure.send_close); }

    void fail(close_code code, std::string_view reason, bool send_close) {
        if (!open_) return;
        std::array<std::byte, websocket::max_control_frame> frame;
        const std::size_t size = send_close ? websocket::encode_close(frame, code, reason) : 0;
        const bool was_begun = queue_.close_written();
        queue_.fail(bytes_view{frame}.first(size));
        // A close frame of ours that had not begun gives way to this one, or to none.
        if (size > 0 || was_begun) close_due_ = true;
        else close_due_ = !queue_.empty() && close_may_have_begun();
        end();
        if (size == 0) lost();
    }
    void end() {
        open_ = false;
        closing_ = true;
        held_.clear();
    }
    [[nodiscard]] bool close_may_have_begun() const { return close_due_; }

    bool take_controls() {
        bool any = false;
        std::array<std::byte, websocket::max_control_frame> buffer;
        while (held_control_.empty() || machine_.close_was_received()) {
            const std::size_t size = machine_.poll_control(buffer);
            if (size == 0) break;
            const bytes_view frame = bytes_view{buffer}.first(size);
            if ((frame[0] & std::byte{0x0F}) == std::byte{8}) {
                (void)queue_.push_close(frame);
                close_due_ = true;
            } else if (!queue_.push_control(frame)) {
                held_control_.assign(frame.begin(), frame.end());
                return false;
            }
            any = true;
        }
        return any;
    }
    void queue_held() {
        if (!held_control_.empty() && queue_.push_control(held_control_)) held_control_.clear();
        while (!held_.empty() && (queue_.closed() || push(held_.front(), overflow_policy::wait, 0))) held_.erase(held_.begin());
        if (open_ && machine_.failing()) process();
    }

    /// A serial number, so that each one is known when it arrives, and something behind it.
    bytes make_body(std::size_t size) {
        bytes body(4 + size, static_cast<std::byte>(serial_));
        for (unsigned i = 0; i < 4; ++i) body[i] = static_cast<std::byte>(serial_ >> (24 - 8 * i));
        ++serial_;
        return body;
    }
    bool push(const bytes& body, overflow_policy policy, std::uint64_t key) {
        outbound_frame frame;
        frame.head_size =
            static_cast<std::uint8_t>(server_frame_head(frame.head, opcode::binary, std::nullopt, body.size()));
        frame.body = payload{body};
        if (queue_.push(std::move(frame), policy, key) != send_status::queued) return false;
        sent_.emplace(std::string{as_text(body)}, sent{++pushed_, policy == overflow_policy::latest});
        return true;
    }

    void note_reference() {
        while (const auto frame = reference_.next()) {
            if (frame->op == opcode::ping) expected_pongs_.emplace_back(as_text(frame->payload.view()));
            else if (!websocket::is_control(frame->op)) ++expected_echoes_;
        }
    }

    void compare() {
        const outbound_counters& c = queue_.counters();
        check(c.queued_bytes ==
                  c.written_bytes + c.dropped_bytes + c.replaced_bytes + c.discarded_bytes + queue_.bytes(),
              "bytes are lost");
        check(c.queued_messages == c.written_messages + c.dropped_messages + c.replaced_messages +
                                       c.discarded_messages + queue_.messages(),
              "messages are lost");
        check(c.written_bytes == peer_.received(), "what was written is not what arrived");
        check(queue_.messages() <= std::max<std::size_t>(1, limits_.max_messages), "too many messages wait");
        check(peer_.pongs.size() <= expected_pongs_.size() &&
                  std::equal(peer_.pongs.begin(), peer_.pongs.end(), expected_pongs_.begin()),
              "pongs that answer no ping, or in another order");
        for (; compared_ < peer_.messages.size(); ++compared_) {
            const auto found = sent_.find(peer_.messages[compared_]);
            check(found != sent_.end(), "a message that was never sent, or came before");
            if (!found->second.may_overtake) {
                check(last_ < found->second.place, "messages in another order");
                last_ = found->second.place;
            }
            sent_.erase(found);
        }
    }

    time_point now_{};
    session_options options_;
    outbound_limits limits_;
    session_machine machine_;
    outbound_queue queue_{limits_};
    peer peer_;
    websocket::decoder reference_;  // the same input, in one go
    bytes on_the_way_;
    std::vector<bytes> held_;
    bytes held_control_;
    bytes scratch_;
    std::map<std::string, sent> sent_;  // what the queue has taken and the peer has not got
    std::size_t pushed_ = 0;
    std::size_t last_ = 0;
    std::vector<std::string> expected_pongs_;
    std::size_t expected_echoes_ = 0;
    std::size_t echoed_ = 0;
    std::size_t compared_ = 0;
    std::uint32_t serial_ = 1;
    bool open_ = true;
    bool closing_ = false;
    bool gone_ = false;
    bool close_due_ = false;
    bool close_noted_ = false;
};

constexpr std::array<std::size_t, 8> sizes{0, 1, 45, 122, 126, 2'100, 10'000, 49'000};

void operate(connection& one, unsigned what, unsigned argument, bytes_view& rest) {
    const auto take = [&rest](std::size_t most) {
        const bytes_view part = rest.first(std::min(most, rest.size()));
        rest = rest.subspan(part.size());
        return part;
    };
    switch (what % 20) {
        case 0: one.peer_sends(peer::frame(opcode::binary, bytes(sizes[argument % sizes.size()], std::byte{7}))); break;
        case 1: one.peer_sends(peer::frame(opcode::ping, take(argument % 126))); break;
        case 2: one.peer_sends(peer::frame(opcode::text, take(argument), argument % 3 != 0)); break;
        case 3: one.peer_sends(peer::frame(opcode::continuation, take(argument), argument % 3 != 0)); break;
        case 4:
            for (unsigned i = 0; i < argument; ++i) one.peer_sends(peer::frame(opcode::ping, bytes(argument % 126, std::byte{9})));
            break;
        case 5:
        case 6: one.read(argument); break;
        case 7: one.read(argument * 400); break;
        case 8: one.send(sizes[argument % sizes.size()], static_cast<overflow_policy>(argument / 8 % 5), argument / 64); break;
        case 9: one.send(argument, overflow_policy::wait, 0); break;
        case 10:
        case 11: one.write(argument, 4, 512); break;
        case 12: one.write(argument * 500, argument % 9, argument % 5 * 1'000); break;
        case 13: one.write(static_cast<std::size_t>(-1), 8, 64 * 1024); break;
        case 14: one.wait(std::chrono::milliseconds{argument * 40}); break;
        case 15: one.trim(); break;
        case 16:
            if (argument < 40) one.peer_sends(peer::frame(opcode::close, take(argument)));
            break;
        case 17:
            if (argument < 20) one.close(close_code{static_cast<std::uint16_t>(1000 + argument)});
            else if (argument > 250) one.fail(close_code::internal_error);
            break;
        case 18:
            if (argument < 8) one.peer_sends(take(1 + argument));  // anything
            break;
        default:
            if (argument < 4) one.eof();
            else if (argument == 255) one.lost();
            break;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    connection one{data[0]};
    bytes_view rest = std::as_bytes(std::span{data, size}).subspan(1);
    for (int steps = 0; steps < 400 && rest.size() >= 2; ++steps) {
        const auto what = std::to_integer<unsigned>(rest[0]);
        const auto argument = std::to_integer<unsigned>(rest[1]);
        rest = rest.subspan(2);
        operate(one, what, argument, rest);
    }
    one.settle();
    return 0;
}
