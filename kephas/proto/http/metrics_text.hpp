#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace kephas::http {

/// Writes the text exposition format of Prometheus, version 0.0.4.
class metrics_text {
public:
    static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

    enum class kind : bool { counter, gauge };
    using label = std::pair<std::string_view, std::string_view>;

    /// Begins a metric, to which the samples that follow belong. `name` is a metric name (`[a-zA-Z_:][a-zA-Z0-9_:]*`), and no
    /// other metric has it; that of a counter ends in `_total`.
    void begin(std::string_view name, kind what, std::string_view help);
    void sample(std::uint64_t value, std::initializer_list<label> labels = {});
    void sample(double value, std::initializer_list<label> labels = {});

    [[nodiscard]] const std::string& text() const& noexcept { return text_; }
    [[nodiscard]] std::string text() && noexcept { return std::move(text_); }

private:
    void begin_sample(std::initializer_list<label> labels);

    std::string text_;
    std::string name_;
};

}  // namespace kephas::http
