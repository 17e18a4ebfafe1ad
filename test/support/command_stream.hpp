#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::test {

inline constexpr std::uint32_t jsonrpc_id = 0xFFFFFFFF;
inline constexpr std::uint32_t error_id = 0xFFFFFFFE;

inline std::string big_endian_text(std::uint32_t value) {
    return {static_cast<char>(value >> 24U), static_cast<char>(value >> 16U & 0xFFU), static_cast<char>(value >> 8U & 0xFFU),
            static_cast<char>(value & 0xFFU)};
}

/// A message of a stream of commands by the book: the length, the id, the payload.
inline std::string stream_message(std::uint32_t id, std::string_view payload) {
    return big_endian_text(static_cast<std::uint32_t>(4 + payload.size())) + big_endian_text(id) + std::string{payload};
}
inline std::string stream_keep_alive() { return std::string(4, '\0'); }
inline std::string stream_goodbye(unsigned code, std::string_view reason = {}) {
    return stream_message(error_id, R"({"jsonrpc":"2.0","error":{"code":-32000,"message":")" + std::string{reason} +
                                        R"(","data":{"close":)" + std::to_string(code) + R"(}},"id":null})");
}

/// What has come over a stream, one line for each message: "1 hello", "jsonrpc {...}", "error {...}", "goodbye 1001 why",
/// "keep-alive".
class stream_lines {
public:
    void add(std::string_view bytes) { received_ += bytes; }
    [[nodiscard]] bool empty() const noexcept { return received_.empty(); }

    [[nodiscard]] std::optional<std::string> next() {
        if (received_.size() < 4) return std::nullopt;
        const std::size_t size = number(0);
        if (received_.size() < 4 + size) return std::nullopt;
        const std::string message = received_.substr(0, 4 + size);
        std::string line = size == 0 ? "keep-alive" : size < 4 ? "too short" : describe(message);
        received_.erase(0, 4 + size);
        return line;
    }

private:
    [[nodiscard]] std::uint32_t number(std::size_t at) const {
        std::uint32_t value = 0;
        for (std::size_t i = at; i < at + 4; ++i) value = value << 8U | static_cast<unsigned char>(received_[i]);
        return value;
    }
    [[nodiscard]] std::string describe(const std::string& message) const {
        const std::uint32_t id = number(4);
        const std::string payload = message.substr(8);
        if (id == jsonrpc_id) return "jsonrpc " + payload;
        if (id != error_id) return payload.empty() ? std::to_string(id) : std::to_string(id) + " " + payload;
        static constexpr std::string_view before = R"({"jsonrpc":"2.0","error":{"code":-32000,"message":")";
        static constexpr std::string_view between = R"(","data":{"close":)";
        static constexpr std::string_view behind = R"(}},"id":null})";
        const std::size_t reason_end = payload.find(between);
        if (!payload.starts_with(before) || !payload.ends_with(behind) || reason_end == std::string::npos) return "error " + payload;
        const std::size_t code = reason_end + between.size();
        const std::string reason = payload.substr(before.size(), reason_end - before.size());
        return "goodbye " + payload.substr(code, payload.size() - behind.size() - code) + (reason.empty() ? "" : " " + reason);
    }

    std::string received_;
};

}  // namespace kephas::test
