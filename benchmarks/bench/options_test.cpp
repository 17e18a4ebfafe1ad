#include "options.hpp"

#include <doctest/doctest.h>

#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using bench::options;

namespace {

struct parsed {
    std::optional<options> result;
    int exit_code = 0;
    std::string complaint;
};

parsed parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "kephas-bench");
    std::ostringstream complaint;
    std::streambuf* const before = std::cerr.rdbuf(complaint.rdbuf());
    std::streambuf* const before_out = std::cout.rdbuf(complaint.rdbuf());
    parsed p;
    p.result = bench::parse_options(static_cast<int>(arguments.size()), arguments.data(), p.exit_code);
    std::cerr.rdbuf(before);
    std::cout.rdbuf(before_out);
    p.complaint = complaint.str();
    return p;
}

}  // namespace

TEST_CASE("a URL is enough") {
    const auto p = parse({"ws://example.org/chat"});
    REQUIRE(p.result);
    CHECK(p.result->server.host == "example.org");
    CHECK(p.result->connections == 50);
    CHECK(p.result->depth == 1);
    CHECK_FALSE(p.result->rate);
    CHECK_FALSE(p.result->verify);
    CHECK(p.result->threads == 1);
}

TEST_CASE("every option of a measurement is taken over") {
    const auto p = parse({"wss://[::1]:8443/ws?x=1",
                          "--connections",
                          "100",
                          "--rate",
                          "20000",
                          "--size",
                          "64",
                          "--seconds",
                          "1.5",
                          "--warmup",
                          "0",
                          "--threads",
                          "2",
                          "--verify",
                          "--unordered",
                          "--pid",
                          "17",
                          "--json",
                          "--html",
                          "page.html",
                          "--command",
                          "0xFFFFFFFD",
                          "--insecure"});
    REQUIRE(p.result);
    const options& o = *p.result;
    CHECK(o.server.tls);
    CHECK(o.connections == 100);
    CHECK(o.rate == 20'000);
    CHECK(o.size == 64);
    CHECK(o.seconds == 1.5);
    CHECK(o.warmup == 0);
    CHECK(o.threads == 2);
    CHECK(o.verify);
    CHECK(o.unordered);
    CHECK(o.pid == 17);
    CHECK(o.json);
    CHECK(o.html == "page.html");
    CHECK(o.command == 0xFFFFFFFD);
    CHECK(o.insecure);
}

TEST_CASE("connections come and go on request") {
    const auto p =
        parse({"ws://[::1]:9000", "--reconnect", "--connections", "20", "--threads", "2", "--messages", "100"});
    REQUIRE(p.result);
    CHECK(p.result->reconnect);
    CHECK_FALSE(parse({"ws://[::1]:9000"}).result->reconnect);
}

TEST_CASE("calls are made on request") {
    const auto p =
        parse({"ws://h", "--call", "math.add", "--params", "[2,40]", "--expect", "42", "--verify", "--depth", "32"});
    REQUIRE_MESSAGE(p.result, p.complaint);
    CHECK(p.result->call == "math.add");
    CHECK(p.result->params == "[2,40]");
    CHECK(p.result->expect == "42");
    CHECK_FALSE(p.result->expect_echo);
    CHECK(parse({"ws://h", "--call", "x", "--rate", "10"}).result);
    CHECK(parse({"ws://h", "--call", "x", "--verify", "--expect-echo", "--unordered"}).result);
}

TEST_CASE("what makes no sense is refused, and the complaint names it") {
    const char* const url = "ws://localhost:9000";
    struct wrong {
        std::vector<const char*> arguments;
        const char* named;
    };
    const std::vector<wrong> all{
        {{}, "URL"},
        {{"localhost:9000"}, "ws:// or wss://"},
        {{url, "ws://second"}, "ws://second"},
        {{url, "--connections", "0"}, "--connections"},
        {{url, "--connections", "many"}, "--connections"},
        {{url, "--depth", "0"}, "--depth"},
        {{url, "--depth", "-1"}, "--depth"},
        {{url, "--rate", "0"}, "--rate"},
        {{url, "--rate", "fast"}, "--rate"},
        {{url, "--rate", "10", "--depth", "2"}, "--rate"},
        {{url, "--rate", "10", "--messages", "2"}, "--rate"},
        {{url, "--size", "-1"}, "--size"},
        {{url, "--size", "1e3"}, "--size"},
        {{url, "--size", "999999999999"}, "--size"},
        {{url, "--seconds", "0"}, "--seconds"},
        {{url, "--seconds", "nan"}, "--seconds"},
        {{url, "--warmup", "-1"}, "--warmup"},
        {{url, "--messages", "0"}, "--messages"},
        {{url, "--messages", "5", "--seconds", "1"}, "--seconds"},
        {{url, "--messages", "5", "--warmup", "1"}, "--warmup"},
        {{url, "--threads", "0"}, "--threads"},
        {{url, "--threads", "3", "--connections", "2"}, "--threads"},
        {{url, "--unordered"}, "--verify"},
        {{url, "--verify", "--unordered", "--size", "7"}, "--unordered"},
        {{url, "--pid", "0"}, "--pid"},
        {{url, "--idle"}, "--pid"},
        {{url, "--idle", "--pid", "1", "--html", "x"}, "--html"},
        {{url, "--command", "0x100000000"}, "--command"},
        {{url, "--command", "-1"}, "--command"},
        {{url, "--command", "0x"}, "--command"},
        {{url, "--command", "1", "--text"}, "--text"},
        {{url, "--broadcast", "--connections", "1"}, "--broadcast"},
        {{url, "--broadcast", "--rate", "5"}, "--broadcast"},
        {{url, "--broadcast", "--threads", "2"}, "--broadcast"},
        {{url, "--reconnect", "--depth", "2"}, "--reconnect"},
        {{url, "--reconnect", "--rate", "5"}, "--reconnect"},
        {{url, "--reconnect", "--broadcast"}, "--reconnect"},
        {{url, "--reconnect", "--verify", "--unordered"}, "--unordered"},
        {{url, "--reconnect", "--idle", "--pid", "1"}, "--idle"},
        {{"wss://localhost", "--reconnect"}, "--reconnect"},
        {{url, "--params", "[]"}, "--call"},
        {{url, "--expect", "1"}, "--call"},
        {{url, "--expect-echo"}, "--call"},
        {{url, "--call", "x", "--params", "1"}, "--params"},
        {{url, "--call", "x", "--params", "[1"}, "--params"},
        {{url, "--call", "x", "--expect", "[1"}, "--expect"},
        {{url, "--call", "x", "--expect", "1", "--expect-echo"}, "--expect"},
        {{url, "--call", "x", "--verify"}, "--verify"},
        {{url, "--call", "x", "--size", "10"}, "--size"},
        {{url, "--call", "x", "--text"}, "--text"},
        {{url, "--call", "x", "--command", "1"}, "--command"},
        {{url, "--call", "x", "--broadcast"}, "--broadcast"},
        {{url, "--call", "x", "--reconnect"}, "--reconnect"},
        {{url, "--colour"}, "--colour"},
    };
    for (const wrong& each : all) {
        std::string line;
        for (const char* argument : each.arguments) line += std::string{argument} + ' ';
        CAPTURE(line);
        const auto p = parse(each.arguments);
        CHECK_FALSE(p.result);
        CHECK(p.exit_code != 0);
        CHECK_MESSAGE(p.complaint.find(each.named) != std::string::npos, p.complaint);
    }
}

TEST_CASE("the help is no error") {
    const auto p = parse({"--help"});
    CHECK_FALSE(p.result);
    CHECK(p.exit_code == 0);
    for (const char* option : {"URL", "--connections", "--depth", "--size", "--seconds", "--warmup", "--rate",
                               "--threads", "--verify", "--pid", "--json", "--html"})
        CHECK(p.complaint.find(option) != std::string::npos);
}

TEST_CASE("a URL is taken apart as RFC 6455 says") {
    const auto plain = bench::parse_url("ws://localhost");
    CHECK_FALSE(plain.tls);
    CHECK(plain.host == "localhost");
    CHECK(plain.port == 80);
    CHECK(plain.target == "/");
    CHECK(plain.authority == "localhost");

    const auto secure = bench::parse_url("wss://[2001:db8::1]:9443/a/b?c=/d");
    CHECK(secure.tls);
    CHECK(secure.host == "2001:db8::1");
    CHECK(secure.port == 9443);
    CHECK(secure.target == "/a/b?c=/d");
    CHECK(secure.authority == "[2001:db8::1]:9443");

    CHECK(bench::parse_url("wss://x").port == 443);
    CHECK(bench::parse_url("ws://x?y").target == "/?y");
    for (const char* wrong :
         {"",         "x",         "http://x",        "ws:/x",        "WS//x",       "ws://",        "ws:///path",
          "ws://:80", "ws://x:",   "ws://x:0",        "ws://x:65536", "ws://x:8o",   "ws://x:80:80", "ws://u@x",
          "ws://x#f", "ws://x/ y", "ws://x/\xC3\xA4", "ws://[::1",    "ws://[::1]8", "ws://[]"}) {
        CAPTURE(wrong);
        CHECK_THROWS_AS(static_cast<void>(bench::parse_url(wrong)), std::invalid_argument);
    }
}
