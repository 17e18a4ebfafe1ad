#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kephas {

/// What compressing has saved: `bytes` became `to_bytes`.
struct deflate_totals {
    std::atomic<std::uint64_t> messages{0}, bytes{0}, to_bytes{0};

    void add(std::size_t before, std::size_t after) noexcept {
        messages.fetch_add(1, std::memory_order_relaxed);
        bytes.fetch_add(before, std::memory_order_relaxed);
        to_bytes.fetch_add(after, std::memory_order_relaxed);
    }
};

}  // namespace kephas
