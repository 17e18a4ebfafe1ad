#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/datagram_socket.hpp>

#include <asio/awaitable.hpp>

#include <memory>

namespace kephas {

/// A socket for datagrams to and from one peer:
///
///     const auto server = co_await kephas::connect_datagram(kephas::address::parse("udp://example.org:8125"), deadline);
///     co_await server->send("myapp.requests:1|c");
///
/// A name is looked up; nothing is sent, so that over UDP this succeeds whether anybody is there or not. Without a host it is
/// this machine. A Unix socket gets an abstract name that the system chooses (unix(7), "autobind"), so that it can be answered
/// and leaves no file.
/// Errors: `error`, as for `connect`: `errc::timed_out`, the resolver's codes, `errc::invalid_address` for streams, the system's
/// code of the last address that was tried (`std::errc::no_such_file_or_directory`, ...); `std::invalid_argument`.
/// Cancellation: all types. Concurrency: the socket belongs to the executor of the coroutine that awaits this.
[[nodiscard]] asio::awaitable<std::unique_ptr<datagram_socket>> connect_datagram(address where, time_point deadline,
                                                                                 datagram_socket_options options = {});

}  // namespace kephas
