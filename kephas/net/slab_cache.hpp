#pragma once

#include <kephas/base/slice.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kephas {

/// Whoever lends read buffers to the connections of a stream.
class slab_lender {
public:
    /// Concurrency: from whatever thread reads.
    [[nodiscard]] virtual slice borrow_slab() = 0;
    virtual void give_back_slab(slice slab) = 0;

protected:
    ~slab_lender() = default;
};

/// The read buffers that a thread lends to its connections, one at a time: a connection owns none while it is idle.
/// Single-threaded; a slab itself may end its life on any thread.
class slab_cache {
public:
    static constexpr std::size_t slab_size = 128 * 1024 - 64;  // a little less, so that malloc does not map it anew each time
    static constexpr std::size_t max_idle = 16;

    [[nodiscard]] slice borrow() {
        if (idle_.empty()) {
            allocated_.store(allocated() + 1, std::memory_order_relaxed);
            return slice::allocate(slab_size);
        }
        slice slab = std::move(idle_.back());
        idle_.pop_back();
        note_idle();
        return slab;
    }

    /// Takes `slab` back, whatever part of it is passed; one that somebody still reads from frees itself later.
    void give_back(slice slab) {
        if (slab.block_size() != slab_size || !slab.unique() || idle_.size() >= max_idle) return;
        idle_.push_back(std::move(slab).whole());
        note_idle();
    }

    // for statistics: any thread
    [[nodiscard]] std::size_t idle() const noexcept { return idle_count_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t allocated() const noexcept { return allocated_.load(std::memory_order_relaxed); }

private:
    void note_idle() noexcept { idle_count_.store(idle_.size(), std::memory_order_relaxed); }

    std::vector<slice> idle_;
    std::atomic<std::size_t> idle_count_{0};
    std::atomic<std::uint64_t> allocated_{0};
};

/// A cache for each thread that reads, for connections that belong to no shard. Any thread.
[[nodiscard]] slab_lender& slabs_of_threads() noexcept;

}  // namespace kephas
