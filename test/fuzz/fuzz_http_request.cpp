// The head of a request, as a server reads it: cut as the input says, it must be read exactly as in one piece.
#include <kephas/proto/http/client_upgrade.hpp>
#include <kephas/proto/http/origin.hpp>
#include <kephas/proto/http/request_parser.hpp>
#include <kephas/proto/http/static_path.hpp>
#include <kephas/proto/http/upgrade.hpp>

#include <algorithm>
#include <cstddef>
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

/// Feeds `text` in pieces of up to `largest` bytes whose sizes depend on its content; the number of bytes taken.
template <class Parser>
std::size_t feed_cut(Parser& parser, bytes_view text, std::size_t largest) {
    std::size_t taken = 0;
    while (!text.empty() && !parser.complete() && !parser.failure()) {
        const std::size_t wanted = 1 + std::to_integer<std::size_t>(text.front()) % largest;
        const std::size_t size = std::min(wanted, text.size());
        taken += parser.handle(text.first(size));
        text = text.subspan(size);
    }
    return taken;
}

template <class Parser>
void check_cuts(const Parser& whole, std::size_t taken, bytes_view text, std::size_t largest) {
    Parser cut;
    const std::size_t taken_cut = feed_cut(cut, text, largest);
    require(whole.complete() == cut.complete());
    require(whole.failure() == cut.failure());
    require(!whole.complete() || !whole.failure());
    if (whole.complete()) require(taken == taken_cut && taken <= text.size());
}

void check_request(const http::request& request) {
    require(request.version == "HTTP/1.1" && request.target.starts_with('/') && request.header("Host"));
    require(!request.header("Transfer-Encoding"));
    (void)request.query("token");
    (void)same_origin().allows(request);
    (void)allow_origins({"https://*.example.com"}).allows(request);
    if (const auto path = http::static_path(request.target)) {
        require(!path->starts_with('/') && !path->starts_with('.') && path->find("/.") == std::string::npos);
        require(path->find('\0') == std::string::npos && path->find('\\') == std::string::npos);
    }
    if (const auto outcome = http::check_upgrade(request); !outcome) {
        require(!http::serialize(outcome.error()).empty());
    } else {
        require(outcome->accept.size() == 28);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// The first byte says how large the pieces are.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t largest = 1 + data[0];
    const bytes_view text = std::as_bytes(std::span{data + 1, size - 1});

    http::request_parser parser;
    const std::size_t taken = parser.handle(text);
    check_cuts(parser, taken, text, largest);
    if (parser.complete()) {
        http::request_parser again;
        feed_cut(again, text, largest);
        require(parser.request() == again.request());
        check_request(parser.request());
    }

    http::response_parser response;
    const std::size_t response_taken = response.handle(text);
    check_cuts(response, response_taken, text, largest);
    if (response.complete()) (void)http::check_upgrade_response(response.response(), {.host = "a", .key = "k"});
    return 0;
}
