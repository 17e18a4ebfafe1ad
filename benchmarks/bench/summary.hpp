#pragma once

#include "options.hpp"
#include "run.hpp"

#include <string>

namespace bench {

/// What follows from a measurement, for each kind of report.
struct rates {
    double per_second = 0;        ///< Replies.
    double server_cpu_us = 0;     ///< Per message.
    double client_cpu_share = 0;  ///< 1: one CPU, all the time.
};
[[nodiscard]] rates rates_of(const options&, const measurement&);

/// What a message of the reports stands for: "message", "delivery", "connection".
[[nodiscard]] std::string unit(const options&);
[[nodiscard]] std::string units(const options&);

[[nodiscard]] std::string load_in_words(const options&);
[[nodiscard]] std::string verification_in_words(const options&);
[[nodiscard]] std::string closes_in_words(const options&, const measurement&);

}  // namespace bench
