#pragma once

#include <kephas/base/bytes.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kephas {

/// A universally unique identifier (RFC 9562). The nil UUID, all zero, means "none".
class uuid {
public:
    using bytes_type = std::array<std::byte, 16>;

    constexpr uuid() noexcept = default;

    /// A version 4 UUID out of 16 random bytes, of which 122 bits are kept.
    [[nodiscard]] static uuid v4(bytes_type random) noexcept;
    /// Reads the 36-character form with hyphens, in either case; anything else gives `nullopt`.
    [[nodiscard]] static std::optional<uuid> parse(std::string_view text) noexcept;

    /// The 36-character lower-case form.
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] const bytes_type& bytes() const noexcept { return bytes_; }

    friend constexpr auto operator<=>(const uuid&, const uuid&) noexcept = default;

private:
    bytes_type bytes_{};
};

}  // namespace kephas

template <>
struct std::hash<kephas::uuid> {
    [[nodiscard]] std::size_t operator()(const kephas::uuid& id) const noexcept {
        std::size_t value = 0;  // random bits already: any 8 bytes are a hash
        std::memcpy(&value, id.bytes().data() + 8, sizeof(value));
        return value;
    }
};
