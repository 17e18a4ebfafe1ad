#pragma once

#include <kephas/base/clock.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/connection.hpp>
#include <kephas/net/stream.hpp>
#include <kephas/net/tls_client_context.hpp>

#include <asio/awaitable.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace kephas {

/// How `connect` does it.
struct connect_options {
    /// Of `tls://` addresses: by default the server's certificate must be for the host, from whom the system trusts.
    std::shared_ptr<const tls_client_context> tls{};
    /// A TCP peer that has been silent for so long is asked whether it is still there (SO_KEEPALIVE). Who does not answer is
    /// given up after twice that time, and so is who takes nothing of what was sent for as long (TCP_USER_TIMEOUT). Zero: never.
    duration keep_alive = std::chrono::minutes{5};
    std::function<void(int fd)> prepare_socket{};  ///< Called with the socket once it is connected, to set its options.
    /// Told of everything that happens, `connection_state::dial` for each address first: the connection knows nothing then
    /// but the address.
    connection_observer on_state{};
};

/// Connects to a TCP, TLS or Unix socket:
///
///     const auto server = co_await kephas::connect(kephas::address::parse("tcp://example.org:7"), deadline);
///     co_await server->write("hello");
///
/// A name is looked up, and its addresses are tried one after the other, in the order that the system gives (RFC 6724); what
/// is left of the time is shared evenly by those that are left. Without a host it is this machine. With TLS the handshake is
/// done when this completes, and the server is who it should be.
/// Errors: `error`, with `errc::timed_out` once `deadline` has passed, with the resolver's code for a name that is not known
/// (`asio::error::host_not_found`, ...), with `operation_aborted` when it was cancelled, and otherwise with the system's code of
/// the last address that was tried (`std::errc::connection_refused`, ...); with `errc::certificate_expired`,
/// `certificate_name_mismatch` or `certificate_not_trusted`, which are `condition::unauthorized`, or the reason of OpenSSL's
/// where TLS fails; with `errc::invalid_address` for datagrams. `std::invalid_argument` for TLS options with another address.
/// Cancellation: all types. Concurrency: the connection belongs to the executor of the coroutine that awaits this, which runs
/// one function at a time.
[[nodiscard]] asio::awaitable<std::unique_ptr<connection>> connect(address where, time_point deadline,
                                                                   connect_options options = {});

/// The same, and the bare stream: for protocols that are driven by events. The TLS handshake has only begun: nothing can be
/// written while the stream is `handshaking()`, and reading goes on with it.
[[nodiscard]] asio::awaitable<std::unique_ptr<stream>> connect_stream(address where, time_point deadline,
                                                                      connect_options options = {});

}  // namespace kephas
