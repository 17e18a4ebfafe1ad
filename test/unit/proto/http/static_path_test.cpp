#include <kephas/proto/http/static_path.hpp>

#include <doctest/doctest.h>

using namespace kephas::http;
using namespace std::string_view_literals;

TEST_CASE("a target names a file below the root") {
    CHECK(static_path("/") == "index.html");
    CHECK(static_path("/?v=1") == "index.html");
    CHECK(static_path("/docs/") == "docs/index.html");
    CHECK(static_path("/kephas-client.js") == "kephas-client.js");
    CHECK(static_path("/a%20b/c.js?v=../..") == "a b/c.js");
    CHECK(static_path("/a+b") == "a+b");
    CHECK(static_path("/a..b/c.") == "a..b/c.");
    CHECK(static_path("/%C3%A9") == "\xC3\xA9");
    CHECK(static_path("/a%2Fb") == "a/b");
}

TEST_CASE("escapes are decoded once: what remains is a name like any other") {
    CHECK(static_path("/%252e%252e/etc/passwd") == "%2e%2e/etc/passwd");
    CHECK(static_path("/%c0%ae%c0%ae/x") == "\xC0\xAE\xC0\xAE/x");  // no overlong dot is understood
}

TEST_CASE("no target leads out of the root or to hidden files") {
    for (const auto target : {""sv,
                              "index.html"sv,
                              "../x"sv,
                              "/.."sv,
                              "/../"sv,
                              "/../etc/passwd"sv,
                              "/a/../../x"sv,
                              "/a/.."sv,
                              "/a/../b"sv,
                              "/./a"sv,
                              "/."sv,
                              "/%2e%2e/etc/passwd"sv,
                              "/%2E%2e%2fetc/passwd"sv,
                              "/.%2e/x"sv,
                              "/a/%2e./x"sv,
                              "/..%2fx"sv,
                              "/..%5cx"sv,
                              "/a%5c..%5cx"sv,
                              "/a\\b"sv,
                              "//etc/passwd"sv,
                              "/%2fetc/passwd"sv,
                              "/a//b"sv,
                              "/a/%2f"sv,
                              "//"sv,
                              "/.git/config"sv,
                              "/a/.env"sv,
                              "/%2eenv"sv,
                              "/.well-known/x"sv,
                              "/..."sv,
                              "/a%00.html"sv,
                              "/a\0"sv,
                              "/a%0ab"sv,
                              "/a%7f"sv,
                              "/%"sv,
                              "/%2"sv,
                              "/%zz"sv,
                              "http://a/b"sv,
                              "*"sv,
                              "?/a"sv}) {
        CAPTURE(target);
        CHECK_FALSE(static_path(target));
    }
}

TEST_CASE("the extension tells the media type") {
    CHECK(content_type("index.html") == "text/html; charset=utf-8");
    CHECK(content_type("a/app.JS") == "text/javascript; charset=utf-8");
    CHECK(content_type("app.mjs") == "text/javascript; charset=utf-8");
    CHECK(content_type("a.min.css") == "text/css; charset=utf-8");
    CHECK(content_type("kephas-client.d.ts") == "text/plain; charset=utf-8");
    CHECK(content_type("a.json") == "application/json");
    CHECK(content_type("a.svg") == "image/svg+xml");
    CHECK(content_type("a.png") == "image/png");
    CHECK(content_type("a.jpg") == "image/jpeg");
    CHECK(content_type("a.gif") == "image/gif");
    CHECK(content_type("favicon.ico") == "image/x-icon");
    CHECK(content_type("a.txt") == "text/plain; charset=utf-8");
    CHECK(content_type("a.wasm") == "application/wasm");
    CHECK(content_type("a.webp") == "image/webp");
    CHECK(content_type("a.woff2") == "font/woff2");
    for (const char* unknown : {"", "html", "a.b/html", "a.html/b", "a.", "a.xyz"}) {
        CHECK(content_type(unknown) == "application/octet-stream");
    }
}
