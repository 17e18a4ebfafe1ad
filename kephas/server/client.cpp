#include <kephas/base/error.hpp>

#include <kephas/proto/http/request.hpp>
#include <kephas/proto/jsonrpc/encode.hpp>

#include <kephas/net/steady_timer.hpp>

#include <kephas/server/client.hpp>
#include <kephas/server/client_state.hpp>
#include <kephas/server/clients.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/outbound_frames.hpp>
#include <kephas/server/shard.hpp>

#include <asio/this_coro.hpp>

#include <utility>

namespace kephas {

namespace {

/// What a handle without a client answers.
const std::string& nothing() noexcept {
    static const std::string text;
    return text;
}

/// How messages to it are written; what a handle without a client sends arrives nowhere.
wire_format format_of(const std::shared_ptr<client_state>& state) noexcept {
    return state ? state->format() : wire_format::websocket;
}

// What the public functions return has its arguments by value, so that nothing dangles while it waits.
asio::awaitable<void> send_frame(std::shared_ptr<client_state> to, outbound_frame frame) {
    if (!to) throw error{errc::closed};
    const send_status status = co_await to->out().push_when_room(std::move(frame));
    if (status == send_status::closed) throw error{errc::closed};
}

send_status try_send_frame(const std::shared_ptr<client_state>& to, outbound_frame frame, overflow_policy when_full,
                           std::uint64_t key) {
    if (!to) return send_status::closed;
    const send_status status = to->out().push(std::move(frame), when_full, key);
    if (status == send_status::full && when_full == overflow_policy::close) {
        to->fail(close_code::slow_consumer, "slow consumer");
    }
    return status;
}

asio::awaitable<void> wait_drained(std::shared_ptr<client_state> state) {
    if (!state) throw error{errc::closed};
    const bool drained = co_await state->out().drained();
    if (!drained) throw error{errc::closed};
}

asio::awaitable<close_info> wait_closed(std::shared_ptr<client_state> state) {
    if (!state) co_return close_info{};
    std::error_code ec;
    co_await park([&state](parked_ptr who) { return state->wait_closed(std::move(who)); }, ec);
    if (ec) throw std::system_error{ec};
    co_return *state->closed_with();
}

asio::awaitable<json> call_peer(std::shared_ptr<client_state> state, std::string method, json params,
                                duration timeout) {
    if (!state || !state->alive()) throw error{errc::closed};
    if (!state->reading()) throw error{errc::not_reading};
    std::uint64_t id = 0;
    std::error_code refused;
    const auto pending = state->calls().open(state->options().max_pending_calls, id, refused);
    if (!pending) throw error{refused};

    struct ends_call {  // also when the coroutine is cancelled or destroyed
        std::shared_ptr<client_state> state;
        std::uint64_t id;
        ~ends_call() {
            state->calls().end(id, errc::timed_out);
            state->home()->call_ended();
        }
    };
    state->home()->call_started();
    const ends_call guard{state, id};

    steady_timer deadline{co_await asio::this_coro::executor};
    if (timeout > duration::zero()) {
        deadline.expires_after(timeout);
        deadline.async_wait([state, id](std::error_code ec) {
            if (!ec) state->calls().end(id, errc::timed_out);
        });
    }
    outbound_frame frame = make_text(state->format(), payload{jsonrpc::encode_request(jsonrpc::request_id{id}, method, params)});
    const std::size_t size = frame.size();
    const std::size_t allocated = frame.body.allocated();
    std::error_code ec;
    for (;;) {
        const send_status status = state->out().push(std::move(frame), overflow_policy::wait);
        if (status == send_status::closed) throw error{errc::closed};
        if (status == send_status::queued) break;
        // For room, or for the end of the call, whichever comes first.
        co_await park(
            [&](parked_ptr who) {
                return state->calls().wait(*pending, who) && state->out().wait_for_room(size, allocated, std::move(who));
            },
            ec);
        if (ec) throw std::system_error{ec};
        if (!state->calls().is_pending(id)) break;
    }
    co_await park([&](parked_ptr who) { return state->calls().wait(*pending, std::move(who)); }, ec);
    if (ec) throw std::system_error{ec};
    if (pending->failure) throw error{pending->failure};
    if (pending->refusal) {
        throw rpc_failure{pending->refusal->code, std::move(pending->refusal->message),
                          pending->refusal->data.value_or(json{})};
    }
    co_return std::move(*pending->result);
}

}  // namespace

client_id client::id() const noexcept { return state_ ? state_->id() : client_id{}; }
const std::string& client::identity() const noexcept { return state_ ? state_->identity() : nothing(); }
const std::string& client::remote_address() const noexcept { return state_ ? state_->remote_address() : nothing(); }
const std::string& client::subprotocol() const noexcept { return state_ ? state_->subprotocol() : nothing(); }

std::optional<std::string> client::header(std::string_view name) const {
    if (!state_) return std::nullopt;
    return state_->header(name);
}

std::optional<std::string> client::query(std::string_view name) const {
    http::request request;
    if (state_) request.query_string = state_->query_string();
    return request.query(name);
}

std::optional<kephas::peer_credentials> client::peer_credentials() const {
    return state_ ? state_->credentials() : std::optional<kephas::peer_credentials>{};
}

clients client::clients() const { return state_ ? kephas::clients{state_->home()->registry()} : kephas::clients{}; }

connection_stats client::stats() const { return state_ ? state_->stats() : connection_stats{}; }

bool client::is_alive() const noexcept { return state_ && state_->alive(); }

std::optional<close_info> client::close_info() const {
    return state_ ? state_->closed_with() : std::optional{kephas::close_info{}};
}

send_status client::try_send(command_id id, payload body, overflow_policy when_full, std::uint64_t key) const {
    return try_send_frame(state_, make_command(format_of(state_), id, std::move(body)), when_full, key);
}

send_status client::try_send_text(payload text, overflow_policy when_full, std::uint64_t key) const {
    return try_send_frame(state_, make_text(format_of(state_), std::move(text)), when_full, key);
}

asio::awaitable<void> client::send(command_id id, payload body) const {
    return send_frame(state_, make_command(format_of(state_), id, std::move(body)));
}

asio::awaitable<void> client::send_text(payload text) const {
    return send_frame(state_, make_text(format_of(state_), std::move(text)));
}

asio::awaitable<void> client::drained() const { return wait_drained(state_); }

asio::awaitable<json> client::call(std::string method, json params) const {
    const duration timeout = state_ ? state_->options().call_timeout : duration::zero();
    return call_peer(state_, std::move(method), std::move(params), timeout);
}

asio::awaitable<json> client::call(std::string method, json params, duration timeout) const {
    return call_peer(state_, std::move(method), std::move(params), timeout);
}

asio::awaitable<void> client::notify(std::string method, json params) const {
    return send_frame(state_, make_text(format_of(state_), payload{jsonrpc::encode_notification(method, params)}));
}

void client::close(close_code code, std::string_view reason) const {
    if (state_) state_->close(code, reason);
}

void client::abort() const {
    if (state_) state_->abort();
}

asio::awaitable<kephas::close_info> client::closed() const { return wait_closed(state_); }

void client::attach_any(std::any value) const {
    if (state_) state_->attach(std::move(value));
}

std::any client::attachment_any() const { return state_ ? state_->attachment() : std::any{}; }

}  // namespace kephas
