#pragma once

#include <kephas/base/logger.hpp>

#include <kephas/net/steady_timer.hpp>
#include <kephas/net/tls_context.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace kephas {

struct connection_counters;

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

/// Hands out the TLS context for new connections and exchanges it when the certificates have changed. A context is
/// built completely before it takes the place of the one before; connections keep the one that they began with.
/// Concurrency: any thread.
class certificate_keeper : public std::enable_shared_from_this<certificate_keeper> {
public:
    /// Loads them. `counters` must outlive it. Throws `std::invalid_argument` and `error` as `check_tls_options` and `tls_context` do.
    certificate_keeper(tls_options options, connection_counters& counters, logger log);

    [[nodiscard]] std::shared_ptr<const tls_context> current() const;

    /// Looks at the files now, and as long as they do not fit together again and again, for `reload_patience`.
    /// Blocks for that time and for as long as the disk takes.
    [[nodiscard]] certificate_reload reload();

    /// Compares the files with what is in use every `watch_interval` until `stop_watching`, on an executor that runs
    /// one function at a time and may block.
    [[nodiscard]] asio::awaitable<void> watch();
    void stop_watching(const asio::any_io_executor& executor);

private:
    [[nodiscard]] certificate_reload try_once();
    [[nodiscard]] certificate_reload take(tls_material material);
    void report(const std::string& problem);
    [[nodiscard]] duration look();

    const tls_options options_;
    connection_counters& counters_;
    const logger log_;

    std::mutex reload_mutex_;  // held while the files are read
    tls_material material_;    // of what is in use

    mutable std::mutex mutex_;
    std::shared_ptr<const tls_context> current_;

    // of the watcher
    std::optional<steady_timer> timer_;
    std::optional<tls_material> candidate_;
    std::optional<time_point> failing_since_;
    std::string reported_;
    bool stopped_ = false;
};

}  // namespace kephas
