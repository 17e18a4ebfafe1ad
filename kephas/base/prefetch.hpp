#pragma once

#include <cstddef>

namespace kephas {

/// The processor may fetch the object into its cache meanwhile. Changes nothing else.
template <class T>
void prefetch(const T& object) noexcept {
    static constexpr std::size_t line = 64;
    const auto* const bytes = reinterpret_cast<const char*>(&object);
    for (std::size_t at = 0; at < sizeof(T); at += line) __builtin_prefetch(bytes + at);
}

}  // namespace kephas
