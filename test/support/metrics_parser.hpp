#pragma once

#include <cctype>
#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kephas::test {

/// The text exposition format of Prometheus 0.0.4, read strictly and by nothing of what writes it: every metric has its
/// HELP, then its TYPE, then its samples, once and in one piece. Throws `std::runtime_error` with what is wrong.
class metrics_page {
public:
    explicit metrics_page(std::string_view text) {
        while (!text.empty()) {
            const std::size_t end = text.find('\n');
            if (end == std::string_view::npos) throw std::runtime_error{"the last line does not end"};
            line_ = text.substr(0, end);
            text.remove_prefix(end + 1);
            if (line_.starts_with("# HELP ")) help(line_.substr(7));
            else if (line_.starts_with("# TYPE ")) type(line_.substr(7));
            else sample(line_);
        }
        if (helped_) fail("a HELP without a TYPE");
    }

    /// By name with labels as they are written: `a_total{reason="x"}`. Throws if there is none.
    [[nodiscard]] double operator[](const std::string& series) const {
        const auto found = samples_.find(series);
        if (found == samples_.end()) throw std::runtime_error{"no series " + series};
        return found->second;
    }
    [[nodiscard]] bool has(const std::string& series) const { return samples_.contains(series); }
    /// Of all series of a metric.
    [[nodiscard]] double sum(const std::string& metric) const {
        double sum = 0;
        for (const auto& [series, value] : samples_) {
            if (series == metric || series.starts_with(metric + "{")) sum += value;
        }
        return sum;
    }
    [[nodiscard]] const std::map<std::string, std::string>& types() const noexcept { return types_; }
    [[nodiscard]] const std::map<std::string, double>& samples() const noexcept { return samples_; }

private:
    [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error{what + ": " + std::string{line_}}; }
    static bool starts_name(char c, bool colons) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || (colons && c == ':'); }

    std::string take_name(std::string_view& rest, bool colons) const {
        std::size_t size = 0;
        while (size < rest.size() &&
               (starts_name(rest[size], colons) || (size > 0 && std::isdigit(static_cast<unsigned char>(rest[size]))))) {
            ++size;
        }
        if (size == 0) fail("no name");
        std::string name{rest.substr(0, size)};
        rest.remove_prefix(size);
        return name;
    }
    void expect(std::string_view& rest, std::string_view what) const {
        if (!rest.starts_with(what)) fail("expected '" + std::string{what} + "'");
        rest.remove_prefix(what.size());
    }

    void help(std::string_view rest) {
        if (helped_) fail("two HELPs");
        current_ = take_name(rest, true);
        expect(rest, " ");
        if (rest.empty()) fail("an empty HELP");
        for (std::size_t i = 0; i < rest.size(); ++i) {
            if (rest[i] == '\\' && (++i == rest.size() || (rest[i] != '\\' && rest[i] != 'n'))) fail("a broken escape");
        }
        helped_ = true;
    }
    void type(std::string_view rest) {
        const std::string name = take_name(rest, true);
        if (!helped_ || name != current_) fail("a TYPE without its HELP");
        expect(rest, " ");
        if (rest != "counter" && rest != "gauge") fail("another type");
        const bool total = name.ends_with("_total");
        if (total != (rest == "counter")) fail("counters end in _total, and nothing else does");
        if (!types_.emplace(name, rest).second) fail("a metric twice");
        helped_ = false;
    }
    void sample(std::string_view rest) {
        if (helped_) fail("a HELP without a TYPE");
        if (take_name(rest, true) != current_ || !types_.contains(current_)) fail("a sample outside of its metric");
        if (rest.starts_with('{')) labels(rest);
        const std::string series{line_.substr(0, line_.size() - rest.size())};
        expect(rest, " ");
        const std::string number{rest};
        if (number.empty() || std::isspace(static_cast<unsigned char>(number[0]))) fail("no value");
        char* end = nullptr;
        const double value = std::strtod(number.c_str(), &end);
        if (*end != '\0') fail("no number");  // nor a time stamp, which we never write
        if (types_.at(current_) == "counter" && !(value >= 0)) fail("a counter below zero");
        if (!samples_.emplace(series, value).second) fail("a series twice");
    }
    void labels(std::string_view& rest) const {
        std::set<std::string> names;
        for (char before = '{'; !rest.starts_with('}'); before = ',') {
            expect(rest, {&before, 1});
            if (!names.insert(take_name(rest, false)).second) fail("a label twice");
            expect(rest, "=\"");
            while (!rest.starts_with('"')) {
                if (rest.starts_with('\\')) {
                    rest.remove_prefix(1);
                    if (!rest.starts_with('\\') && !rest.starts_with('"') && !rest.starts_with('n')) fail("a broken escape");
                }
                if (rest.empty()) fail("a label without an end");
                rest.remove_prefix(1);
            }
            rest.remove_prefix(1);
        }
        rest.remove_prefix(1);
    }

    std::string_view line_;
    std::string current_;
    bool helped_ = false;
    std::map<std::string, std::string> types_;
    std::map<std::string, double> samples_;
};

}  // namespace kephas::test
