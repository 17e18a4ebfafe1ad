#include <kephas/net/address.hpp>

#include <doctest/doctest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <utility>

using namespace kephas;

namespace {

/// Why it is refused; empty if it is not.
std::string refusal(std::string_view text) {
    try {
        (void)address::parse(text);
        return {};
    } catch (const error& failure) {
        CHECK(failure.code() == errc::invalid_address);
        return failure.what();
    }
}

}  // namespace

TEST_CASE("an address says what kind of socket it is, and where") {
    const address local = address::parse("tcp://127.0.0.1:8080");
    CHECK(local.kind == network::tcp);
    CHECK_FALSE(local.tls);
    CHECK(local.host == "127.0.0.1");
    CHECK(local.port == 8080);

    const address everywhere = address::parse("tls://:0");
    CHECK(everywhere.kind == network::tcp);
    CHECK(everywhere.tls);
    CHECK(everywhere.host.empty());
    CHECK(everywhere.port == 0);

    const address v6 = address::parse("tls6://[::1]:443");
    CHECK(v6.kind == network::tcp6);
    CHECK(v6.tls);
    CHECK(v6.host == "::1");

    const address name = address::parse("udp4://metrics.example:8125");
    CHECK(name.kind == network::udp4);
    CHECK(name.host == "metrics.example");
    CHECK(name.port == 8125);

    const address file = address::parse("unix:///run/app.sock");
    CHECK(file.kind == network::unix_stream);
    CHECK(file.path == "/run/app.sock");
    CHECK(address::parse("unixgram://@log").kind == network::unix_datagram);
    CHECK(address::parse("unixgram://@log").path == "@log");
    CHECK(address::parse("unix://relative.sock").path == "relative.sock");
}

TEST_CASE("without a scheme the network is given beside it") {
    CHECK(address::parse(network::tcp, ":8080") == address::parse("tcp://:8080"));
    CHECK(address::parse(network::udp6, "[fe80::1]:53") == address::parse("udp6://[fe80::1]:53"));
    CHECK(address::parse(network::unix_stream, "/tmp/a b.sock").path == "/tmp/a b.sock");
}

TEST_CASE("an address becomes the text again that it was") {
    for (const std::string_view text : {"tcp://:80", "tcp4://0.0.0.0:1", "tcp6://[::]:65535", "tls://example.org:443", "tls4://a:1",
                                        "udp://[::1]:53", "unix:///run/a.sock", "unix://@abstract", "unixgram:///run/log"}) {
        CHECK(to_string(address::parse(text)) == text);
    }
    for (const std::string_view text : {"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram"}) {
        REQUIRE(parse_network(text));
        CHECK(to_string(*parse_network(text)) == text);
    }
    CHECK_FALSE(parse_network("TCP"));
    CHECK_FALSE(parse_network(""));
}

TEST_CASE("a text that is no address is refused, with the reason") {
    using namespace std::string_literals;
    const std::pair<std::string, std::string> wrong[] = {
        {"", "expected SCHEME://ADDRESS"},
        {"127.0.0.1:80", "expected SCHEME://ADDRESS"},
        {"http://127.0.0.1:80", "the scheme is not"},
        {"tlsx://127.0.0.1:80", "the scheme is not"},
        {"tls_udp://127.0.0.1:80", "the scheme is not"},
        {"tcp://127.0.0.1", "the port is missing"},
        {"tcp://", "the port is missing"},
        {"tcp://:", "the port is missing"},
        {"tcp://[::1]", "the port is missing"},
        {"tcp://[::1]80", "the port is missing"},
        {"tcp://[::1:80", "the bracket is not closed"},
        {"tcp://[localhost]:80", "only an IPv6 address stands in brackets"},
        {"tcp://::1:80", "an IPv6 address stands in brackets"},
        {"tcp://a:65536", "the port is not 0 to 65535"},
        {"tcp://a:-1", "the port is not 0 to 65535"},
        {"tcp://a:80 ", "the port is not 0 to 65535"},
        {"tcp://a:8080/path", "the port is not 0 to 65535"},
        {"tcp://a b:80", "a character that no host has"},
        {"tcp://user@host:80", "a character that no host has"},
        {"tcp://a\0b:80"s, "a character that no host has"},
        {"tcp://" + std::string(254, 'a') + ":80", "more than 253 bytes"},
        {"unix://", "the path of the Unix socket is missing"},
        {"unix://@", "the path of the Unix socket is missing"},
        {"unix:///" + std::string(107, 'a'), "at most 107 bytes"},
        {"unix:///run/a\0b"s, "no NUL"},
    };
    for (const auto& [text, why] : wrong) {
        CAPTURE(text);
        CHECK(refusal(text).find(why) != std::string::npos);
    }
    CHECK(refusal("unix:///" + std::string(106, 'a')).empty());
    CHECK(refusal("tcp://" + std::string(253, 'a') + ":80").empty());
}
