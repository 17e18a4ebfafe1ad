#pragma once

#include "channel.hpp"
#include "options.hpp"
#include <sys/socket.h>

#include <cstddef>

namespace bench {

/// Where the server of the URL listens, looked up once.
class server_address {
public:
    /// Throws std::runtime_error if the name is unknown.
    explicit server_address(const url&);

    /// Connects and completes the TLS and WebSocket handshakes, blocking. `index` is the number of the connection: on
    /// the loopback interface every 8,000 of them come from an address of their own, because the ports of one are
    /// fewer. Returns the channel, non-blocking. Throws std::system_error, or server_fault if the answer is not the
    /// right one.
    [[nodiscard]] channel open_websocket(const options&, const tls_settings&, std::size_t index) const;

    /// A non-blocking channel that is about to be connected: it can be written to when it is. Throws std::system_error.
    [[nodiscard]] channel begin_connecting() const;

private:
    [[nodiscard]] bool loopback() const noexcept;

    sockaddr_storage address_{};
    socklen_t size_ = 0;
};

}  // namespace bench
