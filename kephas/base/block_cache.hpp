#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <new>

namespace kephas {

/// A few blocks of memory that threads hand to each other: one takes a block, another gives it back. Asio recycles memory
/// per thread, so that what one thread posts and another runs is allocated anew each time. Concurrency: any thread, no lock.
class block_cache {
public:
    static constexpr std::size_t block_size = 256;

    /// The one of the process: it outlives whatever is posted.
    [[nodiscard]] static block_cache& shared() noexcept {
        static block_cache* const cache = new block_cache;  // never destroyed: threads may end after main
        return *cache;
    }

    [[nodiscard]] void* take(std::size_t size) {
        if (size > block_size) return ::operator new(size);
        for (std::atomic<void*>& place : places_) {
            if (place.load(std::memory_order_relaxed) == nullptr) continue;
            if (void* block = place.exchange(nullptr, std::memory_order_acquire)) return block;
        }
        return ::operator new(block_size);
    }
    void give_back(void* block, std::size_t size) noexcept {
        if (size <= block_size) {
            for (std::atomic<void*>& place : places_) {
                void* expected = nullptr;
                if (place.load(std::memory_order_relaxed) == nullptr &&
                    place.compare_exchange_strong(expected, block, std::memory_order_release, std::memory_order_relaxed)) {
                    return;
                }
            }
        }
        ::operator delete(block);
    }

private:
    std::array<std::atomic<void*>, 16> places_{};
};

/// Allocates from the cache.
template <class T>
struct block_allocator {
    using value_type = T;
    block_allocator() noexcept = default;
    template <class Other>
    block_allocator(const block_allocator<Other>& /*other*/) noexcept {}
    [[nodiscard]] T* allocate(std::size_t count) {
        return static_cast<T*>(block_cache::shared().take(count * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t count) noexcept {
        block_cache::shared().give_back(memory, count * sizeof(T));
    }
    template <class Other>
    friend bool operator==(const block_allocator&, const block_allocator<Other>&) noexcept {
        return true;
    }
};

}  // namespace kephas
