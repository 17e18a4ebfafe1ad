#pragma once

#include <kephas/net/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

struct sockaddr;

namespace kephas {

/// One end of a socket as the kernel knows it: an IP address with a port, or the name of a Unix socket. A value.
/// The name of a Unix socket is whatever the peer has called it: it may hold any bytes.
class socket_address {
public:
    static constexpr std::size_t capacity = 112;  ///< Of the longest, a Unix socket's.

    /// Nobody: the sender of a Unix datagram whose socket has no name.
    socket_address() noexcept = default;
    /// Throws `error{errc::invalid_address}` if it is longer than any.
    socket_address(const sockaddr* from, std::size_t size);
    /// Of the `path` of an `address`: a file, or with `@` in front a name without one (unix(7), abstract).
    [[nodiscard]] static socket_address of_unix(const std::string& path);

    /// Whether it is nobody.
    [[nodiscard]] bool empty() const noexcept;
    /// AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC for nobody.
    [[nodiscard]] int family() const noexcept;

    [[nodiscard]] const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(storage_.data()); }
    [[nodiscard]] sockaddr* data() noexcept { return reinterpret_cast<sockaddr*>(storage_.data()); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// What a system call has written to `data()`.
    void resize(std::size_t size) noexcept { size_ = static_cast<std::uint32_t>(size < capacity ? size : capacity); }

    /// Of the sender of a datagram, where several addresses of this machine may be asked: the control message (cmsg(3)) with
    /// which an answer leaves from the one that was. It goes along with copies, and does not count for `==` and `hash`.
    [[nodiscard]] std::span<const std::byte> way_back() const noexcept;
    /// At most `way_back_capacity` bytes, and only of an IP address.
    void set_way_back(std::span<const std::byte> control) noexcept;
    static constexpr std::size_t way_back_capacity = 40;

    [[nodiscard]] std::size_t hash() const noexcept;
    bool operator==(const socket_address& other) const noexcept;

private:
    static constexpr std::size_t way_back_offset = 64;  // where no IP address comes to

    alignas(8) std::array<std::byte, capacity> storage_{};
    std::uint32_t size_ = 0;
    std::uint32_t way_back_size_ = 0;
};

/// "127.0.0.1:8080", "[::1]:8080", the file or the `@name` of a Unix socket, and nothing for nobody. The name of a Unix peer is
/// its own text, with whatever it holds: use `escaped` before it is shown or logged.
[[nodiscard]] std::string to_string(const socket_address& end);

}  // namespace kephas

template <>
struct std::hash<kephas::socket_address> {
    std::size_t operator()(const kephas::socket_address& end) const noexcept { return end.hash(); }
};
