#include <kephas/proto/http/metrics_text.hpp>

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace kephas::http {

namespace {

/// In a help text a backslash and a line break are escaped, in the value of a label a quotation mark too.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
    for (const char c : text) {
        if (c == '\n') {
            out += "\\n";
            continue;
        }
        if (c == '\\' || (quotes && c == '"')) out += '\\';
        out += c;
    }
}

}  // namespace

void metrics_text::begin(std::string_view name, kind what, std::string_view help) {
    name_ = name;
    fmt::format_to(std::back_inserter(text_), "# HELP {} ", name);
    append_escaped(text_, help, false);
    fmt::format_to(std::back_inserter(text_), "\n# TYPE {} {}\n", name, what == kind::counter ? "counter" : "gauge");
}

void metrics_text::sample(std::uint64_t value, std::initializer_list<label> labels) {
    begin_sample(labels);
    fmt::format_to(std::back_inserter(text_), " {}\n", value);
}

void metrics_text::sample(double value, std::initializer_list<label> labels) {
    begin_sample(labels);
    if (std::isnan(value)) text_ += " NaN\n";
    else if (std::isinf(value)) text_ += value > 0 ? " +Inf\n" : " -Inf\n";
    else fmt::format_to(std::back_inserter(text_), " {}\n", value);
}

void metrics_text::begin_sample(std::initializer_list<label> labels) {
    text_ += name_;
    char before = '{';
    for (const auto& [name, value] : labels) {
        text_ += std::exchange(before, ',');
        text_ += name;
        text_ += "=\"";
        append_escaped(text_, value, true);
        text_ += '"';
    }
    if (labels.size() > 0) text_ += '}';
}

}  // namespace kephas::http
