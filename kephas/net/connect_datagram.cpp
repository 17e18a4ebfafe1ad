#include <kephas/base/error.hpp>

#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/error_codes.hpp>
#include <kephas/net/resolve.hpp>
#include <kephas/net/socket_address.hpp>
#include <kephas/net/socket_calls.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

using protocol = datagram_socket::protocol;

/// Closed, and the reason, if it fails.
protocol::socket connected_to(const asio::any_io_executor& executor, const socket_address& end, std::error_code& ec) {
    protocol::socket socket{executor};
    const bool local = end.family() == AF_UNIX;
    const int transport = local ? 0 : IPPROTO_UDP;
    owned_fd made = socket_calls::make_socket(end.family(), SOCK_DGRAM, transport, ec);
    if (!ec) socket.assign({end.family(), transport}, made.get(), ec);
    if (ec) return socket;
    (void)made.release();
    const sockaddr unnamed{AF_UNIX, {}};
    if (local && ::bind(socket.native_handle(), &unnamed, sizeof(unnamed.sa_family)) != 0) {  // the system chooses a name
        ec = {errno, std::system_category()};
    } else {
        socket.connect({end.data(), end.size(), transport}, ec);
    }
    std::error_code ignored;
    if (ec) socket.close(ignored);
    return socket;
}

}  // namespace

asio::awaitable<std::unique_ptr<datagram_socket>> connect_datagram(address where, time_point deadline,
                                                                   datagram_socket_options options) {
    if (!is_datagram(where.kind)) throw error{errc::invalid_address, "\"" + to_string(where) + "\": not a kind of datagrams"};
    if (where.tls) throw error{errc::invalid_address, "\"" + to_string(where) + "\": there is no TLS for datagrams"};
    const auto executor = co_await asio::this_coro::executor;
    const std::vector<socket_address> all = co_await resolve(where, deadline);
    std::error_code ec = asio::error::host_not_found;
    for (const socket_address& end : all) {
        protocol::socket socket = connected_to(executor, end, ec);
        if (!ec) co_return std::make_unique<datagram_socket>(std::move(socket), std::move(options));
    }
    throw error{unified(ec), to_string(where)};
}

}  // namespace kephas
