#pragma once

#include <kephas/net/certificate_keeper.hpp>
#include <kephas/net/owned_fd.hpp>
#include <kephas/net/parked.hpp>

#include <kephas/server/datagram_listener.hpp>
#include <kephas/server/lingerers.hpp>
#include <kephas/server/listener.hpp>
#include <kephas/server/server.hpp>
#include <kephas/server/server_context.hpp>
#include <kephas/server/session.hpp>
#include <kephas/server/shard.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_set>
#include <vector>

namespace kephas {

/// The parts of a server, and what makes them work together.
class server::implementation final : private session_owner {
public:
    using strand_factory = handler_pool::strand_factory;

    implementation(std::shared_ptr<const kephas::routes> routes, server_options options, asio::any_io_executor executor,
                   strand_factory strands);
    // Handles may keep a shard longer than its context, and a server that never served has not stopped them.
    ~implementation() {
        for (const auto& each : registry_->shards) each->stop();
    }
    implementation(const implementation&) = delete;
    implementation& operator=(const implementation&) = delete;

    void listen();
    void begin();  // listens, once
    drain_report run();
    asio::awaitable<drain_report> serve();
    asio::awaitable<drain_report> serve_once();
    void stop();
    void hurry();  // as a second stop()
    void attach(asio::generic::stream_protocol::socket::native_handle_type fd,
                const asio::generic::stream_protocol& protocol, const std::shared_ptr<const listener_role>& role);
    void attach(const stream_factory& make, const std::shared_ptr<const listener_role>& role);
    using transport_factory = std::function<std::unique_ptr<stream>(shard& home, const asio::any_io_executor& strand)>;
    void attach(const transport_factory& make, const std::shared_ptr<const listener_role>& role, connection_gate::place place);

    void count_accepted(const listener_role& role) noexcept;
    /// Takes a place for a new connection. False if there is none: it is answered and closed then.
    [[nodiscard]] bool let_in(owned_fd& fd, const listener_role& role, connection_gate::place& place);

    [[nodiscard]] certificate_reload reload_certificates();
    [[nodiscard]] std::vector<std::string> endpoints() const;
    [[nodiscard]] std::uint16_t port() const;  // of the first TCP listener
    [[nodiscard]] const std::shared_ptr<client_registry>& registry() const { return registry_; }
    [[nodiscard]] server_stats stats() const;
    [[nodiscard]] std::vector<connection_stats> connections() const;
    [[nodiscard]] std::vector<connection_stats> stats_of(std::span<const std::shared_ptr<client_state>> clients) const;
    /// What `GET /metrics` answers.
    [[nodiscard]] std::string metrics() const;

private:
    [[nodiscard]] bool owned() const noexcept { return !strands_; }
    void make_owned_parts();
    void make_embedded_parts();
    void make_codecs();
    void make_handlers(asio::any_io_executor fallback, strand_factory strands, unsigned threads);

    /// Runs something until the drain ends it; `what` names it in the log.
    void spawn(const asio::any_io_executor& executor, asio::awaitable<void> task, const char* what);
    void task_ended(const std::exception_ptr& failure, const char* what);
    void ended(session& last) noexcept override;
    [[nodiscard]] std::vector<std::shared_ptr<session>> sessions() const;
    /// Completes when nothing runs any more, or at `deadline`, or when `stop()` is called; true for the first.
    [[nodiscard]] asio::awaitable<bool> wait_for_sessions(time_point deadline);
    [[nodiscard]] asio::awaitable<void> wait_for_stop();
    [[nodiscard]] asio::awaitable<drain_report> drain();

    // Owned: the pool ends before the contexts, and those before what their handlers refer to.
    asio::any_io_executor executor_;  // embedded: the program's; owned: the first shard's
    strand_factory strands_;          // embedded only
    handler_counters handler_counters_;
    server_context context_;
    std::shared_ptr<client_registry> registry_ = std::make_shared<client_registry>();
    std::shared_ptr<memory_budget> outbox_budget_;  // shared with the shards, which handles may keep
    std::vector<std::unique_ptr<asio::io_context>> contexts_;
    std::unique_ptr<asio::io_context> pool_;  // of the handlers; a strand on it is small enough for any_io_executor,
                                              // one on an asio::thread_pool would be allocated with every use
    std::vector<std::unique_ptr<listener>> listeners_;
    std::vector<std::shared_ptr<datagram_listener>> datagrams_;
    std::vector<std::string> endpoints_;  // of both, in the order of `listen`
    std::unique_ptr<lingerers> lingerers_;
    std::shared_ptr<certificate_keeper> certificates_;  // null without TLS
    asio::any_io_executor watcher_;                     // where it looks at the files, which may block
    std::atomic<std::size_t> next_shard_{0};
    std::atomic<bool> serving_{false};
    std::atomic<std::uint64_t> attached_{0};  // connections that no listener has accepted

    mutable std::mutex mutex_;  // what follows
    std::unordered_set<std::shared_ptr<session>> sessions_;
    std::size_t tasks_ = 0;  // sessions and accept loops
    unsigned stops_ = 0;
    parked_ptr stop_waiter_;
    parked_ptr end_waiter_;
};

}  // namespace kephas
