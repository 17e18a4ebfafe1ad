#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/http/ip_address.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::http {

/// A list of networks: the peers that are trusted with something.
class peer_list {
public:
    peer_list() = default;  ///< Nobody.
    /// Each element is an address ("::1"), a network ("10.0.0.0/8", without bits beyond its prefix), or "unix" for
    /// the peers of Unix sockets. The error is the element that is none of these.
    [[nodiscard]] static result<peer_list, std::string> parse(std::span<const std::string> elements);

    /// No address: the peer of a Unix socket.
    [[nodiscard]] bool contains(const std::optional<ip_address>& peer) const noexcept;
    [[nodiscard]] bool empty() const noexcept { return networks_.empty() && !unix_peers_; }

private:
    struct network {
        ip_address base;
        std::size_t bits;  // of all 128
    };
    [[nodiscard]] static std::optional<network> parse_network(std::string_view text) noexcept;

    std::vector<network> networks_;
    bool unix_peers_ = false;
};

/// The address that an `X-Forwarded-For` tells: each proxy appends the address that it was called from, so the
/// right-most one that is not a proxy of `trusted` is the last that somebody trustworthy has seen; what stands left of it
/// anybody may have written. If all are trusted, it is the left-most one. Elements may have a port, which is ignored.
/// `nullopt` when there is none, or when it or anything right of it is no address.
[[nodiscard]] std::optional<ip_address> forwarded_for(std::string_view header, const peer_list& trusted) noexcept;

}  // namespace kephas::http
