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
    wake();  // there may be an order already
    while (!over_) {
        if (auto next = owner.take_outgoing()) {
            auto sending = send(std::move(*next));
            co_await std::move(sending);
            continue;
        }
        if (const close_order* const order = owner.close_ordered()) {
            close(*order, !order->at_once);
            break;
        }
        co_await sending_.wait();
    }
    end();
    receiving_.signal();
    while (!receiver_ended_) co_await sending_.wait();
    co_return end_;
}

/// A send that waits for the peer does not look for orders: so it is ended from here.
void datagram_connection::wake() {
    sending_.signal();
    receiving_.signal();
    if (over_ || owner_ == nullptr) return;
    const close_order* const order = owner_->close_ordered();
    if (order == nullptr) return;
    if (order->at_once) return close(*order, false);
    if (std::exchange(closing_, true)) return;
    if (limits_.close <= duration::zero()) return;
    close_timer_.expires_after(limits_.close);
    close_timer_.async_wait([self = shared_from_this()](std::error_code ec) {
        const close_order* const late = ec || self->over_ ? nullptr : self->owner_->close_ordered();
        if (late != nullptr) self->close(*late, false);
    });
}

void datagram_connection::close(const close_order& order, bool clean) {
    if (over_) return;
    end_ = {.by = connection_end::ended_by::client, .code = order.code, .reason = order.reason, .clean = clean};
    end();
}

/// What waits for the socket goes on soon.
void datagram_connection::end() {
    over_ = true;
    write_timer_.cancel();
    close_timer_.cancel();
    socket_->close();
}

/// One wait for many sends: few of them take any time.
void datagram_connection::watch_sending() {
    send_watched_ = true;
    write_timer_.expires_at(send_began_ + limits_.write);
    write_timer_.async_wait([self = shared_from_this()](std::error_code ec) {
        self->send_watched_ = false;
        if (ec || self->over_ || !self->send_waits_) return;
        if (clock::now() < self->send_began_ + self->limits_.write) return self->watch_sending();
        self->end_.error = make_error_code(errc::timed_out);
        self->end_.reason = "write timeout";
        self->end();
    });
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
    send_began_ = clock::now();
    send_waits_ = true;
    if (!send_watched_ && limits_.write > duration::zero()) watch_sending();
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
    send_waits_ = false;
    if (!ec) {
        owner_->count_bytes(0, buffer_.size());
        owner_->sent(std::move(message));
    } else if (over_) {
        owner_->not_sent(std::move(message));
    } else {
        owner_->dropped(std::move(message), ec);
        if (ec != std::errc::message_size) failed(ec);
    }
}

void datagram_connection::failed(std::error_code why) {
    if (over_ || why == asio::error::operation_aborted) return;
    owner_->unreachable(why);
    if (lasts_ && why == std::errc::connection_refused) return;
    end_.error = why;
    end();
    wake();
}

}  // namespace kephas
