#include <kephas/proto/websocket/close_code.hpp>
#include <kephas/proto/websocket/utf8.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace kephas;

TEST_CASE("a close frame may carry the registered codes and those of applications, and no others") {  // RFC 6455 7.4
    for (const unsigned code : {1000U, 1001U, 1002U, 1003U, 1007U, 1011U, 1012U, 1014U, 3000U, 3008U, 4999U})
        CHECK_MESSAGE(is_valid_on_wire(close_code{static_cast<std::uint16_t>(code)}), code);
    for (const unsigned code : {0U, 999U, 1004U, 1005U, 1006U, 1015U, 1016U, 2000U, 2999U, 5000U, 65535U})
        CHECK_FALSE_MESSAGE(is_valid_on_wire(close_code{static_cast<std::uint16_t>(code)}), code);
}

TEST_CASE("a code tells whether to come back") {
    CHECK(may_reconnect(close_code::going_away));
    CHECK(may_reconnect(close_code::abnormal));
    CHECK(may_reconnect(close_code::service_restart));
    CHECK(may_reconnect(close_code::slow_consumer));
    CHECK_FALSE(may_reconnect(close_code::normal));
    CHECK_FALSE(may_reconnect(close_code::message_too_big));
    CHECK_FALSE(may_reconnect(close_code{3500}));
    CHECK(may_reconnect(close_code{4499}));
}

TEST_CASE("a reason is cut at a character boundary to 123 bytes") {
    CHECK(fitting_reason("") == "");
    CHECK(fitting_reason(std::string(123, 'x')).size() == 123);
    CHECK(fitting_reason(std::string(124, 'x')).size() == 123);
    for (std::size_t ascii = 115; ascii <= 125; ++ascii) {
        const std::string reason = std::string(ascii, 'x') + "\xF0\x9F\x98\x80 and more, so that it must be cut";
        const auto fitting = fitting_reason(reason);
        CHECK(fitting.size() <= 123);
        CHECK(fitting.size() >= 120);
        CHECK(websocket::is_utf8(as_bytes(fitting)));
    }
    CHECK(fitting_reason(std::string(200, '\x80')).size() <= 123);  // no text at all: any cut will do
}
