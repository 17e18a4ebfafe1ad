#include <kephas/proto/http/authority.hpp>

#include <doctest/doctest.h>

using namespace kephas::http;

TEST_CASE("a host is read with and without a port") {
    CHECK(parse_authority("Example.COM") == authority{"example.com", std::nullopt});
    CHECK(parse_authority("localhost:8080") == authority{"localhost", 8080});
    CHECK(parse_authority("my_service.local:65535") == authority{"my_service.local", 65535});
    CHECK(parse_authority("127.0.0.1:80") == authority{"127.0.0.1", 80});
    CHECK(parse_authority("[::1]") == authority{"[::1]", std::nullopt});
    CHECK(parse_authority("[2001:DB8::1]:443") == authority{"[2001:db8::1]", 443});
    CHECK(parse_authority("example.com:") == authority{"example.com", std::nullopt});
}

TEST_CASE("what is no host is refused") {
    for (const char* bad : {"",
                            ":80",
                            "a b",
                            "a, b",
                            "a,b",
                            "user@host",
                            "host:port",
                            "host:65536",
                            "host:99999999999",
                            "host:+80",
                            "host:-1",
                            "host:80:80",
                            "host/",
                            "::1",
                            "[::1",
                            "[]",
                            "[abc]",
                            "[::g]",
                            "[::1]80",
                            "[fe80::1%25eth0]",
                            "host\t",
                            "h\xc3\xb6st",
                            "*",
                            "[::1]:x"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_authority(bad));
    }
}
