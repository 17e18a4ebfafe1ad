// The client's side of the opening handshake: whatever an offer holds, its request is one that our own server reads, and
// whatever a server answers, only a right answer is accepted.
// Input: a byte of flags, the texts of an offer up to the first zero bytes, and what the server answers.

#include <kephas/proto/http/client_upgrade.hpp>
#include <kephas/proto/http/request_parser.hpp>
#include <kephas/proto/http/upgrade.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

std::string_view take_text(std::string_view& input) {
    const std::size_t end = std::min(input.find('\0'), input.size());
    const std::string_view text = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    return text;
}

// However hostile the texts are that an application puts into its offer, they stay in their places.
void check_request(const http::upgrade_offer& offer) {
    const std::string text = http::client_upgrade_request(offer);
    require(text.starts_with("GET /") && text.ends_with("\r\n\r\n"));
    require(text.find("\r\n\r\n") == text.size() - 4);
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\r') require(at + 1 < text.size() && text[at + 1] == '\n');
        if (text[at] == '\n') require(at > 0 && text[at - 1] == '\r');
    }
    http::request_parser server;
    (void)server.handle(as_bytes(text));
    require(server.complete() || server.failure().has_value());
    if (!server.complete()) return;  // a host that is none, a target that is too long: told, not sent differently
    const auto& request = server.request();
    require(request.method == "GET" && request.header("Host") && request.header("Upgrade") == "websocket");
}

void check_answer(bytes_view text, const http::upgrade_offer& offer, std::size_t largest) {
    http::response_parser whole;
    const std::size_t taken = whole.handle(text);
    http::response_parser cut;
    std::size_t taken_cut = 0;
    for (bytes_view rest = text; !rest.empty() && !cut.complete() && !cut.failure();) {
        const std::size_t size = std::min(largest, rest.size());
        taken_cut += cut.handle(rest.first(size));
        rest = rest.subspan(size);
    }
    require(whole.complete() == cut.complete() && whole.failure() == cut.failure());
    require(!whole.complete() || !whole.failure());
    if (!whole.complete()) return;
    require(taken == taken_cut && taken <= text.size() && whole.response() == cut.response());
    const auto code = static_cast<int>(whole.response().status);
    require(code >= 100 && code <= 999);
    const auto agreed = http::check_upgrade_response(whole.response(), offer);
    if (!agreed) return require(agreed.error().status == whole.response().status && !agreed.error().reason.empty());
    require(code == 101);
    require(http::find_header(whole.response().headers, "sec-websocket-accept") == http::accept_key(offer.key));
    require(agreed->subprotocol.empty() || std::ranges::count(offer.subprotocols, agreed->subprotocol) > 0);
    require(agreed->extensions.empty() || !offer.extensions.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const unsigned flags = data[0];
    std::string_view input{reinterpret_cast<const char*>(data) + 1, size - 1};

    std::array<std::byte, 16> random{};
    random.fill(static_cast<std::byte>(flags));
    http::upgrade_offer offer;
    offer.key = (flags & 1U) != 0 ? http::handshake_key(random) : "dGhlIHNhbXBsZSBub25jZQ==";
    require(http::is_handshake_key(offer.key));
    offer.host = take_text(input);
    offer.target = take_text(input);
    offer.subprotocols = {std::string{take_text(input)}, "chat"};
    if ((flags & 2U) != 0) offer.extensions = take_text(input);
    if ((flags & 4U) != 0) offer.headers.push_back({std::string{take_text(input)}, std::string{take_text(input)}});
    check_request(offer);

    check_answer(as_bytes(input), offer, 1 + (flags >> 3U));
    // the right answer, with whatever follows
    std::string answer = http::switching_protocols_response(http::accept_key(offer.key));
    const std::size_t head = answer.size();
    answer += input;
    http::response_parser parser;
    require(parser.handle(as_bytes(answer)) == head && parser.complete());
    require(http::check_upgrade_response(parser.response(), offer).has_value());
    return 0;
}
