#pragma once

#include <chrono>

namespace kephas {

/// The clock of every deadline. `base` and `proto` never read it: they are handed `now`.
using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

}  // namespace kephas
