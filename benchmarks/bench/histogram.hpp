#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace bench {

/// Counts values in buckets that are at most 1/128 of the value wide, over the whole range of 64 bits: a percentile is
/// exact to 0.8 %, whether it is a microsecond or a minute in nanoseconds.
class histogram {
public:
    void add(std::uint64_t value) noexcept {
        ++buckets_[index(value)];
        ++count_;
        sum_ += static_cast<double>(value);
        min_ = std::min(min_, value);
        max_ = std::max(max_, value);
    }
    void add(const histogram& other) noexcept {
        for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
        count_ += other.count_;
        sum_ += other.sum_;
        min_ = std::min(min_, other.min_);
        max_ = std::max(max_, other.max_);
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t min() const noexcept { return count_ > 0 ? min_ : 0; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    [[nodiscard]] double mean() const noexcept { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }

    /// The smallest value that at least `fraction` of all values do not exceed; 0 if there are none.
    [[nodiscard]] std::uint64_t percentile(double fraction) const noexcept {
        // 0.07 * 100 is a little more than 7
        const double exact = fraction * static_cast<double>(count_) * (1 - 1e-12);
        const auto rank = std::max<std::uint64_t>(static_cast<std::uint64_t>(std::ceil(exact)), 1);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen >= rank) return std::clamp(upper_bound(i), min_, max_);
        }
        return max_;
    }

    /// Calls visit(lowest, highest, count) for each bucket that is not empty, in ascending order.
    template <class Visitor>
    void for_each(Visitor&& visit) const {
        for (std::size_t i = 0; i < buckets_.size(); ++i)
            if (buckets_[i] > 0) visit(i == 0 ? 0 : upper_bound(i - 1) + 1, upper_bound(i), buckets_[i]);
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
    std::uint64_t min_ = ~std::uint64_t{0};
    std::uint64_t max_ = 0;
    double sum_ = 0;
};

}  // namespace bench
