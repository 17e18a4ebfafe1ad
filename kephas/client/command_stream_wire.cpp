#include <kephas/proto/command/goodbye.hpp>

#include <kephas/client/command_stream_wire.hpp>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

namespace kephas {

namespace {

constexpr std::array<std::byte, 4> keep_alive{};  // a length of zero

template <class Bytes>
void append(std::vector<std::byte>& out, const Bytes& bytes, std::size_t size) {
    out.insert(out.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
}

time_point next_keep_alive(time_point now, duration interval) {
    return interval > duration::zero() ? now + interval : time_point::max();
}

}  // namespace

command_stream_wire::command_stream_wire(const session_options& options, time_point now, bool unix_socket)
    : machine_wire{options, now},
      keep_alive_at_{next_keep_alive(now, options.ping_interval)},
      unix_socket_{unix_socket} {}

/// Text has no id of its own here.
std::optional<wire_event> command_stream_wire::poll_event() {
    auto event = machine_wire::poll_event();
    if (event) {
        if (auto* const message = std::get_if<wire_message>(&*event); message != nullptr && message->command == command_jsonrpc) {
            message->command.reset();
        }
    }
    return event;
}

void command_stream_wire::handle_timeout(time_point now) {
    machine_wire::handle_timeout(now);
    if (now < keep_alive_at_) return;
    keep_alive_at_ = next_keep_alive(now, options_.ping_interval);
    keep_alive_waits_ = true;
}

std::optional<time_point> command_stream_wire::poll_timeout() const noexcept {
    const time_point next = std::min(machine_wire::poll_timeout().value_or(time_point::max()), keep_alive_at_);
    return next == time_point::max() ? std::nullopt : std::optional{next};
}

void command_stream_wire::encode_preamble(std::vector<std::byte>& out) {
    if (unix_socket_) append(out, keep_alive, keep_alive.size());
}

bool command_stream_wire::poll_control(std::vector<std::byte>& out) {
    if (!std::exchange(keep_alive_waits_, false)) return machine_wire::poll_control(out);
    append(out, keep_alive, keep_alive.size());
    return true;
}

void command_stream_wire::encode(const outgoing& message, std::vector<std::byte>& out) {
    const command_id id = message.command.value_or(message.is_error ? command_jsonrpc_error : command_jsonrpc);
    std::array<std::byte, stream_frame_head_size> head;
    encode_stream_head(head, id, message.body.size());
    append(out, head, head.size());
    append(out, message.body.view(), message.body.size());
}

void command_stream_wire::encode_goodbye(close_code code, std::string_view reason, std::vector<std::byte>& out) {
    std::array<std::byte, max_goodbye> goodbye;
    append(out, goodbye, kephas::encode_goodbye(goodbye, code, reason));
}

void command_stream_wire::goodbye_sent(time_point now) {
    machine_wire::goodbye_sent(now);
    keep_alive_at_ = time_point::max();
    keep_alive_waits_ = false;
}

}  // namespace kephas
