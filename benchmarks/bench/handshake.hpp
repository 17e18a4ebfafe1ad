#pragma once

#include "url.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

/// A Sec-WebSocket-Key, and the Sec-WebSocket-Accept that answers it (RFC 6455 section 4.2.2).
struct handshake_key {
    std::string key;
    std::string accept;
};

/// The same for the same number; others look random.
[[nodiscard]] handshake_key make_handshake_key(std::uint64_t number);

/// A request for a WebSocket with what section 4.1 asks for, and nothing else.
[[nodiscard]] std::string plain_request(const url&, const handshake_key&);

/// The request of a page of the same origin in a Chrome browser, header by header. It offers permessage-deflate.
[[nodiscard]] std::string browser_request(const url&, const handshake_key&);

/// Whether `answer` has come whole, and is the right one. Throws server_fault if it is not, or if something follows: a
/// server that echoes has nothing to say yet. Also if an extension was agreed on: what is measured is not compressed.
[[nodiscard]] bool check_answer(std::string_view answer, const handshake_key&);

}  // namespace bench
