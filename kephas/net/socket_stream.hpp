#pragma once

#include <kephas/net/owned_fd.hpp>
#include <kephas/net/poller.hpp>
#include <kephas/net/stream.hpp>

#include <asio/generic/stream_protocol.hpp>

#include <memory>

namespace kephas {

/// A TCP or Unix stream socket as a `stream`, right on any executor: Asio waits for it. For TCP it sets TCP_NODELAY.
[[nodiscard]] std::unique_ptr<stream> make_socket_stream(asio::generic::stream_protocol::socket socket);

/// The same on an executor that one thread runs, which has a poller: less of everything.
/// Lifetime: `home` outlives it.
[[nodiscard]] std::unique_ptr<stream> make_polled_stream(owned_fd socket, poller& home);

}  // namespace kephas
