#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace bench {

/// What to put on the server, as the command line says it.
struct options {
    std::uint16_t port = 0;                 ///< On 127.0.0.1.
    std::string path = "/ws";               ///< Of the request.
    std::size_t connections = 50;           ///< Opened before anything is sent.
    std::size_t in_flight = 32;             ///< Messages of each connection that are not yet answered.
    std::size_t payload = 32;               ///< Bytes of each message, the command id not counted.
    std::optional<std::uint32_t> command;   ///< Put in front of each payload, big-endian.
    bool text = false;                      ///< Text messages instead of binary ones.
    std::optional<std::uint64_t> messages;  ///< Measure that many; otherwise for `seconds`.
    double seconds = 3;                     ///< Length of the measured window.
    bool unordered = false;                 ///< Replies may overtake each other.
    pid_t server_pid = 0;                   ///< 0: the server's CPU time and memory are not measured.
    bool idle = false;                      ///< Send nothing; report the memory of an idle connection.
    bool tls = false;                       ///< wss; only with `idle`.
    bool json = false;                      ///< Report as one JSON object on one line.
};

/// Parses the command line. Nothing if the program is to end with `exit_code`: the help was asked for and printed, or
/// a complaint was.
std::optional<options> parse_options(int argc, char** argv, int& exit_code);

}  // namespace bench
