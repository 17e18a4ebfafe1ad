#include <kephas/proto/websocket/deflate_negotiation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace kephas;

namespace {

constexpr const char* p = "permessage-deflate";

std::vector<http::extension> list(const std::string& value) {
    const std::vector<http::header> headers{{"Sec-WebSocket-Extensions", value}};
    return http::parse_extensions(headers).value();
}

// The server's response without the name of the extension; "declined" if there is none.
std::string answer(const std::string& offer, deflate_options options) {
    options.enabled = true;
    const auto agreed = websocket::accept_deflate(list(offer), options);
    if (!agreed) return "declined";
    CHECK(agreed->response.starts_with(p));
    return agreed->response.substr(std::string{p}.size());
}

constexpr deflate_options willing{.server_context_takeover = true, .client_context_takeover = true};

// What a client with `options` makes of a response.
std::string client_says(const std::string& response, deflate_options options = willing) {
    options.enabled = true;
    const auto checked = websocket::check_deflate_response(list(response), options);
    if (!checked) return std::string{checked.error()};
    if (!*checked) return "none";
    const auto& agreed = **checked;
    return std::string{agreed.server_no_context_takeover ? "s" : "S"} + std::to_string(agreed.server_max_window_bits) +
           (agreed.client_no_context_takeover ? " c" : " C") + std::to_string(agreed.client_max_window_bits);
}

}  // namespace

TEST_CASE("by default nothing is kept between messages, and nothing is offered that was not asked for") {
    CHECK(answer(p, {}) == "; server_no_context_takeover; client_no_context_takeover");
    CHECK(answer("permessage-deflate; client_max_window_bits", {}) ==
          "; server_no_context_takeover; client_no_context_takeover");
    CHECK(!websocket::accept_deflate(list(p), deflate_options{}));
    CHECK(answer("", {}) == "declined");
    CHECK(answer("x-webkit-deflate-frame, permessage-bzip2", {}) == "declined");
}

TEST_CASE("context takeover is kept on each side on which both want it") {  // RFC 7692 7.1.1
    CHECK(answer(p, willing) == "");
    CHECK(answer("permessage-deflate; server_no_context_takeover", willing) == "; server_no_context_takeover");
    CHECK(answer("permessage-deflate; client_no_context_takeover", willing) == "; client_no_context_takeover");
    CHECK(answer(p, {.server_context_takeover = true}) == "; client_no_context_takeover");
    CHECK(answer(p, {.client_context_takeover = true}) == "; server_no_context_takeover");
}

TEST_CASE("windows are as large as both allow, and the client is told one only if it can be") {  // RFC 7692 7.1.2
    for (int bits = 8; bits <= 15; ++bits) {
        CAPTURE(bits);
        const std::string value = std::to_string(bits);
        CHECK(answer("permessage-deflate; server_max_window_bits=" + value, willing) ==
              (bits == 15 ? "" : "; server_max_window_bits=" + value));
        CHECK(answer("permessage-deflate; client_max_window_bits=\"" + value + "\"", willing) ==
              (bits == 15 ? "" : "; client_max_window_bits=" + value));
        auto smaller = willing;
        smaller.client_max_window_bits = smaller.server_max_window_bits = 10;
        CHECK(answer("permessage-deflate; client_max_window_bits=" + value + "; server_max_window_bits=" + value,
                     smaller) == "; server_max_window_bits=" + std::to_string(std::min(bits, 10)) +
                                     "; client_max_window_bits=" + std::to_string(std::min(bits, 10)));
    }
    auto smaller = willing;
    smaller.client_max_window_bits = smaller.server_max_window_bits = 11;
    CHECK(answer("permessage-deflate; client_max_window_bits", smaller) ==
          "; server_max_window_bits=11; client_max_window_bits=11");
    // it cannot be told its window, so it keeps none
    CHECK(answer(p, smaller) == "; client_no_context_takeover; server_max_window_bits=11");
}

TEST_CASE("unknown, repeated or illegal parameters decline an alternative, and the next one is looked at") {
    for (const char* bad :
         {"unknown", "unknown=1", "Server_no_context_takeover", "server_no_context_takeover=1",
          "client_no_context_takeover=\"true\"", "server_no_context_takeover; server_no_context_takeover",
          "client_no_context_takeover; client_no_context_takeover", "server_max_window_bits",
          "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=010",
          "server_max_window_bits=09", "server_max_window_bits=265", "server_max_window_bits=10abc",
          "server_max_window_bits=-9", "server_max_window_bits=+9", "server_max_window_bits=10; server_max_window_bits=10",
          "client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=08",
          "client_max_window_bits; client_max_window_bits", "client_max_window_bits=9; client_max_window_bits"}) {
        CAPTURE(bad);
        const std::string offer = std::string{p} + "; " + bad;
        CHECK(answer(offer, willing) == "declined");
        CHECK(answer(offer + ", permessage-deflate; server_max_window_bits=9", willing) == "; server_max_window_bits=9");
        CHECK(answer("other; " + std::string{bad} + ", permessage-deflate", willing) == "");
    }
}

TEST_CASE("the client's order counts among alternatives") {
    CHECK(answer("permessage-deflate; server_max_window_bits=10, permessage-deflate", willing) ==
          "; server_max_window_bits=10");
    CHECK(answer("permessage-deflate, permessage-deflate; server_max_window_bits=10", willing) == "");
}

TEST_CASE("every offer gets an answer that a client with the same options takes") {
    for (unsigned bits = 0; bits < 16; ++bits) {
        for (int window : {8, 9, 12, 15}) {
            deflate_options client{.enabled = true,
                                   .server_context_takeover = (bits & 1U) != 0,
                                   .client_context_takeover = (bits & 2U) != 0,
                                   .server_max_window_bits = window,
                                   .client_max_window_bits = 23 - window};
            deflate_options server{.enabled = true,
                                   .server_context_takeover = (bits & 4U) != 0,
                                   .client_context_takeover = (bits & 8U) != 0};
            const auto agreed = websocket::accept_deflate(list(websocket::deflate_offer(client)), server);
            REQUIRE(agreed);
            const auto seen = websocket::check_deflate_response(list(agreed->response), client);
            REQUIRE(seen);
            CHECK(*seen == agreed->parameters);
        }
    }
}

TEST_CASE("a client offers what it wants") {
    CHECK(websocket::deflate_offer(willing) == "permessage-deflate; client_max_window_bits");
    CHECK(websocket::deflate_offer({.server_max_window_bits = 10, .client_max_window_bits = 9}) ==
          "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; "
          "client_max_window_bits=9");
}

TEST_CASE("a client takes what it offered, and nothing else") {
    CHECK(client_says("") == "none");
    CHECK(client_says(p) == "S15 C15");
    CHECK(client_says("permessage-deflate; server_no_context_takeover") == "s15 C15");
    CHECK(client_says("permessage-deflate; client_no_context_takeover") == "S15 c15");
    CHECK(client_says("permessage-deflate; server_max_window_bits=8; client_max_window_bits=\"9\"") == "S8 C9");
    deflate_options wishes{};
    wishes.server_max_window_bits = 10;
    wishes.client_max_window_bits = 10;
    CHECK(client_says("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", wishes) == "s9 c10");
    CHECK(client_says("permessage-deflate; server_max_window_bits=9", wishes) ==
          "server_no_context_takeover was not granted");
    CHECK(client_says("permessage-deflate; server_no_context_takeover", wishes) ==
          "server_max_window_bits was not granted");
    CHECK(client_says("permessage-deflate; server_no_context_takeover; server_max_window_bits=11", wishes) ==
          "server_max_window_bits was not granted");
    CHECK(client_says("permessage-deflate; server_no_context_takeover; server_max_window_bits=10; "
                      "client_max_window_bits=11",
                      wishes) == "client_max_window_bits is larger than offered");
    CHECK(client_says("permessage-deflate; client_max_window_bits") == "client_max_window_bits without a value");
    for (const char* bad : {"unknown", "server_max_window_bits", "server_max_window_bits=16", "client_max_window_bits=7",
                            "server_no_context_takeover=0", "server_no_context_takeover; server_no_context_takeover"}) {
        CAPTURE(bad);
        CHECK(client_says(std::string{p} + "; " + bad) == "illegal parameters of permessage-deflate");
    }
    CHECK(client_says("permessage-deflate, permessage-deflate") == "an extension that was not offered");
    CHECK(client_says("permessage-bzip2") == "an extension that was not offered");
}
