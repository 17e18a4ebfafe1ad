#pragma once

#include <kephas/base/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr;

namespace kephas {

/// Kinds of sockets. The 4 and the 6 stand for one version of IP, without them it is whichever there is.
enum class network : std::uint8_t { tcp, tcp4, tcp6, udp, udp4, udp6, unix_stream, unix_datagram };

/// "tcp", "tcp4", ..., "unix", "unixgram".
[[nodiscard]] std::string_view to_string(network kind) noexcept;
/// The same, backwards; nothing for any other text.
[[nodiscard]] std::optional<network> parse_network(std::string_view text) noexcept;

[[nodiscard]] constexpr bool is_datagram(network kind) noexcept {
    return kind == network::udp || kind == network::udp4 || kind == network::udp6 || kind == network::unix_datagram;
}
[[nodiscard]] constexpr bool is_unix(network kind) noexcept {
    return kind == network::unix_stream || kind == network::unix_datagram;
}

/// Where a server listens, or a client connects to: a text that was understood, no name looked up.
struct address {
    network kind = network::tcp;
    bool tls = false;
    std::string host{};      ///< A name or an IP address, IPv6 without brackets. Empty: all of this machine's, or the local host.
    std::uint16_t port = 0;  ///< To listen on 0 is to let the system choose.
    std::string path{};      ///< Of a Unix socket: a file, or a name that no file has (`@name`, unix(7)).

    /// `SCHEME://` and what the other form takes; the schemes are those of `network`, and `tls`, `tls4`, `tls6`.
    /// Throws `error{errc::invalid_address}` with a text that says what is wrong.
    [[nodiscard]] static address parse(std::string_view text);
    /// `HOST:PORT`, `[IPV6]:PORT`, `:PORT`; for Unix sockets `FILE` or `@NAME`. Throws as the other.
    [[nodiscard]] static address parse(network kind, std::string_view text);

    bool operator==(const address&) const = default;
};

/// The longest path of a Unix socket, in bytes; of an abstract one with its `@`.
inline constexpr std::size_t longest_unix_path = 107;

/// With its scheme, as `parse` takes it.
[[nodiscard]] std::string to_string(const address& where);

/// What the kernel calls an end of a socket: "127.0.0.1:8080", "[::1]:8080", the file or the `@name` of a Unix socket, and
/// nothing for one that has no name.
[[nodiscard]] std::string to_string(const sockaddr* end, std::size_t size);

}  // namespace kephas
