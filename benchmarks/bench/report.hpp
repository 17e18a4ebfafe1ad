#pragma once

#include "options.hpp"
#include "run.hpp"

#include <string>

namespace bench {

/// Where and when a measurement was made.
struct circumstances {
    std::string machine;
    std::string date;
};

/// A few lines for a terminal.
[[nodiscard]] std::string text_report(const options&, const measurement&);

/// One JSON object on one line.
[[nodiscard]] std::string json_report(const options&, const measurement&);

/// A page that needs nothing else: the distribution of the latencies as plots, and the figures.
[[nodiscard]] std::string html_report(const options&, const measurement&, const circumstances&);

}  // namespace bench
