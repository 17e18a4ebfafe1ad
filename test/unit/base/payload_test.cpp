#include <kephas/base/payload.hpp>

#include <doctest/doctest.h>

#include <type_traits>

using namespace kephas;

// A view owns nothing, so a handler that returns one must not compile.
static_assert(!std::is_constructible_v<payload, std::string_view>);
static_assert(!std::is_constructible_v<payload, bytes_view>);
static_assert(!std::is_convertible_v<bytes_view, payload>);
static_assert(std::is_convertible_v<const char*, payload>);
static_assert(std::is_convertible_v<std::string, payload>);
static_assert(std::is_convertible_v<slice, payload>);

TEST_CASE("a payload keeps the bytes that it was given, however it was given them") {
    const std::string large(1000, 'x');
    CHECK(payload{}.empty());
    CHECK(payload{"literal"}.text() == "literal");
    CHECK(payload{large}.text() == large);
    CHECK(payload{std::vector<std::byte>(3, std::byte{'a'})}.text() == "aaa");
    CHECK(payload{slice::copy(as_bytes("shared"))}.text() == "shared");
    for (const std::size_t size : {0U, 1U, 47U, 48U, 49U, 1000U}) {
        const auto text = std::string_view{large}.substr(0, size);
        CHECK(payload::copy(text).text() == text);
    }
}

TEST_CASE("a moved string is not copied") {
    std::string text(1000, 'x');
    const char* where = text.data();
    payload moved{std::move(text)};
    CHECK(moved.text().data() == where);
    const payload again{std::move(moved)};
    CHECK(again.text().data() == where);
}

TEST_CASE("a shared slice is handed on without a copy") {
    const slice bytes = slice::copy(as_bytes("shared"));
    const payload body{bytes};
    CHECK(body.view().data() == bytes.data());
    CHECK(body.share().data() == bytes.data());
    CHECK(as_text(payload{"inline"}.share().view()) == "inline");
}
