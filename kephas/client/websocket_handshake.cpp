#include <kephas/base/error.hpp>

#include <kephas/proto/http/client_upgrade.hpp>
#include <kephas/proto/http/extensions.hpp>

#include <kephas/net/error_codes.hpp>

#include <kephas/client/handshake_refused.hpp>
#include <kephas/client/websocket_handshake.hpp>
#include <kephas/client/websocket_wire.hpp>

#include <asio/error.hpp>

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <random>
#include <utility>

namespace kephas {

namespace {

[[noreturn]] void invalid(std::string_view why) { throw error{errc::invalid_handshake, std::string{why}}; }

std::uint64_t random_number() {
    static thread_local std::random_device source;  // of the system, not a generator that could be guessed
    return std::uint64_t{source()} << 32U | source();
}

http::upgrade_offer make_offer(const client_url& url, const command_client_options& options) {
    std::array<std::byte, 16> nonce;
    store_big_endian(nonce.data(), random_number());
    store_big_endian(nonce.data() + 8, random_number());
    http::upgrade_offer offer{.host = url.host,
                              .target = url.target,
                              .key = http::handshake_key(nonce),
                              .origin = options.origin,
                              .subprotocols = options.subprotocols,
                              .extensions = {},
                              .headers = options.headers};
    if (options.deflate.enabled) offer.extensions = websocket::deflate_offer(options.deflate);
    return offer;
}

asio::awaitable<void> write_all(event_stream& events, std::string text) {
    bytes_view rest = as_bytes(text);
    while (!rest.empty()) {
        const std::array<bytes_view, 1> parts{rest};
        std::error_code ec;
        const std::size_t size = events.write_some(parts, ec);
        rest = rest.subspan(size);
        if (ec && ec != asio::error::would_block) throw error{unified(ec)};
        if (ec) co_await events.wait(false, time_point::max());
    }
}

/// What came behind the head is returned.
asio::awaitable<slice> read_head(event_stream& events, http::response_parser& parser) {
    slice buffer = slice::allocate(16 * 1024);
    for (;;) {
        std::error_code ec;
        read_buffer into{buffer.bytes(), &slabs_of_threads(), {}};
        const std::size_t size = events.read_some(into, ec);
        if (ec == asio::error::would_block) {
            co_await events.wait(true, time_point::max());
            continue;
        }
        if (size == 0) {
            if (ec && ec != asio::error::eof && ec != errc::truncated) throw error{unified(ec)};
            throw error{errc::closed, "the server has ended the connection during the opening handshake"};
        }
        const std::size_t taken = parser.handle(buffer.view().first(size));
        if (parser.failure()) invalid(parser.failure()->reason);
        if (parser.complete()) co_return buffer.sub(taken, size - taken);
    }
}

std::optional<websocket::deflate_parameters> agreed_deflate(const http::response_head& response,
                                                            const command_client_options& options) {
    if (!options.deflate.enabled) return std::nullopt;
    const auto answered = http::parse_extensions(response.headers);
    if (!answered) invalid("the list of extensions is malformed");
    const auto agreed = websocket::check_deflate_response(*answered, options.deflate);
    if (!agreed) invalid(agreed.error());
    return agreed.value();
}

}  // namespace

std::optional<duration> parse_retry_after(std::string_view value) noexcept {
    std::uint32_t seconds = 0;
    const char* const end = value.data() + value.size();
    const auto [stopped, failure] = std::from_chars(value.data(), end, seconds);
    if (failure != std::errc{} || stopped != end) return std::nullopt;
    return std::chrono::seconds{seconds};
}

asio::awaitable<opened_websocket> open_websocket(event_stream& events, const client_url& url,
                                                 const command_client_options& options, const session_options& limits) {
    const http::upgrade_offer offer = make_offer(url, options);
    std::string request = http::client_upgrade_request(offer);
    auto writing = write_all(events, std::move(request));
    co_await std::move(writing);
    http::response_parser parser;
    slice early = co_await read_head(events, parser);
    const http::response_head& response = parser.response();
    const auto answer = http::check_upgrade_response(response, offer);
    if (!answer) {
        const int status = static_cast<int>(response.status);
        if (status == 101) invalid(answer.error().reason);
        const auto asked = http::find_header(response.headers, "Retry-After");
        throw handshake_refused{status, asked ? parse_retry_after(*asked) : std::nullopt,
                                fmt::format("the server answered the opening handshake with {}", status)};
    }
    const auto agreed = agreed_deflate(response, options);
    opened_websocket opened;
    opened.wire = std::make_unique<websocket_wire>(limits, clock::now(), random_number(), agreed,
                                                   options.deflate);
    opened.early = std::move(early);
    opened.subprotocol = answer.value().subprotocol;
    co_return opened;
}

}  // namespace kephas
