#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/connection.hpp>

#include <asio/awaitable.hpp>

#include <memory>

namespace kephas {

/// Connects to a TCP or Unix socket:
///
///     const auto server = co_await kephas::connect(kephas::address::parse("tcp://example.org:7"), deadline);
///     co_await server->write("hello");
///
/// A name is looked up, and its addresses are tried one after the other, in the order that the system gives (RFC 6724); what
/// is left of the time is shared evenly by those that are left. Without a host it is this machine.
/// Errors: `error`, with `errc::timed_out` once `deadline` has passed, with the resolver's code for a name that is not known
/// (`asio::error::host_not_found`, ...), with `operation_aborted` when it was cancelled, and otherwise with the system's code of
/// the last address that was tried (`std::errc::connection_refused`, ...); `errc::invalid_address` for datagrams.
/// Cancellation: all types. Concurrency: the connection belongs to the executor of the coroutine that awaits this.
/// Lifetime: `observer`, if there is one, stays as long as the connection.
[[nodiscard]] asio::awaitable<std::unique_ptr<connection>> connect(address where, time_point deadline,
                                                                   const connection_observer* observer = nullptr);

}  // namespace kephas
