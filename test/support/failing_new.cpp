#include <support/failing_new.hpp>

#include <cstdlib>
#include <new>

namespace kephas::test {

namespace {
thread_local bool armed = false;
thread_local bool failed = false;
thread_local std::size_t to_go = 0;
}  // namespace

void failing_new::arm(std::size_t which) noexcept {
    armed = true;
    failed = false;
    to_go = which;
}
void failing_new::disarm() noexcept { armed = false; }
bool failing_new::reached() noexcept { return failed; }
std::size_t failing_new::left() noexcept { return to_go; }

failing_new::pause::pause() noexcept : was_armed_{armed} { armed = false; }
failing_new::pause::~pause() { armed = was_armed_; }

namespace {
bool fails() noexcept {
    if (!armed || failed || to_go-- > 0) return false;
    return failed = true;
}
}  // namespace

}  // namespace kephas::test

void* operator new(std::size_t size) {
    void* memory = kephas::test::fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) throw std::bad_alloc{};
    return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
