#include "json_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace bench {

namespace {

bool is_blank(char c) noexcept { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool ends_word(char c) noexcept {
    return is_blank(c) || std::string_view{",:{}[]\""}.find(c) != std::string_view::npos;
}

/// What is left of `text`, taken piece by piece.
class reader {
public:
    explicit reader(std::string_view text) : left_{text} { skip_blanks(); }

    [[nodiscard]] bool at_end() const noexcept { return left_.empty(); }

    bool take(char c) {
        if (!left_.starts_with(c)) return false;
        advance(1);
        return true;
    }
    /// A bracket, a comma, a colon, a string with its quotes, or a word; empty: nothing, or a string without an end.
    std::string_view token() {
        if (left_.empty()) return {};
        std::size_t size = 1;
        if (left_.front() == '"') {
            while (size < left_.size() && left_[size] != '"') size += left_[size] == '\\' ? 2U : 1U;
            if (size >= left_.size()) return {};
            ++size;
        } else if (!ends_word(left_.front())) {
            while (size < left_.size() && !ends_word(left_[size])) ++size;
        }
        const std::string_view found = left_.substr(0, size);
        advance(size);
        return found;
    }
    /// A value as it stands; empty: none.
    std::string_view value(int depth = 0) {
        constexpr int deepest = 64;
        const std::string_view from = left_;
        if (depth > deepest) return {};
        if (take('{') || take('[')) {
            const bool object = from.front() == '{';
            const char closing = object ? '}' : ']';
            std::size_t end = 0;
            for (bool first = true; !(end = consumed(from), take(closing)); first = false) {
                if (!first && !take(',')) return {};
                if (object && !(token().starts_with('"') && take(':'))) return {};
                if (value(depth + 1).empty()) return {};
            }
            return from.substr(0, end + 1);
        }
        const std::string_view word = token();
        return word.empty() || (ends_word(word.front()) && word.front() != '"') ? std::string_view{} : word;
    }

private:
    void skip_blanks() {
        left_.remove_prefix(
            static_cast<std::size_t>(std::find_if_not(left_.begin(), left_.end(), is_blank) - left_.begin()));
    }
    void advance(std::size_t count) {
        left_.remove_prefix(count);
        skip_blanks();
    }
    [[nodiscard]] std::size_t consumed(std::string_view from) const noexcept { return from.size() - left_.size(); }

    std::string_view left_;
};

bool same_token(std::string_view a, std::string_view b) {
    if (a == b) return true;
    double x = 0;
    double y = 0;
    const auto number = [](std::string_view text, double& value) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        return error == std::errc{} && end == text.data() + text.size();
    };
    return number(a, x) && number(b, y) && !(x < y) && !(y < x);
}

}  // namespace

std::optional<std::vector<json_member>> json_members(std::string_view text) {
    reader in{text};
    if (!in.take('{')) return std::nullopt;
    std::vector<json_member> members;
    while (!in.take('}')) {
        if (!members.empty() && !in.take(',')) return std::nullopt;
        const std::string_view name = in.token();
        if (!name.starts_with('"') || !in.take(':')) return std::nullopt;
        const std::string_view value = in.value();
        if (value.empty()) return std::nullopt;
        members.push_back({name.substr(1, name.size() - 2), value});
    }
    if (!in.at_end()) return std::nullopt;
    return members;
}

bool is_json(std::string_view text) {
    reader in{text};
    return !in.value().empty() && in.at_end();
}

bool same_json(std::string_view a, std::string_view b) {
    reader left{a};
    reader right{b};
    while (!left.at_end() && !right.at_end()) {
        const std::string_view mine = left.token();
        if (mine.empty() || !same_token(mine, right.token())) return false;
    }
    return left.at_end() && right.at_end();
}

std::string json_string(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        if (static_cast<unsigned char>(c) < ' ')
            quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
            quoted += c;
    }
    return quoted + '"';
}

}  // namespace bench
