#include <kephas/base/growth.hpp>

#include <algorithm>
#include <cmath>

namespace kephas {

std::size_t grown_capacity(std::size_t needed, std::size_t largest, bool certain) noexcept {
    constexpr std::size_t smallest = 256;
    const std::size_t capacity = std::max(2 * needed, smallest);
    if (largest <= capacity) return std::max(needed, largest);
    if (!certain || needed < steady_growth_from) return capacity;
    const double ratio = static_cast<double>(largest) / static_cast<double>(needed);
    const double factor = std::pow(ratio, 1 / std::ceil(std::log2(ratio)));
    return std::min(capacity, static_cast<std::size_t>(factor * static_cast<double>(needed)) + 1);
}

}  // namespace kephas
