#pragma once

#include <kephas/base/logger.hpp>

#include <kephas/net/certificate_reload.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/tls_context.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace kephas {

/// Hands out the TLS context for new connections and exchanges it when the certificates have changed. A context is
/// built completely before it takes the place of the one before; connections keep the one that they began with.
/// Concurrency: any thread.
class certificate_keeper : public std::enable_shared_from_this<certificate_keeper> {
public:
    /// Loads them. Throws `std::invalid_argument` and `error` as `check_tls_options` and `tls_context` do.
    /// Lifetime: `counters` must outlive it.
    certificate_keeper(tls_options options, certificate_counters& counters, logger log);

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
    certificate_counters& counters_;
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
