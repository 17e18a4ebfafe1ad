#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace kephas {

/// What became of a wish to take up new certificates.
struct certificate_reload {
    enum class outcome : std::uint8_t {
        unchanged,  ///< What is in use is what the files hold. Also without TLS.
        reloaded,   ///< Connections get the new ones from now on.
        failed,     ///< The new ones cannot be used; those before stay.
    };
    outcome what = outcome::unchanged;
    std::string problem{};  ///< Of `failed`: names the file and the reason.

    [[nodiscard]] bool ok() const noexcept { return what != outcome::failed; }
};

/// Concurrency: any thread.
struct certificate_counters {
    std::atomic<std::uint64_t> reloads{0};
    std::atomic<std::uint64_t> failures{0};  ///< Those that were reported as `failed`.
};

}  // namespace kephas
