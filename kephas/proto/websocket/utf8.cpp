#include <kephas/proto/websocket/utf8.hpp>

#include <websocketpp/utf8_validator.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace kephas::websocket {
namespace {

namespace table = websocketpp::utf8_validator;

constexpr std::size_t block = 16;

[[nodiscard]] bool is_ascii_block(const std::byte* bytes) noexcept {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, bytes, sizeof(a));
    std::memcpy(&b, bytes + sizeof(a), sizeof(b));
    return ((a | b) & 0x8080808080808080U) == 0;
}

}  // namespace

bool utf8_checker::consume(bytes_view bytes) noexcept {
    const std::byte* at = bytes.data();
    const std::byte* const end = at + bytes.size();
    std::size_t state = state_;
    while (at != end && state != table::utf8_reject) {
        // Most text is ASCII, and between characters a block of it changes nothing.
        while (state == table::utf8_accept && static_cast<std::size_t>(end - at) >= block && is_ascii_block(at))
            at += block;
        // The rejecting state is never left, so one look per block is enough.
        const std::byte* const stop = at + std::min(block, static_cast<std::size_t>(end - at));
        for (; at != stop; ++at)
            state = table::utf8d[256 + state * 16 + table::utf8d[std::to_integer<std::size_t>(*at)]];
    }
    state_ = static_cast<std::uint8_t>(state);
    return state != table::utf8_reject;
}

}  // namespace kephas::websocket
