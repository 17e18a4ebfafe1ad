// pthread_mutex_lock and its kin of this program: glibc's, with a note of who locked what. Not for use with sanitizers.
#include "counting_locks.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

namespace counts {
namespace {

using lock_function = int (*)(pthread_mutex_t*);

/// The C library's own; looked up by whoever comes first, which may be several.
int call(std::atomic<lock_function>& own, const char* name, pthread_mutex_t* mutex) noexcept {
    lock_function function = own.load(std::memory_order_relaxed);
    if (function == nullptr) {
        function = reinterpret_cast<lock_function>(::dlsym(RTLD_NEXT, name));
        own.store(function, std::memory_order_relaxed);
    }
    return function(mutex);
}
constinit std::atomic<lock_function> own_lock{nullptr};
constinit std::atomic<lock_function> own_trylock{nullptr};

struct entry {
    std::atomic<const void*> address{nullptr};
    std::atomic<std::uint64_t> threads{0};  // a bit for each
    std::atomic<std::size_t> locks{0};
};

std::array<entry, 4096> table;  // open addressing; the notes must not allocate or lock
std::atomic<bool> watching{false};
std::atomic<std::size_t> to_trace{0};
std::atomic<const void*> traced{nullptr};
std::atomic<unsigned> threads_seen{0};
thread_local unsigned thread_number = 0;  // from 1 on
thread_local bool tracing = false;

void trace(const void* mutex) noexcept {
    if (mutex != traced.load(std::memory_order_relaxed) || tracing || to_trace.load() == 0) return;
    tracing = true;
    to_trace.fetch_sub(1);
    void* frames[24];
    const int count = ::backtrace(frames, 24);
    ::backtrace_symbols_fd(frames, count, STDERR_FILENO);
    (void)!::write(STDERR_FILENO, "---\n", 4);
    tracing = false;
}

void note(const void* mutex) noexcept {
    if (!watching.load(std::memory_order_acquire)) return;
    if (thread_number == 0) thread_number = threads_seen.fetch_add(1) + 1;
    if (thread_number > 64) std::abort();
    const std::size_t start = reinterpret_cast<std::uintptr_t>(mutex) / 8;
    for (std::size_t i = 0; i < table.size(); ++i) {
        entry& place = table[(start + i) % table.size()];
        const void* seen = nullptr;
        if (!place.address.compare_exchange_strong(seen, mutex) && seen != mutex) continue;
        place.threads.fetch_or(std::uint64_t{1} << (thread_number - 1), std::memory_order_relaxed);
        place.locks.fetch_add(1, std::memory_order_relaxed);
        trace(mutex);
        return;
    }
    std::abort();  // more mutexes than anybody thought of
}

}  // namespace

void watch_locks() noexcept {
    for (entry& each : table) {
        each.address = nullptr;
        each.threads = 0;
        each.locks = 0;
    }
    watching.store(true, std::memory_order_release);
}

std::vector<locked_mutex> watched_locks() {
    watching = false;
    std::vector<locked_mutex> all;
    for (const entry& each : table) {
        if (each.address.load() == nullptr) continue;
        all.push_back({each.address.load(), static_cast<std::size_t>(__builtin_popcountll(each.threads.load())), each.locks.load()});
    }
    return all;
}

void trace_locks_of(const void* mutex, std::size_t count) noexcept {
    traced.store(mutex);
    to_trace.store(count);
}

}  // namespace counts

extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
    const int result = counts::call(counts::own_lock, "pthread_mutex_lock", mutex);
    if (result == 0) counts::note(mutex);
    return result;
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
    const int result = counts::call(counts::own_trylock, "pthread_mutex_trylock", mutex);
    if (result == 0) counts::note(mutex);
    return result;
}

}  // extern "C"
