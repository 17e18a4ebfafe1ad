#pragma once

struct msghdr;

namespace kephas {

class socket_address;

/// Answers of a socket that is bound to all addresses leave from the one that was asked: a connected peer hears no other.
namespace way_back {

/// Has the system tell with each datagram at which address it came, if `fd` is bound to all; false if it is not.
[[nodiscard]] bool ask_for(int fd, const socket_address& bound) noexcept;
/// Bytes of control messages that come with a datagram then, a multiple of their alignment.
inline constexpr unsigned room = 128;
/// Keeps what came with a datagram in its `sender`.
void keep(const msghdr& received, socket_address& sender) noexcept;

}  // namespace way_back

}  // namespace kephas
