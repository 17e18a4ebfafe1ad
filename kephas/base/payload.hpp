#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kephas {

/// The bytes of a message, owned: up to 48 of them inline, or a moved string or vector, or a shared slice.
/// There is no way to make one from a view by accident, because a view may not outlive the handler that returns it:
/// write `payload::copy(view)` for a copy, or `request.share()` to keep what was received without one.
class payload {
public:
    static constexpr std::size_t inline_capacity = 48;

    payload() noexcept = default;
    payload(const char* text) : payload{copy(std::string_view{text})} {}
    payload(std::string text) noexcept : body_{std::move(text)} {}
    payload(std::vector<std::byte> bytes) noexcept : body_{std::move(bytes)} {}
    payload(slice shared) noexcept : body_{std::move(shared)} {}
    payload(std::string_view) = delete;  ///< A view owns nothing: use `payload::copy(view)`.
    payload(bytes_view) = delete;        ///< A view owns nothing: use `payload::copy(view)` or `request.share()`.

    /// A payload with bytes of its own, equal to `bytes`.
    [[nodiscard]] static payload copy(bytes_view bytes);
    [[nodiscard]] static payload copy(std::string_view text) { return copy(as_bytes(text)); }

    /// Valid until this payload is changed, moved or destroyed.
    [[nodiscard]] bytes_view view() const noexcept {
        switch (body_.index()) {
            case 0: {
                const auto& small = *std::get_if<0>(&body_);
                return bytes_view{small.bytes.data(), small.size};
            }
            case 1: return as_bytes(*std::get_if<1>(&body_));
            case 2: return *std::get_if<2>(&body_);
            default: return std::get_if<3>(&body_)->view();
        }
    }
    [[nodiscard]] std::string_view text() const noexcept { return as_text(view()); }
    [[nodiscard]] std::size_t size() const noexcept { return view().size(); }
    [[nodiscard]] bool empty() const noexcept { return view().empty(); }
    /// The memory that it keeps allocated; of a shared slice, that of the whole block.
    [[nodiscard]] std::size_t allocated() const noexcept;
    /// The slice, if that is what it holds; otherwise null.
    [[nodiscard]] const slice* shared() const noexcept { return std::get_if<slice>(&body_); }

    /// The bytes as a slice that can be shared: the one held, or a new copy of what was held otherwise.
    [[nodiscard]] slice share() const;

    friend bool operator==(const payload& a, const payload& b) noexcept { return a.text() == b.text(); }

private:
    struct inline_bytes {
        inline_bytes() noexcept : size{0} {}  // `bytes` is left uninitialised beyond `size`
        std::uint8_t size;
        std::array<std::byte, inline_capacity> bytes;
    };

    std::variant<inline_bytes, std::string, std::vector<std::byte>, slice> body_;
};

}  // namespace kephas
