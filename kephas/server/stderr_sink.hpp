#pragma once

#include <kephas/base/logger.hpp>

namespace kephas {

/// Writes "2026-11-21T12:00:00Z info    line" (UTC) to the standard error stream, one write per line.
[[nodiscard]] log_sink stderr_sink();

}  // namespace kephas
