#include <support/hex.hpp>

#include <kephas/base/slice.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

using namespace kephas;
using namespace kephas::test::literals;

TEST_CASE("integers are written and read in network byte order at any alignment") {
    std::array<std::byte, 9> buffer{};
    store_big_endian<std::uint32_t>(buffer.data() + 1, 0x01020304U);
    CHECK(std::ranges::equal(bytes_view{buffer}.subspan(1, 4), "01 02 03 04"_hex));
    CHECK(load_big_endian<std::uint32_t>(buffer.data() + 1) == 0x01020304U);
    store_big_endian<std::uint64_t>(buffer.data() + 1, 0x8000000000000001U);
    CHECK(load_big_endian<std::uint64_t>(buffer.data() + 1) == 0x8000000000000001U);
    store_big_endian<std::uint16_t>(buffer.data(), 0xFFFEU);
    CHECK(load_big_endian<std::uint16_t>(buffer.data()) == 0xFFFEU);
}

TEST_CASE("a slice keeps its block alive and knows whether it is alone") {
    slice part;
    {
        slice all = slice::copy(as_bytes("hello world"));
        CHECK(all.unique());
        part = all.sub(6, 5);
        CHECK_FALSE(all.unique());
    }
    CHECK(as_text(part.view()) == "world");
    CHECK(part.unique());
    CHECK(part.block_size() == 11);
    const slice whole = std::move(part).whole();
    CHECK(as_text(whole.view()) == "hello world");
}

TEST_CASE("an empty slice is not a block") {
    const slice none;
    CHECK(none.empty());
    CHECK_FALSE(none.unique());
    CHECK(none.block_size() == 0);
    CHECK(slice::copy({}).empty());
}

TEST_CASE("two joined are one behind the other, in memory of their own") {
    const std::string first = "first, ";
    const slice joined = slice::join(as_bytes(first), as_bytes("second"));
    CHECK(as_text(joined.view()) == "first, second");
    CHECK(joined.unique());
    CHECK(as_text(slice::join({}, as_bytes("only")).view()) == "only");
    CHECK(as_text(slice::join(as_bytes("only"), {}).view()) == "only");
    CHECK(slice::join({}, {}).empty());
}
