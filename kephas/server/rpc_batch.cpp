#include <kephas/server/outbound_frames.hpp>
#include <kephas/server/rpc_batch.hpp>

#include <string>
#include <utility>

namespace kephas {

std::optional<outbound_frame> rpc_batch::set_result(std::size_t slot, const json& result) {
    const std::lock_guard lock{mutex_};
    reply_.set_result(slot, result);
    return take_locked();
}

std::optional<outbound_frame> rpc_batch::set_error(std::size_t slot, const jsonrpc::error_object& error) {
    const std::lock_guard lock{mutex_};
    reply_.set_error(slot, error);
    return take_locked();
}

std::optional<outbound_frame> rpc_batch::answered_from_the_start() {
    const std::lock_guard lock{mutex_};
    return take_locked();
}

std::optional<outbound_frame> rpc_batch::take_locked() {
    if (!reply_.complete() || std::exchange(taken_, true)) return std::nullopt;
    std::string text = reply_.take();
    if (text.empty()) return std::nullopt;
    return make_rpc_reply(format_, opcode_, command_jsonrpc, payload{std::move(text)});
}

}  // namespace kephas
