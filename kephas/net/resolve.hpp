#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/error.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/parked.hpp>
#include <kephas/net/socket_address.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/awaitable.hpp>

#include <system_error>
#include <vector>

namespace kephas {

/// Calls `who` at `deadline`, with `errc::timed_out`.
void resume_at(steady_timer& timer, time_point deadline, const parked_ptr& who);

/// Where a socket that listens at `where` is bound: without a host to all addresses, IPv6 and IPv4 alike.
/// Errors: `errc::invalid_address` for a name other than localhost, and for the other version of IP.
[[nodiscard]] socket_address address_to_bind(const address& where);
/// What to bind to instead on a machine without IPv6, if `where` is all addresses: all of its own are the others. Nobody, if
/// it is not.
[[nodiscard]] socket_address address_without_ipv6(const address& where);

/// Calls `bind(socket_address, only_v6)` with what `where` says, and once more on a machine without IPv6.
template <class Bind>
auto bind_at(const address& where, Bind bind) {
    const bool only_v6 = where.kind == network::tcp6 || where.kind == network::udp6;
    const socket_address first = address_to_bind(where);
    try {
        return bind(first, only_v6);
    } catch (const error& failure) {
        const socket_address second = address_without_ipv6(where);
        if (second.empty() || failure.code() != std::errc::address_family_not_supported) throw;
        return bind(second, false);
    }
}

/// The ends to connect to, in the order in which to try them. A name is looked up; without a host it is this machine.
/// Errors: `error`, with `errc::timed_out` once `deadline` has passed, the resolver's code (`asio::error::host_not_found`, ...),
/// `errc::invalid_address` for an address of the other version of IP. Cancellation: all types. Lifetime: `where` stays.
[[nodiscard]] asio::awaitable<std::vector<socket_address>> resolve(const address& where, time_point deadline);

}  // namespace kephas
