#pragma once

#include <kephas/base/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kephas {

/// What one address may do. Zero: no limit.
struct address_limits {
    std::size_t connections = 0;  ///< Open at a time.
    double per_second = 0;        ///< New ones, after a burst.
    double burst = 1;
};

enum class [[nodiscard]] address_verdict : std::uint8_t {
    admitted,   ///< Counted until `leave`.
    untracked,  ///< Let in without being counted: there is no place to count it. Without `leave`.
    too_many,   ///< As many as it may have are open.
    too_fast,   ///< It opens them faster than it may.
};

/// Counts the open connections of each address and how fast it opens them, in a fixed amount of memory and in constant
/// time: a table of sets of eight places. An address that has nothing open and has not been here for a while
/// leaves no trace. When all places of a set are taken, the one that has nothing open and has been patient for the
/// longest time gives up its place; when all have connections open, the newcomer is let in uncounted, because
/// refusing it would let somebody with many addresses shut out everybody else.
/// Pure; single-threaded.
class address_table {
public:
    /// `places` is how many addresses are known at a time, at least. `seed` keeps strangers from choosing
    /// addresses that meet in one set: a random number.
    address_table(const address_limits& limits, std::size_t places, std::uint64_t seed);

    /// A connection of `address` (`ip_address::peer_key`) wants in. Time that goes backwards counts as standing still.
    address_verdict enter(std::uint64_t address, time_point now) noexcept;
    /// One that was `admitted` has ended.
    void leave(std::uint64_t address) noexcept;

    [[nodiscard]] std::size_t open(std::uint64_t address) const noexcept;
    [[nodiscard]] std::size_t memory() const noexcept { return sets_.size() * sizeof(set); }  ///< In bytes.

private:
    struct place {
        std::uint64_t address = 0;
        time_point due = time_point::min();  ///< When its burst will be whole again; nothing open and due: free.
        std::uint32_t open = 0;
    };
    struct set {
        place places[8];
    };

    [[nodiscard]] std::size_t index_of(std::uint64_t address) const noexcept;
    [[nodiscard]] place* find_or_make(std::uint64_t address) noexcept;

    address_limits limits_;
    duration interval_{};   // between two new connections, in the long run
    duration tolerance_{};  // how far ahead of that pace one may be
    std::uint64_t seed_;
    std::vector<set> sets_;
};

}  // namespace kephas
