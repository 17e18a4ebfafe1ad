#include <kephas/net/resolve.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/this_coro.hpp>

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

namespace kephas {

namespace {

using asio::ip::tcp;

socket_address end_of(const asio::ip::address& ip, std::uint16_t port) {
    const tcp::endpoint end{ip, port};  // for datagrams it is the same
    return {end.data(), end.size()};
}

bool is_v4_only(network kind) noexcept { return kind == network::tcp4 || kind == network::udp4; }
bool is_v6_only(network kind) noexcept { return kind == network::tcp6 || kind == network::udp6; }

/// Of this machine, which has the same ones everywhere (RFC 6761 6.3).
std::vector<socket_address> loopback(const address& where) {
    std::vector<socket_address> all;
    if (!is_v6_only(where.kind)) all.push_back(end_of(asio::ip::address_v4::loopback(), where.port));
    if (is_v4_only(where.kind)) return all;
    // A stream that nobody accepts at one address is tried at the next. A datagram is not: it goes to 127.0.0.1, where a server
    // for all addresses and one for localhost both are.
    const auto v6 = end_of(asio::ip::address_v6::loopback(), where.port);
    all.insert(is_datagram(where.kind) ? all.end() : all.begin(), v6);
    return all;
}

/// getaddrinfo(3) cannot be interrupted: whoever waits for it leaves at the deadline, and it comes to its end alone.
asio::awaitable<std::vector<socket_address>> look_up(const address& where, time_point deadline) {
    struct outcome {
        explicit outcome(const asio::any_io_executor& executor) : resolver{executor} {}
        tcp::resolver resolver;
        std::error_code ec{};
        std::vector<socket_address> found{};
    };
    const auto executor = co_await asio::this_coro::executor;
    const auto shared = std::make_shared<outcome>(executor);
    steady_timer timer{executor};
    std::error_code ec;
    co_await park(
        [&](parked_ptr who) {
            const auto mine = shared;
            const network kind = where.kind;
            const std::string host = where.host;
            const std::string port = std::to_string(where.port);
            resume_at(timer, deadline, who);
            // From here on the coroutine may go on, if its executor has several threads: nothing of its frame is used.
            const auto done = [mine, who](std::error_code failure, const tcp::resolver::results_type& results) {
                mine->ec = failure;
                for (const auto& each : results) {
                    const tcp::endpoint end = each.endpoint();
                    mine->found.emplace_back(end.data(), end.size());
                }
                who->resume();
            };
            const auto flags = tcp::resolver::numeric_service;
            if (is_v4_only(kind)) mine->resolver.async_resolve(tcp::v4(), host, port, flags, done);
            else if (is_v6_only(kind)) mine->resolver.async_resolve(tcp::v6(), host, port, flags, done);
            else mine->resolver.async_resolve(host, port, flags, done);
            return true;
        },
        ec);
    timer.cancel();
    if (!ec) ec = shared->ec;
    if (ec) throw error{ec, to_string(where)};
    co_return std::move(shared->found);
}

}  // namespace

void resume_at(steady_timer& timer, time_point deadline, const parked_ptr& who) {
    timer.expires_at(deadline);
    timer.async_wait([who](std::error_code ec) {
        if (!ec) who->resume(errc::timed_out);
    });
}

socket_address address_to_bind(const address& where) {
    if (is_unix(where.kind)) return socket_address::of_unix(where.path);
    if (where.host.empty()) {
        if (is_v4_only(where.kind)) return end_of(asio::ip::address_v4::any(), where.port);
        return end_of(asio::ip::address_v6::any(), where.port);
    }
    if (where.host == "localhost") {
        if (is_v6_only(where.kind)) return end_of(asio::ip::address_v6::loopback(), where.port);
        return end_of(asio::ip::address_v4::loopback(), where.port);
    }
    std::error_code ec;
    const auto ip = asio::ip::make_address(where.host, ec);
    const bool other = (is_v4_only(where.kind) && !ip.is_v4()) || (is_v6_only(where.kind) && !ip.is_v6());
    if (ec || other) {
        throw error{errc::invalid_address, fmt::format("\"{}\": to listen takes {}, localhost, or nothing for all addresses",
                                                       to_string(where), other ? "an address of that version of IP" : "an IP address")};
    }
    return end_of(ip, where.port);
}

socket_address address_without_ipv6(const address& where) {
    const bool all = where.host.empty() && (where.kind == network::tcp || where.kind == network::udp);
    return all ? end_of(asio::ip::address_v4::any(), where.port) : socket_address{};
}

asio::awaitable<std::vector<socket_address>> resolve(const address& where, time_point deadline) {
    if (is_unix(where.kind)) co_return std::vector<socket_address>{socket_address::of_unix(where.path)};
    if (where.host.empty() || where.host == "localhost") co_return loopback(where);
    std::error_code ec;
    const auto ip = asio::ip::make_address(where.host, ec);
    if (ec) co_return co_await look_up(where, deadline);
    if ((is_v4_only(where.kind) && !ip.is_v4()) || (is_v6_only(where.kind) && !ip.is_v6())) {
        throw error{errc::invalid_address, to_string(where) + ": an address of the other version of IP"};
    }
    co_return std::vector<socket_address>{end_of(ip, where.port)};
}

}  // namespace kephas
