#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace kephas {

/// Memory of large messages that is used again. What malloc gets back of this size it gives to the system before long, and
/// each page of the next block costs a fault, which together are as much as all that is done with the message.
/// Keeps `most_kept` bytes at most, or a block more for each thread that gives one back. Concurrency: any thread, no lock.
class large_blocks {
public:
    /// Where a block begins to be large: bytes.
    static constexpr std::size_t smallest = 64 * 1024;
    static constexpr std::size_t most_kept = 16 * 1024 * 1024;

    large_blocks() = default;
    large_blocks(const large_blocks&) = delete;
    large_blocks& operator=(const large_blocks&) = delete;
    ~large_blocks();

    /// The ones of the process: they outlive whatever is in them.
    [[nodiscard]] static large_blocks& shared();

    /// At least `size` bytes, aligned for anything. Throws `std::bad_alloc`.
    [[nodiscard]] void* take(std::size_t size);
    /// `size`: the one that was taken.
    void give_back(void* memory, std::size_t size) noexcept;

    /// Bytes that nobody uses.
    [[nodiscard]] std::size_t kept() const noexcept { return bytes_.load(std::memory_order_relaxed); }

private:
    struct place {
        std::atomic<void*> memory{nullptr};
        std::atomic<std::size_t> size{0};  // to look at first; the block itself knows for certain
    };

    void keep(void* memory, std::size_t size) noexcept;
    void make_room() noexcept;

    std::array<place, most_kept / (2 * smallest)> places_{};
    std::atomic<std::size_t> bytes_{0};
    std::atomic<std::size_t> next_out_{0};
};

}  // namespace kephas
