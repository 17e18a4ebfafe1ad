#pragma once

#include <kephas/base/bytes.hpp>

#include <string>
#include <string_view>

#include <zlib.h>

namespace kephas::test {

/// DEFLATE written with zlib and with nothing of what is tested: one stream, as a peer with context takeover has it.
class peer_deflater {
public:
    explicit peer_deflater(int window_bits = 15, int level = 6, int strategy = Z_DEFAULT_STRATEGY) {
        deflateInit2(&stream_, level, Z_DEFLATED, -window_bits, 8, strategy);
    }
    ~peer_deflater() { deflateEnd(&stream_); }
    peer_deflater(const peer_deflater&) = delete;
    peer_deflater& operator=(const peer_deflater&) = delete;

    /// What zlib writes for `text` with that flush.
    std::string write(std::string_view text, int flush = Z_SYNC_FLUSH) {
        std::string out(deflateBound(&stream_, static_cast<uLong>(text.size())) + 64, '\0');
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
        stream_.avail_in = static_cast<uInt>(text.size());
        stream_.next_out = reinterpret_cast<Bytef*>(out.data());
        stream_.avail_out = static_cast<uInt>(out.size());
        ::deflate(&stream_, flush);
        out.resize(out.size() - stream_.avail_out);
        return out;
    }
    /// The payload of a compressed message (RFC 7692 7.2.1).
    std::string message(std::string_view text) {
        std::string out = write(text);
        if (out.size() >= 4) out.resize(out.size() - 4);
        return out;
    }
    void reset() { deflateReset(&stream_); }

private:
    z_stream stream_{};
};

/// A peer's inflater, also over zlib alone.
class peer_inflater {
public:
    explicit peer_inflater(int window_bits = 15) { inflateInit2(&stream_, -window_bits); }
    ~peer_inflater() { inflateEnd(&stream_); }
    peer_inflater(const peer_inflater&) = delete;
    peer_inflater& operator=(const peer_inflater&) = delete;

    /// The message whose compressed payload this is; "invalid" if it is none.
    std::string message(std::string_view compressed) {
        std::string in{compressed};
        in.append("\x00\x00\xff\xff", 4);
        stream_.next_in = reinterpret_cast<Bytef*>(in.data());
        stream_.avail_in = static_cast<uInt>(in.size());
        std::string out;
        char buffer[4096];
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(buffer);
            stream_.avail_out = sizeof(buffer);
            const int status = ::inflate(&stream_, Z_SYNC_FLUSH);
            if (status != Z_OK && status != Z_BUF_ERROR) return "invalid";
            out.append(buffer, sizeof(buffer) - stream_.avail_out);
        } while (stream_.avail_out == 0);
        return stream_.avail_in == 0 ? out : "invalid";
    }
    void reset() { inflateReset(&stream_); }

private:
    z_stream stream_{};
};

/// Text that compresses about as well as real messages do, always the same for the same `seed`.
inline std::string sample_json(std::size_t size, unsigned seed = 1) {
    static constexpr std::string_view words[] = {"player", "position", "velocity", "timestamp", "inventory", "health"};
    std::string out = "{";
    unsigned state = seed;
    while (out.size() < size) {
        state = state * 1664525U + 1013904223U;
        out.append("\"").append(words[(state >> 16U) % 6]).append("\":").append(std::to_string(state >> 20U)).append(",");
    }
    out.resize(size);
    return out;
}

/// Bytes that do not compress.
inline std::string noise(std::size_t size, unsigned seed = 1) {
    std::string out(size, '\0');
    std::uint64_t state = seed;
    for (char& c : out) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        c = static_cast<char>(state >> 56U);
    }
    return out;
}

}  // namespace kephas::test
