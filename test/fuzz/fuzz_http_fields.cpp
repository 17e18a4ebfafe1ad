// The small readers behind the head of a request: escapes, paths of files, authorities, addresses, origins, lists, keys.
// Input: a text that every one of them gets.

#include <kephas/proto/http/authority.hpp>
#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/ip_address.hpp>
#include <kephas/proto/http/origin.hpp>
#include <kephas/proto/http/peer_list.hpp>
#include <kephas/proto/http/percent.hpp>
#include <kephas/proto/http/response.hpp>
#include <kephas/proto/http/static_path.hpp>
#include <kephas/proto/http/upgrade.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check_escapes(std::string_view text) {
    const auto decoded = http::percent_decode(text);
    require(http::form_decode(text).size() <= text.size());
    if (!decoded) return;
    require(decoded->size() <= text.size());
    if (text.find('%') == std::string_view::npos) require(*decoded == text);
    std::string encoded;  // decoded once and never twice
    for (const char c : *decoded) {
        static constexpr std::string_view digits = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        encoded += '%';
        encoded += digits[byte >> 4U];
        encoded += digits[byte & 0xFU];
    }
    require(http::percent_decode(encoded) == *decoded);
}

// A file that is served lies below the root, whatever the target says.
void check_path(std::string_view text) {
    for (const std::string& target : {std::string{text}, "/" + std::string{text}}) {
        const auto path = http::static_path(target);
        if (!path) continue;
        require(!path->empty() && path->front() != '/' && path->front() != '.');
        require(path->find("/.") == std::string::npos && path->find("//") == std::string::npos);
        require(path->back() != '/');
        for (const char c : *path) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F && c != '\\');
        require(!http::content_type(*path).empty());
    }
}

void check_authority(std::string_view text) {
    const auto parsed = http::parse_authority(text);
    if (!parsed) return;
    require(!parsed->host.empty() && parsed->host == http::to_lower(parsed->host));
    for (const char c : parsed->host) require(c > 0x20 && c < 0x7F && c != '@' && c != '/' && c != ',');
    const std::string again = parsed->host + (parsed->port ? ":" + std::to_string(*parsed->port) : "");
    require(http::parse_authority(again) == parsed);
}

// An address has one form, and nobody but a trusted proxy can make one of its own up.
void check_addresses(std::string_view text) {
    if (const auto address = http::ip_address::parse(text)) {
        const std::string written = address->to_string();
        require(http::ip_address::parse(written) == address);
        require(http::ip_address::parse(written)->to_string() == written);
    }
    const std::string whole{text};
    const auto list = http::peer_list::parse({&whole, 1});
    if (!list) require(list.error() == whole);
    const std::string networks[] = {"10.0.0.0/8", "2001:db8::/32"};
    const auto trusted = http::peer_list::parse(networks);
    require(trusted.has_value());
    (void)http::forwarded_for(text, *trusted);
    const auto client = http::ip_address::parse("192.0.2.1");
    require(http::forwarded_for(whole + ", 192.0.2.1", *trusted) == client);
    require(http::forwarded_for(whole + ", 192.0.2.1, 10.1.2.3", *trusted) == client);
}

void check_headers(std::string_view text) {
    const std::size_t half = text.size() / 2;
    http::request request;
    request.method = "GET";
    request.version = "HTTP/1.1";
    request.target = request.path = "/ws";
    request.headers = {{"Host", "a.example"},
                       {"Upgrade", "websocket"},
                       {"Connection", std::string{text.substr(0, half)}},
                       {"Connection", std::string{text.substr(half)}},
                       {"Origin", std::string{text}},
                       {"Sec-WebSocket-Version", "13"},
                       {"Sec-WebSocket-Protocol", std::string{text}},
                       {"Sec-WebSocket-Key", std::string{text}}};
    for (const std::string_view element : http::list_elements(request.headers, "connection")) {
        require(!element.empty() && element == http::trim(element) && element.find(',') == std::string_view::npos);
        require(http::list_contains(request.headers, "connection", element));
    }
    if (const auto offered = http::offered_subprotocols(request)) {
        for (const std::string& name : *offered) require(http::is_token(name));
        const auto chosen = http::select_subprotocol(*offered, {{"chat", "v2"}});
        require(chosen.empty() || chosen == "chat" || chosen == "v2");
    }
    if (const auto upgrade = http::check_upgrade(request)) {
        require(http::is_handshake_key(text) && upgrade->accept == http::accept_key(text));
    }
    if (same_origin().allows(request)) {
        require(text.find("a.example") != std::string_view::npos || http::to_lower(text).find("a.example") != std::string::npos);
    }
    if (allow_origins({"https://*.example.com", "null"}).allows(request)) {
        require(text == "null" || http::to_lower(text).find(".example.com") != std::string::npos);
    }
    // nothing breaks out of a header
    http::response response = http::text_response(http::status_code::ok, "body");
    response.headers.push_back({std::string{text.substr(0, half)}, std::string{text.substr(half)}});
    const std::string head = http::serialize_head(response);
    require(head.ends_with("\r\n\r\n") && head.find("\r\n\r\n") == head.size() - 4);
    for (std::size_t at = 0; at < head.size(); ++at) {
        if (head[at] == '\r') require(head[at + 1] == '\n');
        else require(static_cast<unsigned char>(head[at]) >= 0x20 || head[at] == '\n' || head[at] == '\t');
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    check_escapes(text);
    check_path(text);
    check_authority(text);
    check_addresses(text);
    check_headers(text);
    return 0;
}
