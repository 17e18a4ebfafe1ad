#include <kephas/proto/websocket/mask.hpp>

#include <array>

namespace kephas::websocket {
namespace {

// memcpy instead of a cast: payloads are not aligned. Compilers turn four words into vector instructions.
template <std::size_t Words>
void mask_words(std::byte* bytes, std::uint64_t key) noexcept {
    std::array<std::uint64_t, Words> words;
    std::memcpy(words.data(), bytes, sizeof(words));
    for (auto& word : words) word ^= key;
    std::memcpy(bytes, words.data(), sizeof(words));
}

}  // namespace

void apply_mask(mutable_bytes bytes, mask_key key) noexcept {
    const auto half = static_cast<std::uint64_t>(key);
    const std::uint64_t word = half << 32U | half;
    std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 64; at += 64, left -= 64) mask_words<8>(at, word);
    for (; left >= 16; at += 16, left -= 16) mask_words<2>(at, word);
    if (left >= 8) {
        mask_words<1>(at, word);
        at += 8;
        left -= 8;
    }
    if (left >= 4) {
        store_mask_key(at, mask_key{static_cast<std::uint32_t>(load_mask_key(at)) ^ static_cast<std::uint32_t>(key)});
        at += 4;
        left -= 4;
    }
    if (left == 0) return;
    std::array<std::byte, 4> tail;
    std::memcpy(tail.data(), &key, sizeof(key));
    for (std::size_t i = 0; i < left; ++i) at[i] ^= tail[i];
}

}  // namespace kephas::websocket
