#pragma once

// The part of RFC 6455 that the bare loops cannot do without, in place: the handshake, and frames that become their
// replies in the memory that they were read into.

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bare {

constexpr std::size_t max_request_head = 8 * 1024;
constexpr std::size_t close_frame_size = 4;
constexpr std::uint64_t max_payload = 64 * 1024 * 1024;

/// Moves `size` bytes from `from` to `to`, unmasking them (section 5.3). They may overlap if `to <= from`: every step
/// loads all that it stores.
inline void unmask(std::uint8_t* to, const std::uint8_t* from, std::size_t size, std::uint32_t key) noexcept {
    using block = std::uint32_t __attribute__((vector_size(16)));
    const block keys{key, key, key, key};
    std::size_t i = 0;
    for (; i + 16 <= size; i += 16) {
        block part;
        std::memcpy(&part, from + i, 16);
        part ^= keys;
        std::memcpy(to + i, &part, 16);
    }
    for (; i + 4 <= size; i += 4) {
        std::uint32_t word;
        std::memcpy(&word, from + i, 4);
        word ^= key;
        std::memcpy(to + i, &word, 4);
    }
    std::array<std::uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &key, 4);
    for (; i < size; ++i) to[i] = static_cast<std::uint8_t>(from[i] ^ bytes[i % 4]);
}

/// Writes the first byte and the length of a frame without a mask; returns the end of what it wrote.
inline std::uint8_t* put_header(std::uint8_t* to, std::uint8_t first, std::uint64_t length) noexcept {
    const std::size_t extra = length < 126 ? 0 : length <= 0xFFFF ? 2 : 8;
    *to++ = first;
    *to++ = static_cast<std::uint8_t>(extra == 0 ? length : extra == 2 ? 126 : 127);
    for (std::size_t i = extra; i > 0; --i) *to++ = static_cast<std::uint8_t>(length >> 8U * (i - 1));
    return to;
}

inline std::uint8_t* put_close(std::uint8_t* to, std::uint16_t code) noexcept {
    to = put_header(to, 0x88, 2);
    for (const unsigned shift : {8U, 0U}) *to++ = static_cast<std::uint8_t>(code >> shift);
    return to;
}

/// What stands before the payload of a frame that a client sent.
struct frame_header {
    std::size_t size = 0;  ///< Of the header; 0: it has not arrived whole.
    std::uint8_t first = 0;
    std::uint64_t length = 0;     ///< Of the payload.
    std::uint32_t key = 0;        ///< As it lies in memory.
    std::uint16_t objection = 0;  ///< The close code that the frame deserves (section 7.4.1), or 0.

    [[nodiscard]] unsigned opcode() const noexcept { return first & 0x0FU; }
};

inline std::uint16_t objection(std::uint8_t first, std::uint8_t second, std::uint64_t length) noexcept {
    const unsigned opcode = first & 0x0FU;
    const bool control = opcode >= 8;
    const bool unknown = control ? opcode > 10 : opcode > 2;
    if ((first & 0x70U) != 0 || unknown || (second & 0x80U) == 0) return 1002;  // the last: not masked
    if (control && (length > 125 || (first & 0x80U) == 0 || (opcode == 8 && length == 1))) return 1002;
    return length > max_payload ? 1009 : 0;
}

inline frame_header parse_header(const std::uint8_t* in, std::size_t available) noexcept {
    if (available < 2) return {};
    std::uint64_t length = in[1] & 0x7FU;
    const std::size_t extra = length < 126 ? 0 : length == 126 ? 2 : 8;
    if (available < 2 + extra) return {};
    if (extra > 0) length = 0;
    for (std::size_t i = 0; i < extra; ++i) length = length << 8U | in[2 + i];
    const std::uint16_t code = objection(in[0], in[1], length);
    if (code == 0 && available < 2 + extra + 4) return {};
    frame_header h{2 + extra + 4, in[0], length, 0, code};
    if (code == 0) std::memcpy(&h.key, in + 2 + extra, 4);
    return h;
}

/// What became of the frames that begin at some place.
struct echoed {
    std::uint8_t* rest;         ///< The first byte that belongs to no whole frame.
    std::uint8_t* replies_end;  ///< The replies begin where the frames began.
    std::size_t wanted = 0;     ///< Size of the frame whose start is `rest`; 0: its header is not whole.
    bool closing = false;       ///< The last of the replies is a close frame.
};

/// Turns the whole frames of [in, end) into their replies, in the same memory. Behind `end` there must be room for
/// `close_frame_size` bytes: that one may be written over a shorter broken frame. Fragments are echoed as fragments,
/// which makes the same message. Inlined, because the reference is not to pay for a call and for a result in memory.
[[gnu::always_inline]] inline echoed echo_frames(std::uint8_t* in, const std::uint8_t* end) noexcept {
    std::uint8_t* out = in;
    for (;;) {
        const auto available = static_cast<std::size_t>(end - in);
        const frame_header h = parse_header(in, available);
        if (h.size == 0) return {in, out};
        if (h.objection != 0) return {in, put_close(out, h.objection), 0, true};
        if (available < h.size + h.length) return {in, out, h.size + static_cast<std::size_t>(h.length)};
        in += h.size;
        if (h.opcode() != 10) {
            out = put_header(out, h.opcode() == 9 ? std::uint8_t{0x8A} : h.first, h.length);
            unmask(out, in, h.length, h.key);
            out += h.length;
        }
        in += h.length;
        if (h.opcode() == 8) return {in, out, 0, true};
    }
}

/// The value of a header field in the head of a request, or nothing.
inline std::string_view header_value(std::string_view head, std::string_view name) noexcept {
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
        at += 2;
        if (head.size() - at <= name.size() || head[at + name.size()] != ':') continue;
        if (strncasecmp(head.data() + at, name.data(), name.size()) != 0) continue;
        std::string_view value = head.substr(at + name.size() + 1);
        value = value.substr(0, value.find("\r\n"));
        value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
        return value.substr(0, value.find_last_not_of(" \t") + 1);
    }
    return {};
}

/// The answer to a request for a WebSocket (section 4.2.2), or nothing if it is none. `head` ends with a line break.
inline std::string handshake_answer(std::string_view head) {
    const std::string_view key = header_value(head, "Sec-WebSocket-Key");
    if (!head.starts_with("GET ") || key.empty()) return {};
    const std::string salted = std::string{key} + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
    SHA1(reinterpret_cast<const unsigned char*>(salted.data()), salted.size(), digest.data());
    std::array<unsigned char, 4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1> accept;
    const int size = EVP_EncodeBlock(accept.data(), digest.data(), static_cast<int>(digest.size()));
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
           std::string{accept.begin(), accept.begin() + size} + "\r\n\r\n";
}

}  // namespace bare
