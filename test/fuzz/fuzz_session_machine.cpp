// Input: a byte of flags (128: a stream of commands), then operations: a byte that says which, a byte of argument, and bytes where it takes some.
// Whatever happens in whatever order: nothing follows a failure, control frames are well formed, and the machine
// never asks to be woken at a time at which it has just been woken.

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/command/stream_decoder.hpp>
#include <kephas/proto/session/close_message.hpp>
#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

class world {
public:
    explicit world(unsigned flags)
        : self_{(flags & 1U) != 0 ? websocket::role::client : websocket::role::server},
          peer_{self_ == websocket::role::client ? websocket::role::server : websocket::role::client},
          options_{limits(flags)},
          machine_{(flags & 128U) != 0 ? session_machine{options_, now_} : session_machine{self_, options_, now_, flags}} {}

    void receive(bytes_view input) {
        if (const mutable_bytes span = machine_.want(); !span.empty() && !input.empty()) {
            const std::size_t size = std::min(span.size(), input.size());
            std::memcpy(span.data(), input.data(), size);
            machine_.handle_direct(size, now_);
            input = input.subspan(size);
        }
        if (!input.empty()) machine_.handle(slice::copy(input), now_);
    }

    void event() {
        const auto event = machine_.poll_event();
        if (!event) return;
        require(!failed_);
        if (const auto* message = std::get_if<message_received>(&*event)) {
            require(!machine_.close_was_sent() && !closed_);
            if (message->opcode == websocket::opcode::text) require(websocket::is_utf8(message->payload.view()));
        } else if (const auto* closed = std::get_if<close_received>(&*event)) {
            require(!closed_ && machine_.close_was_received());
            require(closed->code == close_code::no_status || is_valid_on_wire(closed->code));
            closed_ = true;
        } else if (const auto* failure = std::get_if<session_failed>(&*event)) {
            require(!failure->reason.empty());
            require(!failure->send_close || (!machine_.close_was_sent() && !closed_));
            failed_ = true;
            require(!machine_.pending_control() && !machine_.pending_input() && !machine_.poll_timeout());
        }
    }

    void control() {
        std::array<std::byte, max_close_message> out;
        const std::size_t size = machine_.poll_control(out);
        if (size == 0) return;
        require(!failed_ && !machine_.close_was_sent());
        if (machine_.format() == wire_format::stream) {  // nothing but the answer to a goodbye
            stream_decoder peer{1'000};
            peer.feed(slice::copy(bytes_view{out}.first(size)));
            const auto message = peer.next();
            require(closed_ && message && !peer.unfinished() && parse_goodbye(message->view().subspan(command_id_size)));
            return;
        }
        peer_.feed(slice::copy(bytes_view{out}.first(size)));
        const auto frame = peer_.next();
        require(frame && websocket::is_control(frame->op) && !peer_.unfinished());
    }

    void wake() {
        if (const auto next = machine_.poll_timeout()) now_ = std::max(now_, *next);
        machine_.handle_timeout(now_);
        const auto next = machine_.poll_timeout();
        require(!next || *next > now_);
    }

    void settle() {
        for (int i = 0; i < 10'000 && machine_.pending_input(); ++i) {
            event();
            control();
        }
        require(!machine_.pending_input());
    }

    void operation(unsigned what, unsigned argument, bytes_view& rest) {
        switch (what % 12) {
            case 0:
            case 1: {
                const std::size_t size = std::min<std::size_t>(argument, rest.size());
                receive(rest.first(size));
                rest = rest.subspan(size);
                break;
            }
            case 2: event(); break;
            case 3: control(); break;
            case 4: now_ += std::chrono::milliseconds{argument * 100}; break;
            case 5: wake(); break;
            case 6: machine_.handle_write_progress(argument * 16, (argument % 7) * 1000, now_); break;
            case 7: machine_.pause_reading(now_); break;
            case 8: machine_.resume_reading(now_); break;
            case 9: (void)machine_.charge(argument % 8, now_); break;
            case 10: settle(); break;
            default:
                if (argument > 250) machine_.close_sent(now_);
                if (argument < 3) machine_.handle_eof(argument != 1);
                break;
        }
    }

private:
    static session_options limits(unsigned flags) {
        session_options options;
        options.max_binary_message = 100'000;
        options.max_text_message = 1'000;
        options.max_fragments = 50;
        options.max_empty_fragments = 5;
        if ((flags & 2U) != 0) options.messages_per_second = options.controls_per_second = 0;
        if ((flags & 4U) != 0) options.message_burst = options.control_burst = 5;
        if ((flags & 8U) != 0) options.read_timeout = options.close_timeout = duration::zero();
        return options;
    }

    time_point now_{};
    websocket::role self_;
    websocket::decoder peer_;
    session_options options_;
    session_machine machine_;
    bool failed_ = false;
    bool closed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    world one{data[0]};
    bytes_view rest = std::as_bytes(std::span{data, size}).subspan(1);
    while (rest.size() >= 2) {
        const auto what = std::to_integer<unsigned>(rest[0]);
        const auto argument = std::to_integer<unsigned>(rest[1]);
        rest = rest.subspan(2);
        one.operation(what, argument, rest);
    }
    one.settle();
    return 0;
}
