#include <kephas/proto/http/extensions.hpp>

#include <string_view>
#include <utility>

namespace kephas::http {

namespace {

/// Reads the grammar of RFC 6455 9.1 from one header's value.
class extension_reader {
public:
    explicit extension_reader(std::string_view text) noexcept : rest_{text} {}

    /// False when the value is malformed.
    bool read(std::vector<extension>& out) {
        for (;;) {
            skip_blanks();
            if (take(',')) continue;  // RFC 9110 5.6.1.2: empty elements are skipped
            if (rest_.empty()) return true;
            auto element = read_extension();
            if (!element) return false;
            out.push_back(*std::move(element));
            skip_blanks();
            if (!rest_.empty() && !take(',')) return false;
        }
    }

private:
    std::optional<extension> read_extension() {
        extension result;
        result.name = read_token();
        if (result.name.empty()) return std::nullopt;
        for (;;) {
            skip_blanks();
            if (!take(';')) return result;
            skip_blanks();
            extension_parameter parameter;
            parameter.name = read_token();
            if (parameter.name.empty()) return std::nullopt;
            skip_blanks();
            if (take('=')) {
                skip_blanks();
                parameter.value = take('"') ? read_quoted() : read_token();
                if (!is_token(*parameter.value)) return std::nullopt;
            }
            result.parameters.push_back(std::move(parameter));
        }
    }

    std::string read_token() {
        std::size_t size = 0;
        while (size < rest_.size() && is_token(rest_.substr(size, 1))) ++size;
        const std::string_view token = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return std::string{token};
    }

    /// What stands up to the closing quote; empty, which is no token, when there is none.
    std::string read_quoted() {
        std::string value;
        while (!rest_.empty()) {
            const char c = rest_.front();
            rest_.remove_prefix(1);
            if (c == '"') return value;
            if (c == '\\') {
                if (rest_.empty()) break;
                value.push_back(rest_.front());
                rest_.remove_prefix(1);
            } else {
                value.push_back(c);
            }
        }
        return {};
    }

    void skip_blanks() noexcept {
        while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
    }
    bool take(char c) noexcept {
        if (rest_.empty() || rest_.front() != c) return false;
        rest_.remove_prefix(1);
        return true;
    }

    std::string_view rest_;
};

}  // namespace

std::optional<std::vector<extension>> parse_extensions(std::span<const header> headers) {
    std::vector<extension> elements;
    for (const header& h : headers) {
        if (!equal_ignoring_case(h.name, "Sec-WebSocket-Extensions")) continue;
        if (!extension_reader{h.value}.read(elements)) return std::nullopt;
    }
    return elements;
}

}  // namespace kephas::http
