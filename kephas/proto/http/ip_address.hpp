#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kephas::http {

/// An IPv4 or IPv6 address as a value. One that came as IPv6 but means IPv4 (`::ffff:192.0.2.1`, RFC 4291 2.5.5.2) is
/// the IPv4 address, so that a listener on `[::]` counts its peers as one on `0.0.0.0` does.
class ip_address {
public:
    using bytes_type = std::array<std::uint8_t, 16>;

    constexpr ip_address() noexcept = default;  ///< `::`
    explicit constexpr ip_address(const bytes_type& v6) noexcept : bytes_{v6} {}
    /// `host_order`: 0x7F000001 is 127.0.0.1.
    [[nodiscard]] static constexpr ip_address v4(std::uint32_t host_order) noexcept {
        ip_address address;
        address.bytes_[10] = address.bytes_[11] = 0xFF;
        for (std::size_t i = 0; i < 4; ++i) {
            address.bytes_[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
        }
        return address;
    }
    /// "192.0.2.1" or "2001:db8::1" (RFC 4291 2.2), and nothing around it: no brackets, port, zone or blanks. Leading zeros in
    /// an IPv4 address are refused, because some read them as octal.
    [[nodiscard]] static std::optional<ip_address> parse(std::string_view text) noexcept;

    [[nodiscard]] constexpr bool is_v4() const noexcept {
        for (std::size_t i = 0; i < 10; ++i) {
            if (bytes_[i] != 0) return false;
        }
        return bytes_[10] == 0xFF && bytes_[11] == 0xFF;
    }
    /// All 16; IPv4 as `::ffff:a.b.c.d`.
    [[nodiscard]] constexpr const bytes_type& bytes() const noexcept { return bytes_; }
    /// As RFC 5952 wants it: "2001:db8::1".
    [[nodiscard]] std::string to_string() const;

    /// What counts as one peer: the whole of an IPv4 address, the first 64 bits of an IPv6 one, of which anybody who has
    /// one has 2^64. The two cannot meet: nobody is given an address in `0:ffff::/32`.
    [[nodiscard]] constexpr std::uint64_t peer_key() const noexcept {
        std::uint64_t key = is_v4() ? 0xFFFF : 0;
        const std::size_t first = is_v4() ? 12 : 0;
        for (std::size_t i = first; i < (is_v4() ? 16U : 8U); ++i) key = key << 8U | bytes_[i];
        return key;
    }

    constexpr auto operator<=>(const ip_address&) const noexcept = default;

private:
    bytes_type bytes_{};
};

}  // namespace kephas::http
