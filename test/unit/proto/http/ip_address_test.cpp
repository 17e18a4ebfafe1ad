#include <kephas/proto/http/ip_address.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace kephas::http;

namespace {

/// What the address reads when it is written again; "" if it is none.
std::string rewritten(std::string_view text) {
    const auto address = ip_address::parse(text);
    return address ? address->to_string() : std::string{};
}

}  // namespace

TEST_CASE("an IPv4 address is four numbers below 256") {
    CHECK(rewritten("0.0.0.0") == "0.0.0.0");
    CHECK(rewritten("127.0.0.1") == "127.0.0.1");
    CHECK(rewritten("255.255.255.255") == "255.255.255.255");
    CHECK(ip_address::parse("192.0.2.33") == ip_address::v4(0xC0000221));
    for (const char* text : {"", ".", "1", "1.2.3", "1.2.3.", ".1.2.3", "1.2.3.4.", "1.2.3.4.5", "256.0.0.1", "1.2.3.999", "1.2.3.1000",
                             "01.2.3.4", "1.2.3.04", "1.2.3.00", "1.2..4", "1.2.3.-4", "1.2.3.+4", "1.2.3.4 ", " 1.2.3.4", "0x7f.0.0.1",
                             "1,2,3,4", "1.2.3.4:80", "localhost"}) {
        CAPTURE(text);
        CHECK_FALSE(ip_address::parse(text));
    }
}

TEST_CASE("an IPv6 address is eight groups, or fewer around a gap, and may end in an IPv4 address") {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:db8::1", "2001:db8::1"},
        {"2001:DB8::00A1", "2001:db8::a1"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
        {"1:0:0:2:3:0:0:4", "1::2:3:0:0:4"},  // the first of two gaps of the same size
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"::1.2.3.4", "::102:304"},
    };
    for (const auto& [text, expected] : cases) {
        CAPTURE(text);
        CHECK(rewritten(text) == expected);
    }
    for (const char* text : {":", ":::", ":1", "1:", "1:2", "1::2::3", "1:::2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8",
                             "1:2:3:4::5:6:7:8", "12345::", "g::", "::-1", "::0x1", "[::1]", "::1%lo", "::1 ", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4",
                             "::1.2.3", "::1.2.3.256", "::1.2.3.4:5", "1:2:3:4:5:1.2.3.4"}) {
        CAPTURE(text);
        CHECK_FALSE(ip_address::parse(text));
    }
}

TEST_CASE("an IPv4 address written as IPv6 is the IPv4 address") {
    CHECK(rewritten("::ffff:192.0.2.1") == "192.0.2.1");
    CHECK(ip_address::parse("::ffff:c000:201") == ip_address::parse("192.0.2.1"));
    CHECK_FALSE(ip_address::parse("::192.0.2.1") == ip_address::parse("192.0.2.1"));
    CHECK_FALSE(ip_address{}.is_v4());
}

TEST_CASE("what counts as one peer is an IPv4 address, or 64 bits of an IPv6 one") {
    const auto key = [](std::string_view text) { return ip_address::parse(text)->peer_key(); };
    CHECK(key("2001:db8:1:2::1") == key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    CHECK(key("2001:db8:1:2::1") == 0x20010db800010002);
    CHECK(key("192.0.2.1") == key("::ffff:192.0.2.1"));
    const std::set<std::uint64_t> different{key("2001:db8:1:2::1"), key("2001:db8:1:3::1"), key("192.0.2.1"), key("192.0.2.2"), key("::1"),
                                            key("::192.0.2.1")};
    CHECK(different.size() == 5);  // the last two are in ::/64
}
