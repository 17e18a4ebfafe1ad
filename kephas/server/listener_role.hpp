#pragma once

#include <kephas/server/traffic.hpp>

#include <atomic>
#include <cstdint>
#include <string>

namespace kephas {

/// What a listener's connections are for.
struct listener_role {
    enum class language : std::uint8_t {
        http,      ///< Requests, among them those that open a WebSocket connection.
        commands,  ///< Commands, each behind its length.
        either,    ///< The first four bytes tell: "GET " would be the length of more than a gigabyte.
    };
    std::uint16_t index = attached_listener;  ///< In `server_options::listen`.
    mutable std::atomic<std::uint64_t> accepted{0};
    language speaks = language::http;
    std::string path = "/ws";  ///< Where WebSocket connections are opened; empty: nowhere.
    bool files = false;        ///< Whether files are served.
    bool tls = false;          ///< Whether its connections speak TLS.
};

}  // namespace kephas
