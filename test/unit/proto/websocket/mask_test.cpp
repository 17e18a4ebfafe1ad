#include <kephas/proto/websocket/mask.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

using namespace kephas;
using namespace kephas::test;

TEST_CASE("every size is masked at every alignment as RFC 6455 5.3 says") {
    const auto key_bytes = "37 fa 21 3d"_hex;
    const auto key = websocket::load_mask_key(key_bytes.data());
    for (std::size_t size = 0; size <= 200; ++size) {
        for (std::size_t offset = 0; offset < 9; ++offset) {
            bytes buffer(size + offset + 1);
            for (std::size_t i = 0; i < buffer.size(); ++i) buffer[i] = static_cast<std::byte>(i * 7);
            bytes expected = buffer;
            for (std::size_t i = 0; i < size; ++i) expected[offset + i] ^= key_bytes[i % 4];
            websocket::apply_mask(mutable_bytes{buffer}.subspan(offset, size), key);
            REQUIRE(buffer == expected);  // the byte behind included
        }
    }
}

TEST_CASE("a key turned by an offset goes on where the payload was cut") {
    const auto key_bytes = "37 fa 21 3d"_hex;
    const auto key = websocket::load_mask_key(key_bytes.data());
    for (std::size_t cut = 0; cut <= 40; ++cut) {
        bytes whole(40, std::byte{0x55});
        bytes pieces = whole;
        websocket::apply_mask(whole, key);
        websocket::apply_mask(mutable_bytes{pieces}.first(cut), key);
        websocket::apply_mask(mutable_bytes{pieces}.subspan(cut), websocket::rotated(key, cut));
        CHECK(pieces == whole);
    }
}

TEST_CASE("a key is written as it was read") {
    const auto key_bytes = "01 02 03 04"_hex;
    bytes copy(4);
    websocket::store_mask_key(copy.data(), websocket::load_mask_key(key_bytes.data()));
    CHECK(copy == key_bytes);
}
