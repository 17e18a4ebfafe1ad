#include <kephas/base/large_blocks.hpp>

#include <bit>
#include <cstring>
#include <new>

namespace kephas {

namespace {

/// Sizes that differ by a few per cent share their blocks.
std::size_t rounded(std::size_t size) noexcept {
    const std::size_t step = std::bit_floor(size) / 64;
    return (size + step - 1) / step * step;
}

// A block that is kept begins with its size.
std::size_t size_of(const void* memory) noexcept {
    std::size_t size = 0;
    std::memcpy(&size, memory, sizeof(size));
    return size;
}

}  // namespace

large_blocks::~large_blocks() {
    for (const place& each : places_) ::operator delete(each.memory.load(std::memory_order_acquire));
}

large_blocks& large_blocks::shared() {
    static auto* const blocks = new large_blocks;  // never destroyed: threads may end after main
    return *blocks;
}

void* large_blocks::take(std::size_t size) {
    if (size < smallest) return ::operator new(size);
    size = rounded(size);
    for (place& each : places_) {
        if (each.size.load(std::memory_order_relaxed) != size || each.memory.load(std::memory_order_relaxed) == nullptr) continue;
        void* const memory = each.memory.exchange(nullptr, std::memory_order_acquire);
        if (memory == nullptr) continue;
        const std::size_t real = size_of(memory);
        bytes_.fetch_sub(real, std::memory_order_relaxed);
        if (real == size) return memory;
        keep(memory, real);  // another one was put there meanwhile
    }
    return ::operator new(size);
}

void large_blocks::give_back(void* memory, std::size_t size) noexcept {
    if (size < smallest || rounded(size) > most_kept) return ::operator delete(memory);
    keep(memory, rounded(size));
}

void large_blocks::keep(void* memory, std::size_t size) noexcept {
    std::memcpy(memory, &size, sizeof(size));
    bytes_.fetch_add(size, std::memory_order_relaxed);
    make_room();
    for (place& each : places_) {
        void* expected = nullptr;
        if (each.memory.load(std::memory_order_relaxed) != nullptr ||
            !each.memory.compare_exchange_strong(expected, memory, std::memory_order_release, std::memory_order_relaxed)) {
            continue;
        }
        each.size.store(size, std::memory_order_relaxed);
        return;
    }
    bytes_.fetch_sub(size, std::memory_order_relaxed);
    ::operator delete(memory);
}

/// Others go, one after the other, until the limit holds.
void large_blocks::make_room() noexcept {
    for (std::size_t tries = 0; tries < places_.size() && kept() > most_kept; ++tries) {
        place& victim = places_[next_out_.fetch_add(1, std::memory_order_relaxed) % places_.size()];
        void* const memory = victim.memory.exchange(nullptr, std::memory_order_acquire);
        if (memory == nullptr) continue;
        bytes_.fetch_sub(size_of(memory), std::memory_order_relaxed);
        ::operator delete(memory);
    }
}

}  // namespace kephas
