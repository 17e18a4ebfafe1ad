#include <kephas/base/error.hpp>

#include <kephas/proto/jsonrpc/encode.hpp>

#include <kephas/client/client_core.hpp>
#include <kephas/client/command_client.hpp>

#include <stdexcept>
#include <utility>

namespace kephas {

namespace {

[[noreturn]] void refuse(const char* why) { throw std::invalid_argument{why}; }

outgoing command(command_id id, payload&& body, std::uint64_t generation = 0) {
    if (is_reserved(id)) refuse("this command id is reserved");
    return {.command = id, .body = std::move(body), .generation = generation};
}

outgoing text(payload&& body, std::uint64_t generation = 0) { return {.body = std::move(body), .generation = generation}; }

}  // namespace

asio::awaitable<void> fresh_link::send(command_id id, payload body) const {
    return client_core::send(core_, command(id, std::move(body), generation_));
}

asio::awaitable<void> fresh_link::send_text(payload body) const {
    return client_core::send(core_, text(std::move(body), generation_));
}

asio::awaitable<json> fresh_link::call(std::string method, json params) const {
    return client_core::call(core_, std::move(method), std::move(params), core_->options().call_timeout, generation_);
}

asio::awaitable<client_message> fresh_link::request(command_id id, payload body) const {
    if (is_reserved(id)) refuse("this command id is reserved");
    return client_core::request(core_, id, std::move(body), core_->options().call_timeout, generation_);
}

command_client::command_client(asio::any_io_executor executor, std::string_view url, command_client_options options)
    : core_{std::make_shared<client_core>(std::move(executor), client_url::parse(url), std::move(options))} {}

command_client::~command_client() { core_->abandon(); }

asio::awaitable<void> command_client::connect() { return client_core::connect(core_); }

asio::awaitable<void> command_client::send(command_id id, payload body) {
    return client_core::send(core_, command(id, std::move(body)));
}

asio::awaitable<void> command_client::send_text(payload body) { return client_core::send(core_, text(std::move(body))); }

std::error_code command_client::try_send(command_id id, payload body) {
    return core_->try_send(command(id, std::move(body)));
}

std::error_code command_client::try_send_text(payload body) { return core_->try_send(text(std::move(body))); }

asio::awaitable<void> command_client::drained() { return client_core::drained(core_); }

asio::awaitable<json> command_client::call(std::string method, json params) {
    return call(std::move(method), std::move(params), core_->options().call_timeout);
}

asio::awaitable<json> command_client::call(std::string method, json params, duration timeout) {
    return client_core::call(core_, std::move(method), std::move(params), timeout, 0);
}

asio::awaitable<void> command_client::notify(std::string method, json params) {
    return client_core::send(core_, text(payload{jsonrpc::encode_notification(method, params)}));
}

asio::awaitable<client_message> command_client::request(command_id id, payload body) {
    return request(id, std::move(body), core_->options().call_timeout);
}

asio::awaitable<client_message> command_client::request(command_id id, payload body, duration timeout) {
    if (is_reserved(id)) refuse("this command id is reserved");
    return client_core::request(core_, id, std::move(body), timeout, 0);
}

asio::awaitable<std::optional<client_message>> command_client::receive() { return client_core::receive(core_); }

void command_client::close(close_code code, std::string_view reason) { core_->close({code, std::string{reason}, false}); }

void command_client::abort() { core_->close({close_code::abnormal, {}, true}); }

asio::awaitable<connection_end> command_client::closed() { return client_core::closed(core_); }

link_state command_client::state() const { return core_->state(); }

std::string command_client::subprotocol() const { return core_->subprotocol(); }

client_stats command_client::stats() const { return core_->stats(); }

asio::awaitable<std::optional<payload>> command_client::no_reply(asio::awaitable<void> handler) {
    co_await std::move(handler);
    co_return std::nullopt;
}

void command_client::add_command(command_id id, message_handler handler) {
    if (is_reserved(id)) refuse("this command id is reserved");
    if (!core_->handlers().commands.emplace(static_cast<std::uint32_t>(id), std::move(handler)).second) {
        refuse("this command has a handler already");
    }
}

void command_client::add_text(message_handler handler) {
    if (std::exchange(core_->handlers().text, std::move(handler))) refuse("text has a handler already");
}

void command_client::add_method(std::string method, std::function<asio::awaitable<json>(json)> handler) {
    if (!core_->handlers().methods.emplace(std::move(method), std::move(handler)).second) {
        refuse("this method has a handler already");
    }
}

void command_client::add_hook(bool later_ones, std::function<asio::awaitable<void>(fresh_link)> hook) {
    client_handlers& all = core_->handlers();
    if (std::exchange(later_ones ? all.reconnected : all.connected, std::move(hook))) refuse("this hook is set already");
}

void command_client::on_state(std::function<void(const link_change&)> callback) {
    if (std::exchange(core_->handlers().state, std::move(callback))) refuse("on_state is set already");
}

}  // namespace kephas
