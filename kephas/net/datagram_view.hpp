#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/net/socket_address.hpp>

#include <cstddef>

namespace kephas {

/// A datagram that has come, in the memory of the socket that it came to.
struct datagram_view {
    bytes_view bytes{};          ///< Its beginning, if there was no room for all of it.
    std::size_t full_size = 0;   ///< As it was sent.
    const socket_address* from = nullptr;

    [[nodiscard]] bool truncated() const noexcept { return full_size > bytes.size(); }
    /// Nobody (`empty()`) for a Unix socket without a name, which cannot be answered. Any other name of one is the peer's own
    /// text: `escaped` before it is shown.
    [[nodiscard]] const socket_address& sender() const noexcept { return *from; }
};

}  // namespace kephas
