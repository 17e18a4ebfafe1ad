#pragma once

#include <kephas/net/address.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace kephas {

/// Where a `command_client` connects to, and what it speaks there.
struct client_url {
    enum class protocol : std::uint8_t {
        websocket,  ///< `ws://HOST[:PORT][/PATH][?QUERY]`, `wss://...`; the ports are 80 and 443 unless they are said.
        stream,     ///< `tcp://HOST:PORT`, `tls://HOST:PORT`, `unix:///FILE`, `unix://@NAME`
        datagram,   ///< `udp://HOST:PORT`, `unixgram:///FILE`, `unixgram://@NAME`
    };

    protocol speaks = protocol::websocket;
    address where{};
    std::string host{};    ///< For the Host header: without the port if it is the scheme's own.
    std::string target{};  ///< Path and query of a WebSocket server.
    std::string text{};    ///< As it was written.

    /// Throws `error{errc::invalid_address}` with a text that says what is wrong.
    [[nodiscard]] static client_url parse(std::string_view text);
};

}  // namespace kephas
