#pragma once

#include <kephas/net/stream.hpp>

#include <asio/generic/stream_protocol.hpp>

#include <memory>

namespace kephas {

/// How a socket waits for data without owning a buffer. Both make at most one `recv` per batch of data.
enum class read_mode : std::uint8_t {
    lazy_buffer,  ///< The buffer is borrowed when Asio performs the read. Needs a context that only one thread runs.
    readiness,    ///< Waits until the socket is readable, then reads: right on any executor, one system call more.
};

/// A TCP or Unix stream socket as a `stream`. Sets the socket to non-blocking mode and, for TCP, TCP_NODELAY.
[[nodiscard]] std::unique_ptr<stream> make_socket_stream(asio::generic::stream_protocol::socket socket, read_mode mode);

}  // namespace kephas
