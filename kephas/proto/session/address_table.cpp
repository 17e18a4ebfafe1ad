#include <kephas/proto/session/address_table.hpp>

#include <algorithm>
#include <bit>
#include <iterator>

namespace kephas {

namespace {

/// Spreads the bits of a number over all of it (the finalizer of SplitMix64).
std::uint64_t mix(std::uint64_t value) noexcept {
    value += 0x9E3779B97F4A7C15U;
    value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
    return value ^ (value >> 31U);
}

/// Without overflow, however small the rate.
duration as_duration(double seconds) noexcept {
    static constexpr double longest = 100.0 * 365 * 86'400;
    return std::chrono::duration_cast<duration>(std::chrono::duration<double>{std::clamp(seconds, 0.0, longest)});
}

}  // namespace

address_table::address_table(const address_limits& limits, std::size_t places, std::uint64_t seed)
    : limits_{limits}, seed_{seed}, sets_(std::bit_ceil(std::max<std::size_t>(1, (places + 7) / 8))) {
    if (limits_.per_second > 0) {
        interval_ = as_duration(1 / limits_.per_second);
        tolerance_ = as_duration(std::max(0.0, limits_.burst - 1) / limits_.per_second);
    }
}

address_verdict address_table::enter(std::uint64_t address, time_point now) noexcept {
    place* const here = find_or_make(address);
    if (here == nullptr) return address_verdict::untracked;
    if (limits_.connections != 0 && here->open >= limits_.connections) return address_verdict::too_many;
    if (interval_ > duration::zero()) {
        // A token bucket in one number: when it would be full again, if nobody took anything from it.
        const time_point due = std::max(here->due, now);
        if (due - now > tolerance_) return address_verdict::too_fast;
        here->due = due + interval_;
    }
    ++here->open;
    return address_verdict::admitted;
}

void address_table::leave(std::uint64_t address) noexcept {
    for (place& each : sets_[index_of(address)].places) {
        if (each.address == address && each.open > 0) --each.open;
    }
}

std::size_t address_table::open(std::uint64_t address) const noexcept {
    const auto& places = sets_[index_of(address)].places;
    const auto* const found = std::ranges::find(places, address, &place::address);
    return found == std::end(places) ? 0 : found->open;
}

std::size_t address_table::index_of(std::uint64_t address) const noexcept {
    return mix(address ^ seed_) & (sets_.size() - 1);
}

address_table::place* address_table::find_or_make(std::uint64_t address) noexcept {
    auto& places = sets_[index_of(address)].places;
    place* oldest = nullptr;
    for (place& each : places) {
        if (each.address == address) return &each;
        if (each.open == 0 && (oldest == nullptr || each.due < oldest->due)) oldest = &each;
    }
    if (oldest != nullptr) *oldest = {address, time_point::min(), 0};
    return oldest;
}

}  // namespace kephas
