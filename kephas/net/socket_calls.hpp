#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/peer_credentials.hpp>

#include <kephas/net/owned_fd.hpp>
#include <kephas/net/stream.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>

struct mmsghdr;

/// The system calls behind `stream` for a TCP or Unix stream socket that does not block.
namespace kephas::socket_calls {

/// A socket that does not block, and that no program which this one starts inherits. -1 and the reason if there is none.
[[nodiscard]] owned_fd make_socket(int family, int type, int transport, std::error_code& ec) noexcept;

/// Messages leave at once (TCP_NODELAY); nothing for a Unix socket.
void send_at_once(int fd) noexcept;
/// A TCP peer from which nothing has come for `idle` is asked whether it is there, four times within another `idle`, and then
/// the connection fails with ETIMEDOUT (SO_KEEPALIVE, tcp(7)); seconds at least. So it does when what was sent is not
/// acknowledged, or not taken, for as long (TCP_USER_TIMEOUT): nobody is asked meanwhile. Nothing for other sockets.
void keep_alive(int fd, duration idle) noexcept;
[[nodiscard]] std::size_t read_some(int fd, read_buffer& buffer, std::error_code& ec);
[[nodiscard]] std::size_t write_some(int fd, std::span<const bytes_view> buffers, std::error_code& ec) noexcept;
/// Datagrams, as recvmmsg(2) and sendmmsg(2): how many, or 0 and the reason of the first one. Their lengths are those that they
/// were sent with. An ENOBUFS is not `would_block`: no wait tells when it ends.
[[nodiscard]] std::size_t receive_many(int fd, mmsghdr* first, std::size_t count, std::error_code& ec) noexcept;
[[nodiscard]] std::size_t send_many(int fd, mmsghdr* first, std::size_t count, std::error_code& ec) noexcept;
/// Closing will reset the connection.
void reset_on_close(int fd) noexcept;
[[nodiscard]] bool peer_gone(int fd) noexcept;
[[nodiscard]] std::size_t unacknowledged(int fd) noexcept;
[[nodiscard]] std::string remote_address(int fd);
/// Who has opened a Unix socket; nothing for any other.
[[nodiscard]] std::optional<peer_credentials> credentials_of(int fd) noexcept;

}  // namespace kephas::socket_calls
