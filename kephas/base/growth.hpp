#pragma once

#include <cstddef>

namespace kephas {

inline constexpr std::size_t steady_growth_from = 8 * 1024;  ///< Below, a buffer simply doubles.

/// How large a buffer should be into which something arrives in pieces, `needed` bytes by now: at most twice that (256
/// bytes at least), and never more than `largest`. If it is `certain` that it will grow to `largest`, the steps are chosen
/// so that the last one ends with it: steps of a factor of two would often end just short, and move nearly all once more.
[[nodiscard]] std::size_t grown_capacity(std::size_t needed, std::size_t largest, bool certain) noexcept;

}  // namespace kephas
