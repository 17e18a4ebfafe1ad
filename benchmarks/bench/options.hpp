#pragma once

#include "url.hpp"
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace bench {

/// What to put on the server, as the command line says it.
struct options {
    url server;
    std::size_t connections = 50;          ///< Opened before anything is sent.
    std::size_t depth = 1;                 ///< Closed loop: messages of each connection that are not yet answered.
    std::optional<double> rate;            ///< Open loop: messages per second of all connections together.
    std::size_t size = 32;                 ///< Bytes of each message, the command id not counted.
    std::optional<std::uint32_t> command;  ///< Put in front of each message, big-endian.
    bool text = false;                     ///< Text messages instead of binary ones.
    std::optional<std::string> call;    ///< JSON-RPC calls of this method instead of such messages, as text.
    std::string params;                 ///< Of the call, JSON; empty: none.
    std::optional<std::string> expect;  ///< What a call has to result in, JSON.
    bool expect_echo = false;           ///< The reply has to be the call itself.
    double warmup = 0.5;                   ///< Seconds before the measured window.
    double seconds = 3;                    ///< Length of the measured window.
    std::optional<std::uint64_t>
        messages;             ///< Send exactly so many and measure all, instead of `warmup` and `seconds`.
    std::size_t threads = 1;  ///< Among which the connections are divided.
    bool verify = false;      ///< Every byte and the order of the replies.
    bool unordered = false;   ///< Replies may overtake each other even if they are verified.
    bool broadcast = false;   ///< One connection sends, all others receive.
    bool reconnect = false;   ///< Each connection is opened, used for one message and closed, again and again.
    bool idle = false;        ///< Send nothing; report the memory of an idle connection.
    bool insecure = false;    ///< Any certificate will do.
    pid_t pid = 0;            ///< Of the server; 0: its CPU time and memory are not measured.
    bool json = false;        ///< Report as one JSON object on one line.
    std::string html;         ///< File for a report as a page; empty: none.
};

/// Parses the command line. Nothing if the program is to end with `exit_code`: the help was asked for and printed, or
/// a complaint was.
std::optional<options> parse_options(int argc, const char* const* argv, int& exit_code);

}  // namespace bench
