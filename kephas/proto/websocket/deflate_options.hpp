#pragma once

#include <cstddef>
#include <cstdint>

namespace kephas {

/// Compression of messages (permessage-deflate, RFC 7692). Off unless asked for.
///
/// Without context takeover each message is compressed on its own, with zlib contexts that the connections of a thread
/// share: a connection costs next to nothing, and a broadcast is compressed once. With context takeover a direction
/// remembers what it has carried, which makes small similar messages much smaller, for memory that the connection keeps
/// from its first compressed message on. Bytes, with `bits` the window of that direction:
///  - what we send: 2^(bits + 2) + 2^(memory_level + 9) + 6 KiB: 262 KiB with 15 and 8, 38 KiB with 12 and 5;
///  - what we receive: 2^bits + 10 KiB: 42 KiB with 15.
/// Without it, 42 KiB for a compressed message that has begun and not ended.
///
/// Whoever mixes secrets with text of an attacker's choice in one compressed message, or in one context, tells the
/// attacker something about the secrets by the size of the result.
struct deflate_options {
    bool enabled = false;
    bool server_context_takeover = false;  ///< What the server sends may refer to earlier messages, if the client allows.
    bool client_context_takeover = false;  ///< The same for what the client sends.
    int server_max_window_bits = 15;       ///< 8 to 15. With 8 nothing is compressed: zlib cannot.
    int client_max_window_bits = 15;       ///< 8 to 15. A client that cannot obey goes without context takeover.
    int level = 1;                         ///< zlib's, 1 (fast) to 9 (small).
    int memory_level = 8;                  ///< zlib's, 1 to 9.
    std::size_t threshold = 256;           ///< Bytes of payload. Smaller messages go uncompressed.

    bool operator==(const deflate_options&) const = default;
};

}  // namespace kephas
