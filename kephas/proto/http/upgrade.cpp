#include <kephas/proto/http/upgrade.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

// sha1.hpp does not include what it needs: after <cstddef> and <cstdint>
#include <websocketpp/base64/base64.hpp>
#include <websocketpp/sha1/sha1.hpp>

namespace kephas::http {

namespace {

constexpr std::string_view websocket_guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

response refuse(status_code status, std::string_view reason) { return refusal_response({status, reason}); }

/// RFC 6455 4.4: the refusal says what would be understood.
response upgrade_required(std::string_view reason) {
    response answer = refuse(status_code::upgrade_required, reason);
    answer.headers.push_back({"Upgrade", "websocket"});
    answer.headers.push_back({"Sec-WebSocket-Version", "13"});
    return answer;
}

}  // namespace

result<upgrade, response> check_upgrade(const request& request) {
    if (request.method != "GET") {
        response answer = refuse(status_code::method_not_allowed, "a WebSocket connection is opened by GET");
        answer.headers.push_back({"Allow", "GET"});
        return answer;
    }
    if (!list_contains(request.headers, "Upgrade", "websocket")) {
        return upgrade_required("this is a WebSocket endpoint");
    }
    if (!list_contains(request.headers, "Connection", "upgrade")) {
        return upgrade_required("the Connection header does not name the upgrade: a proxy may have removed it");
    }
    if (request.header("Sec-WebSocket-Version") != "13")
        return upgrade_required("only WebSocket version 13 is spoken here");
    if (request.content_length > 0) return refuse(status_code::bad_request, "an upgrade has no body");
    const auto key = request.header("Sec-WebSocket-Key");
    if (!key || !is_handshake_key(*key)) return refuse(status_code::bad_request, "invalid Sec-WebSocket-Key");
    auto subprotocols = offered_subprotocols(request);
    if (!subprotocols) return refuse(status_code::bad_request, "invalid Sec-WebSocket-Protocol");
    return upgrade{accept_key(*key), *std::move(subprotocols)};
}

std::string accept_key(std::string_view key) {
    std::string text{key};
    text += websocket_guid;
    std::array<unsigned char, 20> digest{};
    websocketpp::sha1::calc(text.data(), text.size(), digest.data());
    return websocketpp::base64_encode(digest.data(), digest.size());
}

bool is_handshake_key(std::string_view key) {
    if (key.size() != 24) return false;
    const std::string decoded = websocketpp::base64_decode(std::string{key});
    // the decoder forgives much: writing the bytes again shows whether this was the way to write them
    return decoded.size() == 16 && websocketpp::base64_encode(decoded) == key;
}

std::optional<std::vector<std::string>> offered_subprotocols(const request& request) {
    std::vector<std::string> offered;
    for (const std::string_view name : list_elements(request.headers, "Sec-WebSocket-Protocol")) {
        if (!is_token(name)) return std::nullopt;
        offered.emplace_back(name);
    }
    auto sorted = offered;  // a head has room for thousands of names: sorting bounds the work
    std::ranges::sort(sorted);
    if (std::ranges::adjacent_find(sorted) != sorted.end()) return std::nullopt;
    return offered;
}

std::string_view select_subprotocol(std::span<const std::string> offered, std::span<const std::string> supported) {
    const auto match = std::ranges::find_first_of(offered, supported);
    return match == offered.end() ? std::string_view{} : std::string_view{*match};
}

std::string switching_protocols_response(std::string_view accept, std::string_view subprotocol,
                                         std::string_view extensions, std::span<const header> headers) {
    std::string out = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    append_header(out, "Sec-WebSocket-Accept", accept);
    if (!subprotocol.empty()) append_header(out, "Sec-WebSocket-Protocol", subprotocol);
    if (!extensions.empty()) append_header(out, "Sec-WebSocket-Extensions", extensions);
    for (const header& h : headers) append_header(out, h.name, h.value);
    out += "\r\n";
    return out;
}

}  // namespace kephas::http
