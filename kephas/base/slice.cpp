#include <kephas/base/large_blocks.hpp>
#include <kephas/base/slice.hpp>

#include <new>

namespace kephas {

namespace {

// AddressSanitizer finds what is used too late only if it is freed. (clang's has no macro of its own.)
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEPHAS_FREES_AT_ONCE
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(KEPHAS_FREES_AT_ONCE)
constexpr bool recycles = false;
#else
constexpr bool recycles = true;
#endif

}  // namespace

slice slice::allocate(std::size_t size) {
    const std::size_t whole = sizeof(block) + size;
    const bool large = recycles && whole >= large_blocks::smallest;
    void* memory = large ? large_blocks::shared().take(whole) : ::operator new(whole);
    auto* owner = new (memory) block{};
    owner->size = size;
    return slice{owner, mutable_bytes{static_cast<std::byte*>(memory) + sizeof(block), size}};
}

slice slice::copy(bytes_view bytes) {
    slice result = allocate(bytes.size());
    if (!bytes.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
}

slice slice::join(bytes_view first, bytes_view second) {
    slice result = allocate(first.size() + second.size());
    if (!first.empty()) std::memcpy(result.data(), first.data(), first.size());
    if (!second.empty()) std::memcpy(result.data() + first.size(), second.data(), second.size());
    return result;
}

slice slice::whole() && noexcept {
    if (block_ != nullptr) bytes_ = {reinterpret_cast<std::byte*>(block_) + sizeof(block), block_->size};
    return std::move(*this);
}

slice::holder slice::hold_for(std::uint32_t account) const noexcept {
    if (block_ == nullptr) return holder::another;
    const std::uint64_t ours = std::uint64_t{account} << 32;
    std::uint64_t now = block_->holders.load(std::memory_order_relaxed);
    for (;;) {
        const bool held = static_cast<std::uint32_t>(now) > 0;
        if (held && now >> 32 != account) return holder::stranger;
        const std::uint64_t next = held ? now + 1 : ours + 1;
        if (block_->holders.compare_exchange_weak(now, next, std::memory_order_relaxed)) {
            return held ? holder::another : holder::first;
        }
    }
}

bool slice::held_for(std::uint32_t account) const noexcept {
    if (block_ == nullptr) return true;
    const std::uint64_t now = block_->holders.load(std::memory_order_relaxed);
    return static_cast<std::uint32_t>(now) > 0 && now >> 32 == account;
}

bool slice::let_go() const noexcept {
    return block_ != nullptr && static_cast<std::uint32_t>(block_->holders.fetch_sub(1, std::memory_order_relaxed)) == 1;
}

void slice::destroy(block* owner) noexcept {
    const std::size_t whole = sizeof(block) + owner->size;
    owner->~block();
    if (recycles && whole >= large_blocks::smallest) large_blocks::shared().give_back(owner, whole);
    else ::operator delete(owner);
}

}  // namespace kephas
