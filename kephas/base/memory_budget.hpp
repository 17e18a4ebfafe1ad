#pragma once

#include <kephas/base/slice.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kephas {

/// A limit on the memory that many owners use together, and how much of it is used. A block that several of them share
/// is counted once, for as long as any of them holds it. It only counts: whoever asks `fits` decides what follows, and
/// several who ask at the same moment may overdraw it by what they ask for.
/// Concurrency: everything from any thread. Lifetime: it must outlive what is charged to it.
class memory_budget {
public:
    /// Bytes. Zero: no limit, but counted all the same.
    explicit memory_budget(std::size_t limit) noexcept : limit_{limit}, account_{next_account()} {}
    memory_budget(const memory_budget&) = delete;
    memory_budget& operator=(const memory_budget&) = delete;

    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::size_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
    /// Whether `size` more may be charged without touching the last `reserve` bytes, which are kept for others.
    [[nodiscard]] bool fits(std::size_t size, std::size_t reserve = 0) const noexcept {
        if (limit_ == 0) return true;
        const std::size_t used = this->used();
        const std::size_t limit = reserve < limit_ ? limit_ - reserve : 0;
        return used <= limit && size <= limit - used;
    }

    void charge(std::size_t size) noexcept { used_.fetch_add(size, std::memory_order_relaxed); }
    void release(std::size_t size) noexcept { used_.fetch_sub(size, std::memory_order_relaxed); }

    /// What `hold` would charge for the block of `shared`: nothing if somebody holds it already.
    [[nodiscard]] std::size_t cost_of(const slice& shared) const noexcept {
        return shared.held_for(account_) ? 0 : shared.block_size();
    }
    /// Charges the block of `shared` unless it is charged already. False, and nothing charged, if it is charged to
    /// another budget: then it counts like memory of one owner.
    [[nodiscard]] bool hold(const slice& shared) noexcept {
        switch (shared.hold_for(account_)) {
            case slice::holder::first: charge(shared.block_size()); return true;
            case slice::holder::another: return true;
            case slice::holder::stranger: break;
        }
        return false;
    }
    /// The end of a successful `hold`.
    void let_go(const slice& shared) noexcept {
        if (shared.let_go()) release(shared.block_size());
    }

private:
    [[nodiscard]] static std::uint32_t next_account() noexcept;

    std::size_t limit_;
    std::uint32_t account_;
    alignas(64) std::atomic<std::size_t> used_{0};  // away from what everybody only reads
};

}  // namespace kephas
