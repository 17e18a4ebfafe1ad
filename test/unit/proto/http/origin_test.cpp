#include <kephas/proto/http/origin.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

using namespace kephas;

namespace {

http::request from(const char* origin, const char* host = "example.com") {
    http::request r;
    if (host) r.headers.push_back({"Host", host});
    if (origin) r.headers.push_back({"origin", origin});
    return r;
}

}  // namespace

TEST_CASE("a request without an origin does not come from a page") {
    CHECK(origin_policy{}.allows(from(nullptr)));
    CHECK(same_host().allows(from(nullptr)));
    CHECK(allow_origins({}).allows(from(nullptr)));
    CHECK(any_origin().allows(from(nullptr)));
}

TEST_CASE("over TLS the same origin is one that came over TLS, on port 443 unless it is written") {
    const auto over_tls = [](const char* origin, const char* host = "example.com") {
        http::request r = from(origin, host);
        r.tls.emplace();
        return r;
    };
    const origin_policy policy = same_origin();
    CHECK(policy.allows(over_tls("https://example.com")));
    CHECK(policy.allows(over_tls("https://example.com:443")));
    CHECK(policy.allows(over_tls("https://example.com", "example.com:443")));
    CHECK(policy.allows(over_tls("https://example.com:8443", "example.com:8443")));
    CHECK_FALSE(policy.allows(over_tls("http://example.com")));
    CHECK_FALSE(policy.allows(over_tls("http://example.com:443")));
    CHECK_FALSE(policy.allows(over_tls("http://example.com:8443", "example.com:8443")));
    CHECK_FALSE(policy.allows(over_tls("https://example.com:80")));
    CHECK(policy.allows(from("https://example.com")));  // a proxy may have ended TLS
    CHECK(same_host().allows(over_tls("http://example.com:3000")));
}

TEST_CASE("the same origin has the same host and port") {
    const origin_policy policy = same_origin();
    CHECK(policy.allows(from("http://example.com")));
    CHECK(policy.allows(from("https://EXAMPLE.com")));
    CHECK(policy.allows(from("http://example.com", "example.com:80")));
    CHECK(policy.allows(from("http://example.com:80", "example.com")));
    CHECK(policy.allows(from("https://example.com", "example.com:443")));
    CHECK(policy.allows(from("http://example.com:8080", "Example.com:8080")));
    CHECK(policy.allows(from("http://[::1]:8080", "[::1]:8080")));
    CHECK(policy.allows(from("http://[2001:DB8::1]", "[2001:db8::1]:80")));

    CHECK_FALSE(policy.allows(from("http://example.com", "example.com:8080")));
    CHECK_FALSE(policy.allows(from("https://example.com", "example.com:80")));
    CHECK_FALSE(policy.allows(from("http://example.com:3000", "example.com:8080")));
    CHECK_FALSE(policy.allows(from("http://evil.com")));
    CHECK_FALSE(policy.allows(from("http://example.com.evil.com")));
    CHECK_FALSE(policy.allows(from("http://evil-example.com")));
    CHECK_FALSE(policy.allows(from("http://sub.example.com")));
    CHECK_FALSE(policy.allows(from("http://[::2]:8080", "[::1]:8080")));
    CHECK_FALSE(policy.allows(from("http://example.com", nullptr)));
}

TEST_CASE("what is no origin of a web page is not the same origin") {
    for (const origin_policy& policy : {same_origin(), same_host()}) {
        for (const char* origin : {"", "null", "example.com", "http://", "http:example.com", "http://example.com/",
                                   "http://example.com/path", "http://user@example.com", "http://evil.com@example.com",
                                   "http://example.com http://evil.com", "http://example.com:port", "://example.com",
                                   "chrome-extension://example.com", "file://", "1http://example.com",
                                   "http://example.com#", "http://example.com?x"}) {
            CAPTURE(origin);
            CHECK_FALSE(policy.allows(from(origin)));
        }
    }
}

TEST_CASE("the same host may have another port") {
    const origin_policy policy = same_host();
    CHECK(policy.allows(from("http://localhost:3000", "localhost:8080")));
    CHECK(policy.allows(from("http://[::1]:3000", "[::1]")));
    CHECK_FALSE(policy.allows(from("http://127.0.0.1:3000", "localhost:8080")));
    CHECK_FALSE(policy.allows(from("http://evil.com:8080", "localhost:8080")));
}

TEST_CASE("listed origins are compared in all three parts") {
    const origin_policy policy = allow_origins({"https://YourDomain.com", "http://localhost:3000", "app://bundle"});
    CHECK(policy.allows(from("https://yourdomain.com")));
    CHECK(policy.allows(from("https://yourdomain.com:443")));
    CHECK(policy.allows(from("HTTPS://YOURDOMAIN.COM")));
    CHECK(policy.allows(from("http://localhost:3000")));
    CHECK(policy.allows(from("app://bundle")));
    CHECK_FALSE(policy.allows(from("http://yourdomain.com")));
    CHECK_FALSE(policy.allows(from("https://yourdomain.com:8443")));
    CHECK_FALSE(policy.allows(from("https://www.yourdomain.com")));
    CHECK_FALSE(policy.allows(from("http://localhost")));
    CHECK_FALSE(policy.allows(from("http://example.com")));  // the same origin is not listed
    CHECK_FALSE(policy.allows(from("null")));
    CHECK_FALSE(policy.allows(from("")));
}

TEST_CASE("a star stands for every subdomain and not for the domain") {
    const origin_policy policy = allow_origins({"https://*.example.com", "http://*.test.local:8080"});
    CHECK(policy.allows(from("https://app.example.com")));
    CHECK(policy.allows(from("https://a.b.example.com")));
    CHECK(policy.allows(from("http://x.test.local:8080")));
    CHECK_FALSE(policy.allows(from("https://example.com")));
    CHECK_FALSE(policy.allows(from("https://.example.com")));
    CHECK_FALSE(policy.allows(from("https://evilexample.com")));
    CHECK_FALSE(policy.allows(from("https://app.example.com.evil.com")));
    CHECK_FALSE(policy.allows(from("http://app.example.com")));
    CHECK_FALSE(policy.allows(from("https://app.example.com:8443")));
    CHECK_FALSE(policy.allows(from("https://*.example.com")));
}

TEST_CASE("the opaque origin must be listed") {
    CHECK(allow_origins({"null"}).allows(from("null")));
    CHECK_FALSE(allow_origins({"null"}).allows(from("http://null")));
    CHECK(any_origin().allows(from("null")));
}

TEST_CASE("an entry that could never match is an error of the program") {
    for (const char* bad : {"example.com", "*", "https://*", "https://*.", "https://", "https://example.com/",
                            "https://*.*.com", "", "https://a:b"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS((void)allow_origins({bad}), std::invalid_argument);
    }
    CHECK_THROWS_AS((void)allow_origin_if(nullptr), std::invalid_argument);
}

TEST_CASE("any origin says that it is any") {
    CHECK(any_origin().is_any());
    CHECK(any_origin().allows(from("http://evil.com")));
    CHECK(any_origin().allows(from("")));
    CHECK_FALSE(same_origin().is_any());
    CHECK_FALSE(allow_origins({"https://a"}).is_any());
}

TEST_CASE("a function of the user decides alone, about requests without an origin too") {
    const origin_policy policy =
        allow_origin_if([](const http::request& r) { return r.header("Origin") == "http://friend.com"; });
    CHECK(policy.allows(from("http://friend.com")));
    CHECK_FALSE(policy.allows(from("http://example.com")));
    CHECK_FALSE(policy.allows(from(nullptr)));
    CHECK_FALSE(policy.is_any());
}
