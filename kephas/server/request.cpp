#include <kephas/server/request.hpp>
#include <kephas/server/request_state.hpp>

namespace kephas {

namespace {
const json& no_params() noexcept {
    static const json none;
    return none;
}
}  // namespace

client request::client() const { return kephas::client{state_->from}; }

std::optional<command_id> request::command() const noexcept { return state_->work->command; }

std::string_view request::method() const noexcept {
    return state_->work->rpc ? std::string_view{state_->work->rpc->request.method} : std::string_view{};
}

websocket::opcode request::opcode() const noexcept { return state_->work->opcode; }

bytes_view request::payload() const noexcept { return state_->work->payload.view(); }

slice request::share() const noexcept { return state_->work->payload; }

const json& rpc_request::params() const noexcept {
    return state_->work->rpc ? state_->work->rpc->request.params : no_params();
}

bool rpc_request::is_notification() const noexcept {
    return state_->work->rpc && state_->work->rpc->request.is_notification();
}

}  // namespace kephas
