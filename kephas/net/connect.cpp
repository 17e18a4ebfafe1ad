#include <kephas/base/error.hpp>

#include <kephas/net/connect.hpp>
#include <kephas/net/error_codes.hpp>
#include <kephas/net/parked.hpp>
#include <kephas/net/resolve.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/socket_stream.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/tls_stream.hpp>

#include <asio/error.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

using protocol = asio::generic::stream_protocol;

/// What a connection has before it is connected: nothing but the address that is tried.
class dialing final : public stream {
public:
    explicit dialing(const socket_address& where) : where_{to_string(where)} {}

    std::size_t read_some(read_buffer& /*buffer*/, std::error_code& ec) override { return refuse(ec); }
    void wait_readable(read_waiter& /*who*/) override {}
    std::size_t write_some(std::span<const bytes_view> /*buffers*/, std::error_code& ec) override { return refuse(ec); }
    void wait_writable(std::function<void(std::error_code)> /*ready*/) override {}
    void shutdown_send() noexcept override {}
    void close() noexcept override {}
    void abort() noexcept override {}
    bool peer_gone() const noexcept override { return false; }
    std::string remote_address() const override { return where_; }

private:
    static std::size_t refuse(std::error_code& ec) noexcept {
        ec = asio::error::not_connected;
        return 0;
    }

    std::string where_;
};

void tell_dialing(const socket_address& where, const connection_observer& observer) {
    if (observer) connection::announce(std::make_unique<dialing>(where), std::make_shared<const connection_observer>(observer));
}

struct attempt {
    explicit attempt(const asio::any_io_executor& executor) : socket{executor} {}
    protocol::socket socket;
    std::error_code ec{};
};

asio::awaitable<std::error_code> connect_internet(std::shared_ptr<attempt> shared, protocol::endpoint end, time_point deadline) {
    steady_timer timer{co_await asio::this_coro::executor};
    std::error_code ec;
    co_await park(
        [&](parked_ptr who) {
            const auto mine = shared;
            const protocol::endpoint to = end;
            resume_at(timer, deadline, who);
            // From here on the coroutine may go on, if its executor has several threads: nothing of its frame is used.
            mine->socket.async_connect(to, [mine, who](std::error_code failure) {
                mine->ec = failure;
                who->resume();
            });
            return true;
        },
        ec);
    co_return ec ? ec : shared->ec;
}

/// Linux connects to a Unix socket at once, or not at all: it does not wait for room in the queue of one that listens, and no event
/// tells of it. So this asks again, later, and without Asio, of which some versions take the EAGAIN for a connect under way.
asio::awaitable<std::error_code> connect_local(int fd, socket_address end, time_point deadline) {
    static constexpr duration longest_pause = std::chrono::milliseconds{32};
    steady_timer timer{co_await asio::this_coro::executor};
    for (duration pause = std::chrono::milliseconds{1};; pause = std::min(2 * pause, longest_pause)) {
        if (::connect(fd, end.data(), static_cast<socklen_t>(end.size())) == 0) co_return std::error_code{};
        if (errno != EAGAIN) co_return std::error_code{errno, std::system_category()};
        const time_point now = clock::now();
        if (now >= deadline) co_return make_error_code(errc::timed_out);
        timer.expires_at(std::min(deadline, now + pause));
        std::error_code ec;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (ec) co_return ec;  // cancelled
    }
}

/// Null, and the reason, if it fails.
asio::awaitable<std::unique_ptr<stream>> connect_to(socket_address end, time_point deadline, std::error_code& ec) {
    const auto executor = co_await asio::this_coro::executor;
    const auto shared = std::make_shared<attempt>(executor);
    const bool local = end.family() == AF_UNIX;
    const protocol kind{end.family(), local ? 0 : IPPROTO_TCP};
    owned_fd made = socket_calls::make_socket(kind.family(), SOCK_STREAM, kind.protocol(), ec);
    if (!ec) shared->socket.assign(kind, made.get(), ec);
    if (ec) co_return nullptr;
    (void)made.release();
    if (local) {
        ec = co_await connect_local(shared->socket.native_handle(), end, deadline);
    } else {
        const protocol::endpoint endpoint{end.data(), end.size(), IPPROTO_TCP};
        ec = co_await connect_internet(shared, endpoint, deadline);
    }
    if (!ec) co_return make_socket_stream(std::move(shared->socket));
    std::error_code ignored;
    shared->socket.close(ignored);
    co_return nullptr;
}

}  // namespace

asio::awaitable<std::unique_ptr<stream>> connect_stream(address where, time_point deadline, connect_options options) {
    if (is_datagram(where.kind)) throw error{errc::invalid_address, to_string(where) + ": datagrams are not connected like this"};
    if (options.tls && !where.tls) throw std::invalid_argument{to_string(where) + ": options of TLS are given, but the address is not tls://"};
    if (where.tls && !options.tls) options.tls = tls_client_context::standard();
    const std::vector<socket_address> all = co_await resolve(where, deadline);
    std::error_code ec = asio::error::host_not_found;
    std::unique_ptr<stream> transport;
    for (std::size_t i = 0; i < all.size() && !transport && ec != asio::error::operation_aborted; ++i) {
        const time_point now = clock::now();
        const duration share = (std::max(deadline, now) - now) / static_cast<int>(all.size() - i);
        tell_dialing(all[i], options.on_state);
        transport = co_await connect_to(all[i], now + share, ec);
    }
    if (!transport) throw error{unified(ec), to_string(where)};
    if (options.keep_alive > duration::zero()) socket_calls::keep_alive(transport->native_handle(), options.keep_alive);
    if (options.prepare_socket) options.prepare_socket(transport->native_handle());
    if (where.tls) {
        const std::string_view host = where.host.empty() ? std::string_view{"localhost"} : std::string_view{where.host};
        transport = make_tls_client_stream(std::move(transport), options.tls, host);
    }
    co_return transport;
}

asio::awaitable<std::unique_ptr<connection>> connect(address where, time_point deadline, connect_options options) {
    auto transport = co_await connect_stream(where, deadline, options);
    std::shared_ptr<const connection_observer> observer;
    if (options.on_state) observer = std::make_shared<const connection_observer>(std::move(options.on_state));
    auto made = std::make_unique<connection>(std::move(transport), std::move(observer));
    try {
        co_await made->handshake(deadline);
    } catch (const error& failure) {
        made->close();
        throw error{unified(failure.code()), to_string(where)};
    }
    made->tell(connection_state::opened);
    co_return made;
}

}  // namespace kephas
