#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>

#include <execinfo.h>
#include <unistd.h>

namespace counts {

/// Prints from where the next ones of what is counted come. Concurrency: any thread. What it does itself is not traced.
class tracer {
public:
    void next(std::size_t count) noexcept { left_.store(count); }
    void operator()(std::size_t size) noexcept {
        if (left_.load(std::memory_order_relaxed) == 0 || inside_) return;
        inside_ = true;
        left_.fetch_sub(1, std::memory_order_relaxed);
        void* frames[24];
        const int count = ::backtrace(frames, 24);
        char line[64];
        const int length = std::snprintf(line, sizeof(line), "--- %zu bytes\n", size);
        (void)!::write(STDERR_FILENO, line, static_cast<std::size_t>(length));
        ::backtrace_symbols_fd(frames, count, STDERR_FILENO);
        inside_ = false;
    }

private:
    std::atomic<std::size_t> left_{0};
    static inline thread_local bool inside_ = false;
};

}  // namespace counts
