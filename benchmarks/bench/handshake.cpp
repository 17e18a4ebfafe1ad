#include "handshake.hpp"

#include "channel.hpp"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace bench {

namespace {

constexpr std::size_t max_answer = 16 * 1024;

std::string base64(std::span<const unsigned char> bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // and the zero that is written behind it
    text.resize(static_cast<std::size_t>(
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(), static_cast<int>(bytes.size()))));
    return text;
}

/// A number that has little to do with `number` (splitmix64).
std::uint64_t scattered(std::uint64_t number) noexcept {
    number += 0x9E3779B97F4A7C15U;
    number = (number ^ number >> 30U) * 0xBF58476D1CE4E5B9U;
    number = (number ^ number >> 27U) * 0x94D049BB133111EBU;
    return number ^ number >> 31U;
}

/// The value of a header field, or nothing.
std::string_view field(std::string_view head, std::string_view name) {
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
        at += 2;
        const std::string_view line = head.substr(at, head.find("\r\n", at) - at);
        if (line.size() <= name.size() || line[name.size()] != ':') continue;
        if (strncasecmp(line.data(), name.data(), name.size()) != 0) continue;
        const std::string_view value = line.substr(name.size() + 1);
        const std::size_t first = std::min(value.find_first_not_of(" \t"), value.size());
        return value.substr(first, value.find_last_not_of(" \t") + 1 - first);
    }
    return {};
}

}  // namespace

handshake_key make_handshake_key(std::uint64_t number) {
    std::array<unsigned char, 16> nonce;
    for (std::size_t half = 0; half < 2; ++half) {
        const std::uint64_t bits = scattered(2 * number + half);
        std::memcpy(nonce.data() + 8 * half, &bits, sizeof bits);
    }
    handshake_key result{base64(nonce), {}};
    const std::string salted = result.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
    SHA1(reinterpret_cast<const unsigned char*>(salted.data()), salted.size(), digest.data());
    result.accept = base64(digest);
    return result;
}

std::string plain_request(const url& server, const handshake_key& key) {
    return "GET " + server.target + " HTTP/1.1\r\nHost: " + server.authority +
           "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
           key.key + "\r\n\r\n";
}

std::string browser_request(const url& server, const handshake_key& key) {
    return "GET " + server.target + " HTTP/1.1\r\nHost: " + server.authority +
           "\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; "
           "Linux "
           "x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\nUpgrade: "
           "websocket\r\nOrigin: " +
           (server.tls ? "https://" : "http://") + server.authority +
           "\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: "
           "en-US,en;q=0.9\r\nSec-WebSocket-Key: " +
           key.key + "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
}

bool check_answer(std::string_view answer, const handshake_key& key) {
    const std::size_t blank = answer.find("\r\n\r\n");
    if (blank == std::string_view::npos) {
        if (answer.size() > max_answer) throw server_fault{"no answer to the handshake"};
        return false;
    }
    if (!answer.starts_with("HTTP/1.1 101 "))
        throw server_fault{"refused: " + std::string{answer.substr(0, answer.find('\r'))}};
    const std::string_view head = answer.substr(0, blank + 2);
    if (field(head, "Sec-WebSocket-Accept") != key.accept) throw server_fault{"wrong Sec-WebSocket-Accept"};
    if (const std::string_view agreed = field(head, "Sec-WebSocket-Extensions"); !agreed.empty())
        throw server_fault{"agrees on " + std::string{agreed} + ": to be measured, it has to do without"};
    if (answer.size() > blank + 4) throw server_fault{"sends a message before it was spoken to: no echo server"};
    return true;
}

}  // namespace bench
