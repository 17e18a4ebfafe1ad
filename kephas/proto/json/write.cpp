#include <kephas/proto/json/write.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <span>

namespace kephas {

namespace {

constexpr bool needs_escape(unsigned char c) { return c < 0x20 || c == '"' || c == '\\'; }

constexpr bool is_continuation(std::string_view text, std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
}

// The size of the character at `at`, which is not ASCII; 0 if it is not UTF-8 (the table of RFC 3629 section 4).
std::size_t character_size(std::string_view text, std::size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0xC2 || lead > 0xF4 || !is_continuation(text, at + 1)) return 0;
    if (lead < 0xE0) return 2;
    const auto second = static_cast<unsigned char>(text[at + 1]);
    if (!is_continuation(text, at + 2)) return 0;
    if (lead < 0xF0) {
        const bool overlong = lead == 0xE0 && second < 0xA0;
        const bool surrogate = lead == 0xED && second >= 0xA0;
        return overlong || surrogate ? 0 : 3;
    }
    const bool overlong = lead == 0xF0 && second < 0x90;
    const bool above_unicode = lead == 0xF4 && second >= 0x90;
    return overlong || above_unicode || !is_continuation(text, at + 3) ? 0 : 4;
}

void write_escape(unsigned char c, std::string& out) {
    switch (c) {
        case '"': out += "\\\""; return;
        case '\\': out += "\\\\"; return;
        case '\b': out += "\\b"; return;
        case '\f': out += "\\f"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        default: break;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    out += "\\u00";
    out += digits[c >> 4U];
    out += digits[c & 0x0FU];
}

template <class T>
void write_number(T value, std::string& out) {
    std::array<char, 32> text;  // -1.7976931348623157e+308 is the longest
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    out.append(text.data(), end);
}

void write_double(double value, std::string& out) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    // Up to five digits are no longer than with an exponent: many results are such integers, which are written faster.
    if (std::abs(value) < 1e5 && !(value == 0 && std::signbit(value))) {
        const int integer = static_cast<int>(value);
        if (static_cast<double>(integer) == value) return write_number(integer, out);
    }
    write_number(value, out);
}

}  // namespace

void write_json_string(std::string_view text, std::string& out) {
    out += '"';
    std::size_t written = 0, at = 0;
    const auto copy_run = [&] { out.append(text.substr(written, at - written)); };
    while (at < text.size()) {
        const auto c = static_cast<unsigned char>(text[at]);
        if (c >= 0x80) {
            if (const std::size_t size = character_size(text, at); size > 0) {
                at += size;
                continue;
            }
            copy_run();
            out += "\xEF\xBF\xBD";
        } else if (needs_escape(c)) {
            copy_run();
            write_escape(c, out);
        } else {
            ++at;
            continue;
        }
        written = ++at;
    }
    copy_run();
    out += '"';
}

// Sees which form a number has, which is nobody else's business.
class json_writer {
public:
    explicit json_writer(std::string& out) : out_{out} {}

    // As deep as the value nests, like its destructor.
    void write(const json& value) {
        switch (value.rep_) {
            case json::rep::null: out_ += "null"; return;
            case json::rep::boolean: out_ += value.data_.boolean ? "true" : "false"; return;
            case json::rep::int64: write_number(value.data_.int64, out_); return;
            case json::rep::uint64: write_number(value.data_.uint64, out_); return;
            case json::rep::float64: write_double(value.data_.float64, out_); return;
            case json::rep::decimal: out_ += value.text(); return;
            case json::rep::string: write_json_string(value.text(), out_); return;
            case json::rep::array: write_array(value.elements()); return;
            case json::rep::object: write_object(value.members()); return;
        }
    }

private:
    void write_array(std::span<const json> elements) {
        char before = '[';
        for (const json& element : elements) {
            out_ += before;
            write(element);
            before = ',';
        }
        out_ += elements.empty() ? "[]" : "]";
    }
    void write_object(std::span<const json_member> members) {
        char before = '{';
        for (const auto& [key, value] : members) {
            out_ += before;
            write_json_string(key, out_);
            out_ += ':';
            write(value);
            before = ',';
        }
        out_ += members.empty() ? "{}" : "}";
    }

    std::string& out_;
};

void write_json(const json& value, std::string& append_to) { json_writer{append_to}.write(value); }

std::string write_json(const json& value) {
    std::string text;
    write_json(value, text);
    return text;
}

}  // namespace kephas
