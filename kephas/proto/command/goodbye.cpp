#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/command/goodbye.hpp>
#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/websocket/utf8.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace kephas {

namespace {

constexpr std::string_view before_reason = R"({"jsonrpc":"2.0","error":{"code":-32000,"message":")";
constexpr std::string_view before_code = R"(","data":{"close":)";
constexpr std::string_view behind_code = R"(}},"id":null})";
constexpr std::size_t code_digits = 4;
constexpr std::size_t room_for_reason = max_goodbye - stream_frame_head_size - before_reason.size() - before_code.size() -
                                        code_digits - behind_code.size();
static_assert(room_for_reason >= 123, "a reason without escapes is sent whole");

// Of a peer's; ours are much shorter.
constexpr std::size_t longest_read = 4 * 1024;
constexpr json_limits limits_read{.max_depth = 8, .max_elements = 32};

constexpr std::string_view digits = "0123456789abcdef";

constexpr bool needs_escape(unsigned char c) noexcept { return c < 0x20 || c == '"' || c == '\\'; }

constexpr std::size_t written_size(unsigned char c) noexcept { return c < 0x20 ? 6 : needs_escape(c) ? 2 : 1; }

/// As much of `reason` as fits, cut at a character.
std::string_view cut(std::string_view reason) noexcept {
    reason = fitting_reason(reason);
    std::size_t size = 0, fits = 0;
    for (std::size_t at = 0; at < reason.size(); ++at) {
        const auto c = static_cast<unsigned char>(reason[at]);
        if ((c & 0xC0U) != 0x80U) fits = at;
        size += written_size(c);
        if (size > room_for_reason) return reason.substr(0, fits);
    }
    return reason;
}

/// Writes without asking for room: all of it together fits.
class writer {
public:
    explicit writer(std::span<std::byte, max_goodbye> out) noexcept : begin_{out.data()}, to_{out.data()} {}

    void skip(std::size_t size) noexcept { to_ += size; }
    void put(char c) noexcept { *to_++ = static_cast<std::byte>(c); }
    void text(std::string_view text) noexcept {
        std::memcpy(to_, text.data(), text.size());
        to_ += text.size();
    }
    void escaped(std::string_view text) noexcept {
        const bool is_text = websocket::is_utf8(as_bytes(text));
        for (const char each : text) {
            const auto c = static_cast<unsigned char>(each);
            if (c < 0x20) {
                this->text("\\u00");
                put(digits[c >> 4U]);
                put(digits[c & 0x0FU]);
            } else {
                if (needs_escape(c)) put('\\');
                put(c < 0x80 || is_text ? each : '?');
            }
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(to_ - begin_); }

private:
    std::byte* begin_;
    std::byte* to_;
};

}  // namespace

std::size_t encode_goodbye(std::span<std::byte, max_goodbye> out, close_code code, std::string_view reason) noexcept {
    if (!is_valid_on_wire(code)) code = close_code::normal;
    std::array<char, code_digits> number;
    std::to_chars(number.data(), number.data() + number.size(), static_cast<unsigned>(code));
    writer to{out};
    to.skip(stream_frame_head_size);
    to.text(before_reason);
    to.escaped(cut(reason));
    to.text(before_code);
    to.text({number.data(), number.size()});
    to.text(behind_code);
    encode_stream_head(out.first<stream_frame_head_size>(), command_jsonrpc_error, to.size() - stream_frame_head_size);
    return to.size();
}

std::optional<goodbye> parse_goodbye(bytes_view payload) {
    if (payload.size() > longest_read) return std::nullopt;
    const auto document = parse_json(as_text(payload), limits_read);
    if (!document) return std::nullopt;
    const json* const id = document->find("id");
    const json& error = document->at("error");
    const auto code = error.at("data").at("close").as_uint64();
    if (id == nullptr || !id->is_null() || !code || *code > 0xFFFF) return std::nullopt;
    goodbye found{close_code{static_cast<std::uint16_t>(*code)}, {}};
    if (!is_valid_on_wire(found.code)) return std::nullopt;
    found.reason = fitting_reason(error.at("message").as_string().value_or(std::string_view{}));
    return found;
}

}  // namespace kephas
