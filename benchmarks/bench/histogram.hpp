#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

/// Counts values in buckets that are at most 1/128 of the value wide, so that a percentile is exact to 0.8 %.
class histogram {
public:
    void add(std::uint64_t value) noexcept {
        ++buckets_[index(value)];
        ++count_;
        max_ = std::max(max_, value);
    }
    void clear() noexcept { *this = {}; }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }

    /// The smallest value that `fraction` of all values do not exceed; 0 if there are none.
    [[nodiscard]] std::uint64_t percentile(double fraction) const noexcept {
        const auto rank = static_cast<std::uint64_t>(fraction * static_cast<double>(count_) + 0.5);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen > 0 && seen >= rank) return std::min(upper_bound(i), max_);
        }
        return max_;
    }

private:
    static constexpr unsigned sub_bits = 7;
    static constexpr std::uint64_t sub_buckets = 1U << sub_bits;

    static std::size_t index(std::uint64_t value) noexcept {
        if (value < sub_buckets) return static_cast<std::size_t>(value);
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - sub_bits - 1;
        return static_cast<std::size_t>(shift * sub_buckets + (value >> shift));
    }
    static std::uint64_t upper_bound(std::size_t index) noexcept {
        if (index < 2 * sub_buckets) return index;
        const std::uint64_t shift = index / sub_buckets - 1;
        return ((index - shift * sub_buckets + 1) << shift) - 1;
    }

    std::array<std::uint64_t, (64 - sub_bits + 1) * sub_buckets> buckets_{};
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace bench
