#include <kephas/base/large_blocks.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <thread>
#include <vector>

using namespace kephas;

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

}  // namespace

TEST_CASE("a large block is used again for what is nearly as large") {
    large_blocks blocks;
    void* const first = blocks.take(mebibyte - 100);
    std::memset(first, 1, mebibyte - 100);
    blocks.give_back(first, mebibyte - 100);
    CHECK(blocks.kept() == mebibyte);
    void* const half = blocks.take(mebibyte / 2);  // not from one of twice its size
    CHECK(half != first);
    CHECK(blocks.kept() == mebibyte);
    void* const second = blocks.take(mebibyte);
    CHECK(second == first);
    CHECK(blocks.kept() == 0);
    std::memset(second, 2, mebibyte);
    blocks.give_back(second, mebibyte);
    blocks.give_back(half, mebibyte / 2);
    CHECK(blocks.kept() == mebibyte + mebibyte / 2);
}

TEST_CASE("every size gets a block that holds it") {
    large_blocks blocks;
    for (std::size_t size = large_blocks::smallest - 1; size < 4 * mebibyte; size += size / 11) {
        void* const memory = blocks.take(size);
        std::memset(memory, 3, size);  // AddressSanitizer watches
        blocks.give_back(memory, size);
    }
    CHECK(blocks.kept() <= large_blocks::most_kept);
}

TEST_CASE("no more than its limit is kept, and not always the same") {
    large_blocks blocks;
    constexpr std::size_t many = 2 * large_blocks::most_kept / mebibyte;
    std::vector<void*> all;
    for (std::size_t i = 0; i < many; ++i) all.push_back(blocks.take(mebibyte));
    for (void* each : all) blocks.give_back(each, mebibyte);
    CHECK(blocks.kept() == large_blocks::most_kept);

    void* const whole = blocks.take(large_blocks::most_kept);
    blocks.give_back(whole, large_blocks::most_kept);  // takes the place of all others
    CHECK(blocks.kept() == large_blocks::most_kept);
    CHECK(blocks.take(large_blocks::most_kept) == whole);
    CHECK(blocks.kept() == 0);
    blocks.give_back(whole, large_blocks::most_kept);
    void* const larger = blocks.take(large_blocks::most_kept + 1);
    blocks.give_back(larger, large_blocks::most_kept + 1);
    CHECK(blocks.kept() == large_blocks::most_kept);
}

TEST_CASE("small blocks are left to malloc") {
    large_blocks blocks;
    blocks.give_back(blocks.take(large_blocks::smallest - 1), large_blocks::smallest - 1);
    CHECK(blocks.kept() == 0);
}

TEST_CASE("threads may take and give back large blocks at the same time") {
    large_blocks blocks;
    const auto work = [&blocks](std::size_t seed) {
        for (std::size_t i = 0; i < 2000; ++i) {
            const std::size_t size = large_blocks::smallest * (1 + (seed + i) % 5);
            auto* const memory = static_cast<std::size_t*>(blocks.take(size));
            *memory = seed + i;
            std::this_thread::yield();
            CHECK(*memory == seed + i);
            blocks.give_back(memory, size);
        }
    };
    std::thread other{work, 1};
    work(2);
    other.join();
    CHECK(blocks.kept() <= large_blocks::most_kept);
}
