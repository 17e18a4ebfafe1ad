#include <kephas/proto/http/client_upgrade.hpp>
#include <kephas/proto/http/upgrade.hpp>

#include <websocketpp/base64/base64.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace kephas::http {

namespace {

/// Nothing in a target may end the request line (RFC 9112 3.2).
std::string safe_target(std::string_view target) {
    static constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out = target.starts_with('/') ? "" : "/";
    for (const char c : target.substr(0, target.find('#'))) {
        if (c > 0x20 && c < 0x7F) {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out.push_back('%');
            out.push_back(digits[byte >> 4U]);
            out.push_back(digits[byte & 0xFU]);
        }
    }
    return out;
}

/// "HTTP/1.1 101 Switching Protocols"; the reason may be empty (RFC 9112 4).
std::optional<response_head> parse_status_line(std::string_view line) {
    const auto digit = [line](std::size_t at) { return line[at] >= '0' && line[at] <= '9'; };
    if (line.size() < 12 || !line.starts_with("HTTP/1.") || !digit(7) || line[8] != ' ') return std::nullopt;
    if (!digit(9) || !digit(10) || !digit(11) || line[9] == '0') return std::nullopt;
    if (line.size() > 12 && line[12] != ' ') return std::nullopt;
    const int code = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    return response_head{
        static_cast<status_code>(code), std::string{line.substr(std::min<std::size_t>(line.size(), 13))}, {}};
}

constexpr refusal broken(std::string_view reason) noexcept { return {status_code::switching_protocols, reason}; }

}  // namespace

std::string handshake_key(std::span<const std::byte, 16> random) {
    return websocketpp::base64_encode(reinterpret_cast<const unsigned char*>(random.data()), random.size());
}

std::string client_upgrade_request(const upgrade_offer& offer) {
    std::string out = "GET " + safe_target(offer.target) + " HTTP/1.1\r\n";
    append_header(out, "Host", offer.host);
    out += "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    append_header(out, "Sec-WebSocket-Key", offer.key);
    append_header(out, "Sec-WebSocket-Version", "13");
    if (!offer.origin.empty()) append_header(out, "Origin", offer.origin);
    std::string subprotocols;
    for (const std::string& name : offer.subprotocols) {
        if (!subprotocols.empty()) subprotocols += ", ";
        subprotocols += name;
    }
    if (!subprotocols.empty()) append_header(out, "Sec-WebSocket-Protocol", subprotocols);
    if (!offer.extensions.empty()) append_header(out, "Sec-WebSocket-Extensions", offer.extensions);
    for (const header& h : offer.headers) append_header(out, h.name, h.value);
    out += "\r\n";
    return out;
}

std::size_t response_parser::handle(bytes_view in) {
    if (complete() || failure_) return 0;
    const std::size_t taken = head_.handle(in);
    failure_ = head_.failure();
    if (!head_.complete()) return taken;
    response_ = parse_status_line(head_.start_line());
    if (!response_) {
        failure_ = refusal{status_code::bad_request, "invalid status line"};
        return 0;
    }
    response_->headers.assign(head_.headers().begin(), head_.headers().end());
    head_ = head_collector{};  // its memory is no longer needed
    return taken;
}

result<upgrade_answer, refusal> check_upgrade_response(const response_head& response, const upgrade_offer& offer) {
    const std::span<const header> headers = response.headers;
    if (response.status != status_code::switching_protocols) {
        return refusal{response.status, "the server did not agree to the upgrade"};
    }
    const auto upgrade = find_header(headers, "Upgrade");
    if (!upgrade || !equal_ignoring_case(*upgrade, "websocket")) return broken("the upgrade is not to WebSocket");
    if (!list_contains(headers, "Connection", "upgrade"))
        return broken("the Connection header does not name the upgrade");
    if (count_headers(headers, "Sec-WebSocket-Accept") != 1 ||
        find_header(headers, "Sec-WebSocket-Accept") != accept_key(offer.key)) {
        return broken("Sec-WebSocket-Accept does not belong to the key");
    }
    upgrade_answer answer;
    if (const auto chosen = find_header(headers, "Sec-WebSocket-Protocol")) {
        const bool offered = std::ranges::find(offer.subprotocols, *chosen) != offer.subprotocols.end();
        if (!offered || count_headers(headers, "Sec-WebSocket-Protocol") != 1) {
            return broken("the subprotocol was not offered");
        }
        answer.subprotocol = *chosen;
    }
    for (const std::string_view extension : list_elements(headers, "Sec-WebSocket-Extensions")) {
        if (!answer.extensions.empty()) answer.extensions += ", ";
        answer.extensions += extension;
    }
    if (!answer.extensions.empty() && offer.extensions.empty()) return broken("an extension that was not offered");
    return answer;
}

}  // namespace kephas::http
