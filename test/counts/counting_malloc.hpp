#pragma once

#include <cstddef>

namespace counts {

/// How often this process has allocated memory, on all threads. Everything ends in malloc and its kin: operator new,
/// and the aligned_alloc from which Asio takes the frames of coroutines.
[[nodiscard]] std::size_t allocations() noexcept;
/// The bytes that are allocated now, without those that `large_blocks` keeps for whoever comes next, and in how many blocks.
[[nodiscard]] std::size_t live_bytes() noexcept;
[[nodiscard]] std::size_t live_blocks() noexcept;
/// How many blocks of `size` bytes, rounded up to 16, are allocated now; the last one counts those that are larger.
inline constexpr std::size_t most_counted_size = 4096;
[[nodiscard]] std::size_t live_blocks(std::size_t size) noexcept;
/// Prints the call stacks of the next `count` allocations to stderr: what to do when a count is too high.
void trace_next(std::size_t count) noexcept;

}  // namespace counts
