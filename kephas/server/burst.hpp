#pragma once

#include <kephas/server/job.hpp>

#include <atomic>
#include <cstddef>
#include <utility>
#include <vector>

namespace kephas {

/// The jobs of `pool` routes that one read brought. Filled first, then shared: several runners may take from it.
class burst final : public job_source {
public:
    [[nodiscard]] job& add() { return jobs_.emplace_back(); }
    [[nodiscard]] std::vector<job>& jobs() noexcept { return jobs_; }
    /// Where the payloads are copied that must leave the read buffer.
    [[nodiscard]] slice& storage() noexcept { return storage_; }

    /// Forgets the jobs but keeps the memory for the next burst, unless it is large.
    void recycle() noexcept {
        static constexpr std::size_t most_jobs = 256;
        static constexpr std::size_t most_storage = 16 * 1024;
        jobs_.clear();
        if (jobs_.capacity() > most_jobs) std::vector<job>{}.swap(jobs_);
        if (storage_.size() > most_storage) storage_ = slice{};
        next_.store(0, std::memory_order_relaxed);
    }

    [[nodiscard]] job* next() noexcept override {
        const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
        return index < jobs_.size() ? &jobs_[index] : nullptr;
    }
    [[nodiscard]] bool may_share() const noexcept override {
        return next_.load(std::memory_order_relaxed) < jobs_.size();
    }

private:
    std::vector<job> jobs_;
    slice storage_;
    std::atomic<std::size_t> next_{0};
};

}  // namespace kephas
