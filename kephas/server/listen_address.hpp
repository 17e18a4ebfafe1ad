#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/http/ip_address.hpp>

#include <kephas/net/address.hpp>

#include <asio/generic/stream_protocol.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace kephas {

/// One element of `server_options::listen`, understood.
struct listen_address {
    enum class kind { websocket, http, commands, unix_socket, datagrams };

    kind what = kind::websocket;
    asio::generic::stream_protocol::endpoint endpoint;
    bool tls = false;          ///< `wss`, `https` and `tls`.
    std::string path = "/ws";  ///< Of WebSocket connections.
    std::string socket_file;   ///< Of a Unix socket.
    address where{};           ///< Of `tcp`, `tls` and those of datagrams.

    /// `ws://HOST:PORT/PATH`, `http://HOST:PORT`, `tcp://HOST:PORT`, the same with `wss`, `https` and `tls`, or `unix:///FILE`
    /// or `unix://@NAME`; `udp://HOST:PORT`, `unixgram:///FILE`, `unixgram://@NAME`; HOST is an IP address (IPv6 in brackets) or `localhost`, for `tcp`, `tls` and `udp` also nothing, which is
    /// all addresses. Throws `error{errc::invalid_address}` with a text that says what is wrong.
    [[nodiscard]] static listen_address parse(std::string_view text);
};

/// Of an end of a socket; nothing if it is not one of IP.
[[nodiscard]] std::optional<http::ip_address> ip_address_of(const sockaddr* end, std::size_t size) noexcept;
/// Whose connection a socket is; no address: it is a Unix socket.
[[nodiscard]] std::optional<http::ip_address> peer_address(int fd);

/// "127.0.0.1:8080", "[::1]:8080" or the file of a Unix socket.
[[nodiscard]] std::string to_string(const asio::generic::stream_protocol::endpoint& endpoint);
[[nodiscard]] std::uint16_t port_of(const asio::generic::stream_protocol::endpoint& endpoint);

}  // namespace kephas
