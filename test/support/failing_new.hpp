#pragma once

#include <cstddef>

namespace kephas::test {

/// Link `failing_new.cpp` to a program, and its `operator new` throws `std::bad_alloc` when a test says so.
/// Per thread.
class failing_new {
public:
    /// From now on until `disarm`, the allocation number `which` (from 0) of this thread fails, and no other.
    static void arm(std::size_t which) noexcept;
    static void disarm() noexcept;
    /// Whether the allocation was reached since `arm`.
    [[nodiscard]] static bool reached() noexcept;
    /// How many allocations are left before the one that fails.
    [[nodiscard]] static std::size_t left() noexcept;

    /// While it lives, nothing fails and nothing is counted: for what belongs to the test.
    class pause {
    public:
        pause() noexcept;
        ~pause();
        pause(const pause&) = delete;
        pause& operator=(const pause&) = delete;

    private:
        bool was_armed_;
    };
};

}  // namespace kephas::test
