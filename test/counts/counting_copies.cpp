// memcpy and memmove of this program, the shared libraries included, with a count. Not for use with sanitizers.
#include "counting_copies.hpp"
#include "tracer.hpp"

#include <atomic>
#include <cstdint>

namespace counts {
namespace {

constinit std::atomic<std::size_t> copied{0};
constinit tracer trace;

void note(std::size_t size) noexcept {
    if (size < smallest_counted) return;
    copied.fetch_add(size, std::memory_order_relaxed);
    trace(size);
}

/// Eight bytes anywhere, read and written without a call of memcpy: that would be this function again.
using word __attribute__((may_alias, aligned(1))) = std::uint64_t;

/// In steps that no compiler takes for a memcpy either.
void forwards(unsigned char* to, const unsigned char* from, std::size_t size) noexcept {
    std::size_t i = 0;
    for (; i + sizeof(word) <= size; i += sizeof(word)) {
        *reinterpret_cast<word*>(to + i) = *reinterpret_cast<const word*>(from + i);
        asm volatile("" ::: "memory");
    }
    for (; i < size; ++i) {
        to[i] = from[i];
        asm volatile("" ::: "memory");
    }
}

void backwards(unsigned char* to, const unsigned char* from, std::size_t size) noexcept {
    for (std::size_t i = size; i > 0; --i) {
        to[i - 1] = from[i - 1];
        asm volatile("" ::: "memory");
    }
}

}  // namespace

std::size_t copied_bytes() noexcept { return copied.load(); }
void trace_copies(std::size_t count) noexcept { trace.next(count); }

}  // namespace counts

extern "C" {

void* memcpy(void* to, const void* from, std::size_t size) noexcept {
    counts::note(size);
    counts::forwards(static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), size);
    return to;
}

void* memmove(void* to, const void* from, std::size_t size) noexcept {
    counts::note(size);
    auto* const target = static_cast<unsigned char*>(to);
    const auto* const source = static_cast<const unsigned char*>(from);
    const auto distance = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
    if (distance >= size) counts::forwards(target, source, size);  // also if it lies before: that wraps around
    else counts::backwards(target, source, size);
    return to;
}

}  // extern "C"
