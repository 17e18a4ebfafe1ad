#include <kephas/base/error.hpp>

#include <kephas/net/connect.hpp>
#include <kephas/net/error_codes.hpp>
#include <kephas/net/parked.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/socket_stream.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/tls_stream.hpp>
#include <kephas/net/unix_endpoint.hpp>

#include <asio/error.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

using protocol = asio::generic::stream_protocol;
using asio::ip::tcp;

/// Calls `who` at `deadline`, with `errc::timed_out`.
void resume_at(steady_timer& timer, time_point deadline, const parked_ptr& who) {
    timer.expires_at(deadline);
    timer.async_wait([who](std::error_code ec) {
        if (!ec) who->resume(errc::timed_out);
    });
}

/// None, if there is a name to be looked up. This machine has the same addresses everywhere (RFC 6761 6.3).
std::vector<protocol::endpoint> endpoints_without_looking(const address& where) {
    if (is_unix(where.kind)) return {unix_endpoint(where.path)};
    std::vector<protocol::endpoint> all;
    if (where.host.empty() || where.host == "localhost") {
        if (where.kind != network::tcp4) all.emplace_back(tcp::endpoint{asio::ip::address_v6::loopback(), where.port});
        if (where.kind != network::tcp6) all.emplace_back(tcp::endpoint{asio::ip::address_v4::loopback(), where.port});
        return all;
    }
    std::error_code ec;
    const auto ip = asio::ip::make_address(where.host, ec);
    if (ec) return all;
    if ((where.kind == network::tcp4 && !ip.is_v4()) || (where.kind == network::tcp6 && !ip.is_v6())) {
        throw error{errc::invalid_address, to_string(where) + ": an address of the other version of IP"};
    }
    all.emplace_back(tcp::endpoint{ip, where.port});
    return all;
}

/// getaddrinfo(3) cannot be interrupted: whoever waits for it leaves at the deadline, and it comes to its end alone.
asio::awaitable<std::vector<protocol::endpoint>> resolve(const address& where, time_point deadline) {
    struct outcome {
        explicit outcome(const asio::any_io_executor& executor) : resolver{executor} {}
        tcp::resolver resolver;
        std::error_code ec{};
        std::vector<protocol::endpoint> found{};
    };
    const auto executor = co_await asio::this_coro::executor;
    const auto shared = std::make_shared<outcome>(executor);
    steady_timer timer{executor};
    std::error_code ec;
    co_await park(
        [&](parked_ptr who) {
            const std::string port = std::to_string(where.port);
            const auto done = [shared, who](std::error_code failure, const tcp::resolver::results_type& results) {
                shared->ec = failure;
                for (const auto& each : results) shared->found.emplace_back(each.endpoint());
                who->resume();
            };
            const auto flags = tcp::resolver::numeric_service;
            if (where.kind == network::tcp4) shared->resolver.async_resolve(tcp::v4(), where.host, port, flags, done);
            else if (where.kind == network::tcp6) shared->resolver.async_resolve(tcp::v6(), where.host, port, flags, done);
            else shared->resolver.async_resolve(where.host, port, flags, done);
            resume_at(timer, deadline, who);
            return true;
        },
        ec);
    timer.cancel();
    if (!ec) ec = shared->ec;
    if (ec) throw error{ec, to_string(where)};
    co_return std::move(shared->found);
}

/// What a connection has before it is connected: nothing but the address that is tried.
class dialing final : public stream {
public:
    explicit dialing(const protocol::endpoint& where) : where_{to_string(where.data(), where.size())} {}

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

void tell_dialing(const protocol::endpoint& where, const connection_observer* observer) {
    if (observer != nullptr) connection{std::make_unique<dialing>(where), observer}.tell(connection_state::dial);
}

/// Null, and the reason, if it fails.
asio::awaitable<std::unique_ptr<stream>> connect_to(protocol::endpoint endpoint, time_point deadline, std::error_code& ec) {
    struct attempt {
        explicit attempt(const asio::any_io_executor& executor) : socket{executor} {}
        protocol::socket socket;
        std::error_code ec{};
    };
    const auto executor = co_await asio::this_coro::executor;
    const auto shared = std::make_shared<attempt>(executor);
    const int family = endpoint.protocol().family();
    shared->socket.open(protocol{family, family == AF_UNIX ? 0 : IPPROTO_TCP}, ec);
    if (ec) co_return nullptr;
    steady_timer timer{executor};
    co_await park(
        [&](parked_ptr who) {
            shared->socket.async_connect(endpoint, [shared, who](std::error_code failure) {
                shared->ec = failure;
                who->resume();
            });
            resume_at(timer, deadline, who);
            return true;
        },
        ec);
    timer.cancel();
    if (!ec) ec = shared->ec;
    if (!ec) co_return make_socket_stream(std::move(shared->socket));
    std::error_code ignored;
    shared->socket.close(ignored);
    co_return nullptr;
}

}  // namespace

asio::awaitable<std::unique_ptr<stream>> connect_stream(address where, time_point deadline, connect_options options) {
    if (is_datagram(where.kind)) throw error{errc::invalid_address, to_string(where) + ": datagrams are not connected like this"};
    if (where.tls && !options.tls) options.tls = tls_client_context::standard();
    std::vector<protocol::endpoint> all = endpoints_without_looking(where);
    if (all.empty()) all = co_await resolve(where, deadline);
    std::error_code ec = asio::error::host_not_found;
    std::unique_ptr<stream> transport;
    for (std::size_t i = 0; i < all.size() && !transport && ec != asio::error::operation_aborted; ++i) {
        const time_point now = clock::now();
        const duration share = (std::max(deadline, now) - now) / static_cast<int>(all.size() - i);
        tell_dialing(all[i], options.observer);
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
    auto made = std::make_unique<connection>(std::move(transport), options.observer);
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
