#pragma once

#include <cstddef>

namespace counts {

/// The bytes that this process has copied with memcpy and memmove since it began, on all threads, in runs of at least
/// `smallest_counted` bytes. Copies that the compiler writes out (of constant sizes), and those of the kernel, are not among
/// them.
inline constexpr std::size_t smallest_counted = 256;
[[nodiscard]] std::size_t copied_bytes() noexcept;
/// Prints the call stacks of the next `count` of these to stderr: what to do when a count is too high.
void trace_copies(std::size_t count) noexcept;

}  // namespace counts
