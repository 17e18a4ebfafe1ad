#include <kephas/base/error.hpp>

#include <kephas/net/error_codes.hpp>

#include <kephas/client/datagram_connection.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>

#include <array>
#include <utility>

namespace kephas {

asio::awaitable<connection_end> datagram_connection::run(connection_owner& owner) {
    const auto self = shared_from_this();
    owner_ = &owner;
    const auto executor = co_await asio::this_coro::executor;
    asio::co_spawn(executor, receive(), [self](const std::exception_ptr& /*it has said why*/) {
        self->receiver_ended_ = true;
        self->sending_.signal();
    });
    while (!over_) {
        if (auto next = owner.take_outgoing()) {
            auto sending = send(std::move(*next));
            co_await std::move(sending);
            continue;
        }
        if (const close_order* const order = owner.close_ordered()) {
            end_ = {.by = connection_end::ended_by::client, .code = order->code, .reason = order->reason, .clean = !order->at_once};
            break;
        }
        co_await sending_.wait();
    }
    over_ = true;
    socket_->close();
    receiving_.signal();
    while (!receiver_ended_) co_await sending_.wait();
    co_return end_;
}

asio::awaitable<void> datagram_connection::receive() {
    const auto self = shared_from_this();
    while (!over_) {
        if (!owner_->has_room()) {  // what comes meanwhile is dropped by the system
            co_await receiving_.wait();
            continue;
        }
        std::error_code ec;
        try {
            const auto datagram = co_await socket_->receive();
            if (!datagram) break;
            owner_->count_bytes(datagram->bytes.size(), 0);
            const auto command = decode_command(datagram->bytes);
            if (!command || datagram->truncated()) continue;  // nobody is there to be told
            const bool text = command->id == command_jsonrpc;
            owner_->received(text ? std::nullopt : std::optional{command->id}, slice::copy(command->payload));
        } catch (const std::system_error& failure) {
            ec = unified(failure.code());
        }
        if (ec) failed(ec);
    }
}

asio::awaitable<void> datagram_connection::send(outgoing message) {
    const command_id id = message.command.value_or(message.is_error ? command_jsonrpc_error : command_jsonrpc);
    buffer_ = encode_command(id, message.body.view());
    std::error_code ec;
    // The first failure may be that of an earlier datagram, in whose place nothing was sent.
    for (int i = 0; i < 2; ++i) {
        ec.clear();
        try {
            co_await socket_->send(bytes_view{buffer_});
            break;
        } catch (const std::system_error& failure) {
            ec = unified(failure.code());
        }
        if (ec != std::errc::connection_refused || !lasts_) break;
    }
    if (!ec) {
        owner_->count_bytes(0, buffer_.size());
        owner_->sent(std::move(message));
    } else {
        owner_->dropped(std::move(message), ec);
        if (ec != std::errc::message_size) failed(ec);
    }
}

void datagram_connection::failed(std::error_code why) {
    if (over_ || why == asio::error::operation_aborted) return;
    owner_->unreachable(why);
    if (lasts_ && why == std::errc::connection_refused) return;
    over_ = true;
    end_.error = why;
    wake();
}

}  // namespace kephas
