#include <kephas/base/error.hpp>

#include <kephas/net/steady_timer.hpp>
#include <kephas/net/stream_client.hpp>

#include <asio/this_coro.hpp>

#include <exception>
#include <utility>

namespace kephas {

namespace {

address checked(address where) {
    if (is_datagram(where.kind)) throw error{errc::invalid_address, to_string(where) + ": datagrams have a client of their own"};
    return where;
}

}  // namespace

stream_client::stream_client(std::string_view where, connect_options options)
    : stream_client{address::parse(where), std::move(options)} {}

stream_client::stream_client(address where, connect_options options)
    : where_{checked(std::move(where))}, options_{std::move(options)} {}

connection& stream_client::current() {
    if (!connection_ || !connection_->is_open()) throw error{errc::not_connected, to_string(where_)};
    return *connection_;
}

void stream_client::close() {
    if (connection_) connection_->close();
}

asio::awaitable<void> stream_client::connect(time_point deadline) {
    close();
    auto made = co_await kephas::connect(where_, deadline, options_);
    connection_ = std::move(made);
}

asio::awaitable<void> stream_client::once(bytes_view request, time_point deadline, response_handler handle) {
    const bool own = !is_connected();
    if (own) co_await connect(deadline);
    // Shared with the timer: its last words may come when this coroutine has ended.
    struct state {
        connection* on;
        bool late = false;
    };
    const auto watched = std::make_shared<state>(state{connection_.get()});
    steady_timer timer{co_await asio::this_coro::executor};
    timer.expires_at(deadline);
    timer.async_wait([watched](std::error_code ec) {
        if (ec || watched->on == nullptr) return;
        watched->late = true;
        watched->on->close();
    });
    std::exception_ptr failure;
    try {
        co_await connection_->write(request);
        co_await handle(*connection_);
    } catch (...) {
        failure = std::current_exception();
    }
    watched->on = nullptr;
    if (own || failure) close();
    if (watched->late) throw error{errc::timed_out, to_string(where_)};
    if (failure) std::rethrow_exception(failure);
}

}  // namespace kephas
