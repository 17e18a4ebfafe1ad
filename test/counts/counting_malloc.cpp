// malloc and its kin of this program: glibc's, with a count. Not for use with sanitizers, which bring their own.
#include "counting_malloc.hpp"
#include "tracer.hpp"

#include <kephas/base/large_blocks.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <malloc.h>

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);
}

namespace counts {
namespace {

std::atomic<std::size_t> allocated{0};
std::atomic<std::size_t> bytes{0};
std::atomic<std::size_t> blocks{0};
constinit tracer trace;
std::atomic<std::size_t> by_size[most_counted_size / 16 + 1];

std::size_t class_of(std::size_t size) noexcept { return std::min(size + 15, most_counted_size) / 16; }

void* counted(void* memory) noexcept {
    if (memory == nullptr) return nullptr;
    allocated.fetch_add(1, std::memory_order_relaxed);
    blocks.fetch_add(1, std::memory_order_relaxed);
    const std::size_t size = ::malloc_usable_size(memory);
    bytes.fetch_add(size, std::memory_order_relaxed);
    by_size[class_of(size)].fetch_add(1, std::memory_order_relaxed);
    trace(size);
    return memory;
}

void forget(void* memory) noexcept {
    if (memory == nullptr) return;
    blocks.fetch_sub(1, std::memory_order_relaxed);
    const std::size_t size = ::malloc_usable_size(memory);
    bytes.fetch_sub(size, std::memory_order_relaxed);
    by_size[class_of(size)].fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace

std::size_t allocations() noexcept { return allocated.load(); }
std::size_t live_bytes() noexcept { return bytes.load() - kephas::large_blocks::shared().kept(); }
std::size_t live_blocks() noexcept { return blocks.load(); }
std::size_t live_blocks(std::size_t size) noexcept { return by_size[class_of(size)].load(); }
void trace_next(std::size_t count) noexcept { trace.next(count); }

}  // namespace counts

extern "C" {

void* malloc(std::size_t size) { return counts::counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return counts::counted(__libc_calloc(count, size)); }
void* realloc(void* old, std::size_t size) {
    counts::forget(old);
    return counts::counted(__libc_realloc(old, size));
}
void* memalign(std::size_t alignment, std::size_t size) { return counts::counted(__libc_memalign(alignment, size)); }
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return counts::counted(__libc_memalign(alignment, size));
}
int posix_memalign(void** to, std::size_t alignment, std::size_t size) {
    *to = counts::counted(__libc_memalign(alignment, size));
    return *to == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
    counts::forget(memory);
    __libc_free(memory);
}

}  // extern "C"
