#include <kephas/base/uuid.hpp>

#include <doctest/doctest.h>

using namespace kephas;

TEST_CASE("a version 4 UUID has its version and variant bits and keeps the other 122") {
    uuid::bytes_type ones;
    ones.fill(std::byte{0xFF});
    CHECK(uuid::v4(ones).to_string() == "ffffffff-ffff-4fff-bfff-ffffffffffff");
    CHECK(uuid::v4({}).to_string() == "00000000-0000-4000-8000-000000000000");
}

TEST_CASE("the text of a UUID is read back, in either case") {
    const std::string text = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
    const auto id = uuid::parse(text);
    REQUIRE(id);
    CHECK(id->to_string() == text);
    CHECK(uuid::parse("F81D4FAE-7DEC-41D0-A765-00A0C91E6BF6") == id);
}

TEST_CASE("anything but the 36-character form is refused") {
    for (const char* text : {"", "f81d4fae", "f81d4fae7dec41d0a76500a0c91e6bf6", "f81d4fae-7dec-41d0-a765-00a0c91e6bfg",
                             "f81d4fae-7dec-41d0-a765_00a0c91e6bf6", "{f81d4fae-7dec-41d0-a765-00a0c91e6b}",
                             "f81d4fae-7dec-41d0-a765-00a0c91e6bf60"}) {
        CAPTURE(text);
        CHECK_FALSE(uuid::parse(text));
    }
}
