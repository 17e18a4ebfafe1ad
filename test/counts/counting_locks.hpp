#pragma once

#include <cstddef>
#include <vector>

namespace counts {

/// What the threads of this process did with one mutex while `watch_locks` was on.
struct locked_mutex {
    const void* address = nullptr;
    std::size_t threads = 0;  ///< How many different ones locked it.
    std::size_t locks = 0;
};

/// Begins to note each `pthread_mutex_lock` and `pthread_mutex_trylock` of this process: all that std::mutex and Asio lock with.
void watch_locks() noexcept;
/// Ends that. All mutexes that were locked meanwhile.
[[nodiscard]] std::vector<locked_mutex> watched_locks();
/// Prints the call stacks of the next locks of that mutex to stderr: what to do about one that should not be there.
void trace_locks_of(const void* mutex, std::size_t count) noexcept;

}  // namespace counts
