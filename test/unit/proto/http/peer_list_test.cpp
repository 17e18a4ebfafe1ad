#include <kephas/proto/http/peer_list.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace kephas::http;

namespace {

peer_list list_of(const std::vector<std::string>& elements) {
    auto list = peer_list::parse(elements);
    REQUIRE(list);
    return *list;
}

bool contains(const peer_list& list, std::string_view address) { return list.contains(ip_address::parse(address).value()); }

/// The address that the header tells; "-" if it tells none.
std::string told(std::string_view header, const peer_list& trusted) {
    const auto address = forwarded_for(header, trusted);
    return address ? address->to_string() : "-";
}

}  // namespace

TEST_CASE("an empty list contains nobody") {
    CHECK(peer_list{}.empty());
    CHECK(list_of({}).empty());
    CHECK_FALSE(contains({}, "127.0.0.1"));
    CHECK_FALSE(peer_list{}.contains(std::nullopt));
}

TEST_CASE("a list holds addresses, networks and the peers of Unix sockets") {
    const peer_list list = list_of({"10.0.0.0/8", "192.0.2.7", "2001:db8:8000::/33", "::1"});
    for (const char* inside : {"10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:8000::", "2001:db8:ffff::1", "::1"}) {
        CAPTURE(inside);
        CHECK(contains(list, inside));
    }
    for (const char* outside : {"9.255.255.255", "11.0.0.0", "192.0.2.6", "2001:db8:7fff::", "2001:db9::", "::2", "::"}) {
        CAPTURE(outside);
        CHECK_FALSE(contains(list, outside));
    }
    CHECK_FALSE(list.contains(std::nullopt));
    const peer_list local = list_of({"unix"});
    CHECK_FALSE(local.empty());
    CHECK(local.contains(std::nullopt));
    CHECK_FALSE(contains(local, "127.0.0.1"));
}

TEST_CASE("everything is one family only") {
    CHECK(contains(list_of({"0.0.0.0/0"}), "203.0.113.9"));
    CHECK_FALSE(contains(list_of({"0.0.0.0/0"}), "::1"));
    CHECK(contains(list_of({"::/0"}), "2001:db8::1"));
    CHECK_FALSE(contains(list_of({"::/0"}), "203.0.113.9"));
    CHECK(contains(list_of({"::ffff:10.0.0.0/104"}), "10.9.9.9"));
}

TEST_CASE("what is no network is refused and named") {
    for (const char* text : {"", "localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0.0/8/8", "10.0.0.0/008x", "10.0.0.1/8",
                             "::1/64", "2001:db8::/129", "/8", "10.0.0.0/0008", "[::1]", "UNIX", "unix:", "*", "::ffff:0:0/8"}) {
        CAPTURE(text);
        const auto list = peer_list::parse(std::vector<std::string>{"10.0.0.0/8", text});
        REQUIRE_FALSE(list);
        CHECK(list.error() == text);
    }
}

TEST_CASE("X-Forwarded-For tells the right-most address that is no trusted proxy") {
    const peer_list trusted = list_of({"10.0.0.0/8", "2001:db8::/32"});
    CHECK(told("203.0.113.9", trusted) == "203.0.113.9");
    CHECK(told("198.51.100.1, 203.0.113.9", trusted) == "203.0.113.9");  // the first one is what the client says
    CHECK(told("198.51.100.1, 203.0.113.9, 10.1.1.1, 10.1.1.2", trusted) == "203.0.113.9");
    CHECK(told("203.0.113.9,2001:db8::5", trusted) == "203.0.113.9");
    CHECK(told(" \t203.0.113.9\t,  10.1.1.1 ", trusted) == "203.0.113.9");
    CHECK(told("fe80::1, 10.1.1.1", trusted) == "fe80::1");
    CHECK(told("10.1.1.1, 10.1.1.2", trusted) == "10.1.1.1");  // a client among the trusted ones
}

TEST_CASE("an element of X-Forwarded-For may have a port") {
    const peer_list trusted = list_of({"10.0.0.0/8"});
    CHECK(told("203.0.113.9:4711", trusted) == "203.0.113.9");
    CHECK(told("[2001:db8::9]:4711", trusted) == "2001:db8::9");
    CHECK(told("[2001:db8::9]", trusted) == "2001:db8::9");
    CHECK(told("203.0.113.9, 10.0.0.1:80", trusted) == "203.0.113.9");
}

TEST_CASE("an X-Forwarded-For that is malformed where it matters tells nothing") {
    const peer_list trusted = list_of({"10.0.0.0/8"});
    for (const char* header :
         {"", " ", ",", "unknown", "203.0.113.9,", "203.0.113.9, unknown", "203.0.113.9, , 10.0.0.1", "203.0.113.9 10.0.0.1", "203.0.113.9:",
          "203.0.113.9:x", "203.0.113.9:123456", "[203.0.113.9]", "[::1", "::1]", "[::1]x", "[::1]:", "\"203.0.113.9\"", "for=203.0.113.9",
          "203.0.113.009", "_hidden, 10.0.0.1"}) {
        CAPTURE(header);
        CHECK(told(header, trusted) == "-");
    }
    // what stands left of the first untrusted one is not even looked at
    CHECK(told("unknown, ,\x01, 203.0.113.9", trusted) == "203.0.113.9");
}
