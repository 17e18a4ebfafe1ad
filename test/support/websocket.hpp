#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/websocket/decoder.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <support/hex.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::test {

using bytes = std::vector<std::byte>;

inline bytes operator+(bytes a, const bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline bytes to_bytes(std::string_view text) {
    const auto view = as_bytes(text);
    return {view.begin(), view.end()};
}

inline std::string to_text(bytes_view view) { return std::string{as_text(view)}; }

/// A frame written by the book and by nothing of what is tested: RFC 6455 5.2, masked unless told otherwise.
struct frame {
    websocket::opcode op = websocket::opcode::binary;
    std::string payload{};
    bool fin = true;
    bool masked = true;
    unsigned rsv = 0;  ///< The three bits, as a number.

    operator bytes() const {
        bytes out;
        const auto put = [&out](std::uint64_t value) { out.push_back(static_cast<std::byte>(value & 0xFFU)); };
        put((fin ? 0x80U : 0U) | rsv << 4U | static_cast<unsigned>(op));
        const std::uint64_t size = payload.size();
        const unsigned mask_bit = masked ? 0x80 : 0;
        if (size < 126) {
            put(mask_bit | size);
        } else if (size < 65536) {
            put(mask_bit | 126U);
            put(size >> 8U);
            put(size);
        } else {
            put(mask_bit | 127U);
            for (int shift = 56; shift >= 0; shift -= 8) put(size >> static_cast<unsigned>(shift));
        }
        constexpr std::array<unsigned, 4> key{0x37, 0xfa, 0x21, 0x3d};
        if (masked)
            for (const unsigned k : key) put(k);
        for (std::size_t i = 0; i < payload.size(); ++i)
            put(static_cast<unsigned char>(payload[i]) ^ (masked ? key[i % 4] : 0));
        return out;
    }
};

inline bytes text(std::string payload) { return frame{websocket::opcode::text, std::move(payload)}; }
inline bytes binary(std::string payload) { return frame{websocket::opcode::binary, std::move(payload)}; }
inline bytes ping(std::string payload = {}) { return frame{websocket::opcode::ping, std::move(payload)}; }
inline bytes pong(std::string payload = {}) { return frame{websocket::opcode::pong, std::move(payload)}; }

/// A close frame with a code, as its two bytes, and a reason.
inline bytes close_frame(unsigned code, std::string_view reason = {}) {
    std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code & 0xFFU)};
    return frame{websocket::opcode::close, payload.append(reason)};
}

/// What a decoder makes of its input, one line for each event, so that tests compare and print it:
/// "text Hello", "ping", "failed 1002 reserved opcode".
using lines = std::vector<std::string>;

inline std::string name(websocket::opcode op) {
    switch (op) {
        case websocket::opcode::continuation: return "continuation";
        case websocket::opcode::text: return "text";
        case websocket::opcode::binary: return "binary";
        case websocket::opcode::close: return "close";
        case websocket::opcode::ping: return "ping";
        case websocket::opcode::pong: return "pong";
    }
    return "?";
}

inline std::string line(const websocket::decoded& event) {
    std::string out = name(event.op);
    if (!event.payload.empty()) out += " " + to_text(event.payload.view());
    return out;
}

/// What is done to a decoder before its first bytes.
using preparation = std::function<void(websocket::decoder&)>;

/// Feeds a decoder as a connection would: to the span that it wants, or with a slice that nobody else has.
class decoder_driver {
public:
    explicit decoder_driver(websocket::role role = websocket::role::server, websocket::decoder_options options = {},
                            const preparation& prepare = {})
        : decoder{role, options} {
        if (prepare) prepare(decoder);
    }

    void feed(bytes_view input) {
        while (!input.empty()) {
            std::size_t size = input.size();
            if (const mutable_bytes span = decoder.want(); !span.empty()) {
                size = std::min(size, span.size());
                std::memcpy(span.data(), input.data(), size);
                decoder.commit(size);
                direct_bytes += size;
            } else {
                decoder.feed(slice::copy(input));
            }
            input = input.subspan(size);
            drain();
        }
    }

    void drain() {
        while (auto event = decoder.next()) events.push_back(line(*event));
        if (decoder.failed() && !reported) {
            reported = true;
            const auto why = decoder.failure();
            events.push_back("failed " + std::to_string(static_cast<unsigned>(why.code)) + " " + why.reason);
        }
    }

    websocket::decoder decoder;
    lines events;
    std::size_t direct_bytes = 0;
    bool reported = false;
};

/// The events of `input` fed in pieces of at most `step` bytes, after a first piece of `first`.
inline lines decode(bytes_view input, std::size_t first, std::size_t step, websocket::role role,
                    websocket::decoder_options options, const preparation& prepare = {}) {
    decoder_driver driver{role, options, prepare};
    driver.feed(input.first(std::min(first, input.size())));
    for (input = input.subspan(std::min(first, input.size())); !input.empty();) {
        const std::size_t size = std::min(step, input.size());
        driver.feed(input.first(size));
        input = input.subspan(size);
    }
    return driver.events;
}

/// The events of `input`, which must be the same whole, byte by byte and at every split; otherwise a line says where
/// they differ.
inline lines decode(const bytes& input, websocket::role role = websocket::role::server,
                    websocket::decoder_options options = {}, const preparation& prepare = {}) {
    constexpr std::size_t whole = static_cast<std::size_t>(-1);
    const lines expected = decode(input, whole, whole, role, options, prepare);
    const auto differs = [&](const std::string& where, const lines& found) {
        lines out{"differs " + where};
        out.insert(out.end(), found.begin(), found.end());
        return out;
    };
    for (const std::size_t step : {1U, 2U, 3U, 7U, 1000U})
        if (auto found = decode(input, 0, step, role, options, prepare); found != expected)
            return differs("in steps of " + std::to_string(step), found);
    // every place near the ends, and a sample of those in the middle of what is long
    const std::size_t stride = std::max<std::size_t>(1, input.size() / 400);
    for (std::size_t split = 0; split < input.size(); split += split < 64 ? 1 : stride)
        if (auto found = decode(input, split, whole, role, options, prepare); found != expected)
            return differs("split at " + std::to_string(split), found);
    return expected;
}

}  // namespace kephas::test
