#include <kephas/base/slice.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <thread>
#include <vector>

using namespace kephas;

TEST_CASE("a block lives as long as any slice of it") {
    slice all = slice::copy(as_bytes("one two"));
    slice part = all.sub(4, 3);
    CHECK_FALSE(all.unique());
    all = slice{};
    CHECK(part.unique());
    CHECK(as_text(part.view()) == "two");
    CHECK(as_text(std::move(part).whole().view()) == "one two");
}

TEST_CASE("a prefix can be left out") {
    slice bytes = slice::copy(as_bytes("one two"));
    bytes.remove_prefix(4);
    CHECK(as_text(bytes.view()) == "two");
    bytes.remove_prefix(3);
    CHECK(bytes.empty());
}

TEST_CASE("slices that were counted locally are counted as all others afterwards") {
    slice block = slice::copy(as_bytes("shared"));
    std::optional<slice> kept;
    {
        const slice::local_count counted{block};
        for (int i = 0; i < 200; ++i) kept = block;
        std::vector<slice> many(200, block);
        const slice moved = std::move(many.back());
    }
    CHECK_FALSE(block.unique());
    block = slice{};
    CHECK(kept->unique());
    CHECK(as_text(kept->view()) == "shared");
}

TEST_CASE("a block whose last slice goes while it is counted locally ends with the counting") {
    slice block = slice::copy(as_bytes("shared"));
    const slice::local_count counted{block};
    block = slice{};  // a leak is for the sanitizer to find
}

TEST_CASE("only the innermost block is counted locally, and the outer one goes on behind it") {
    slice outer = slice::copy(as_bytes("outer"));
    slice inner = slice::copy(as_bytes("inner"));
    slice kept;
    {
        const slice::local_count counted_outer{outer};
        kept = outer;
        {
            const slice::local_count counted_inner{inner};
            kept = inner;
            const slice other = outer;
            const slice::local_count again{inner};
            kept = slice{};
            kept = inner;
        }
        CHECK_FALSE(inner.unique());
        kept = outer;
        CHECK(inner.unique());
        kept = slice{};
    }
    CHECK(outer.unique());
    const slice::local_count nothing{slice{}};
    kept = outer;
    CHECK_FALSE(outer.unique());
}

TEST_CASE("slices that one thread counts locally may be kept, copied and freed by others") {
    constexpr int rounds = 200;
    for (int round = 0; round < rounds; ++round) {
        slice block = slice::copy(as_bytes("shared"));
        std::vector<slice> given(100);
        std::vector<slice> back(100);
        {
            const slice::local_count counted{block};
            for (slice& each : given) each = block;
            std::thread other{[&] {
                for (std::size_t i = 0; i < given.size(); ++i) {
                    if (i % 2 == 0) back[i] = given[i];
                    given[i] = slice{};
                }
            }};
            for (int i = 0; i < 100; ++i) const slice copy = block;
            block = slice{};  // the other thread may hold the last ones
            other.join();
            back.resize(10);
        }
        block = back.front();
        back.clear();
        REQUIRE(block.unique());
        REQUIRE(as_text(block.view()) == "shared");
    }
}
