#pragma once

#include <kephas/base/log_throttle.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/jsonrpc/message.hpp>
#include <kephas/proto/session/address_table.hpp>
#include <kephas/proto/session/outbound_queue.hpp>

#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/parked.hpp>

#include <kephas/server/datagram_exchange.hpp>
#include <kephas/server/server_context.hpp>
#include <kephas/server/shard.hpp>
#include <kephas/server/traffic.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

namespace kephas {

/// Serves commands that come in datagrams, one each, and answers each with one. There are no clients: nobody is registered,
/// asked for by `authorize`, or closed.
/// Concurrency: `receive` and `send` on its executor; `stop`, `cancel`, `close` and `reply` from any thread.
class datagram_listener final : public std::enable_shared_from_this<datagram_listener> {
public:
    /// Binds. Throws `error`. Lifetime: `context` outlives it.
    datagram_listener(server_context& context, std::shared_ptr<shard> home, const asio::any_io_executor& executor,
                      const address& where, std::uint64_t seed);

    /// Takes what comes until `stop`.
    [[nodiscard]] asio::awaitable<void> receive();
    /// Sends the replies, until the last handler has ended after `stop`.
    [[nodiscard]] asio::awaitable<void> send();
    /// Takes no more.
    void stop();
    /// Cancels the handlers.
    void cancel();
    /// At once.
    void close();

    void reply(std::shared_ptr<datagram_exchange> to, outbound_frame&& frame);
    [[nodiscard]] bool answers_errors() const noexcept { return context_.options->datagrams.error_replies; }

    [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
    /// 0 of a Unix socket.
    [[nodiscard]] std::uint16_t port() const noexcept;
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// Datagrams, whatever became of those that have come. Any thread.
    [[nodiscard]] kephas::traffic traffic() const noexcept { return traffic_.with(0); }
    [[nodiscard]] asio::any_io_executor executor() { return socket_.get_executor(); }

private:
    friend class datagram_exchange;
    struct outgoing {
        std::shared_ptr<datagram_exchange> to;
        outbound_frame frame;
    };
    /// The jobs of one datagram, by where they run.
    using job_lists = std::array<std::shared_ptr<datagram_jobs>, 2>;

    void began(const datagram_exchange& fresh);
    void ended(const datagram_exchange& last) noexcept;
    void take(const datagram_view& datagram, time_point now);
    [[nodiscard]] bool within_rate(const socket_address& sender, time_point now, std::size_t messages = 1) noexcept;
    void dispatch(const datagram_view& datagram, time_point now);
    [[nodiscard]] asio::awaitable<void> send_batch(std::vector<outgoing>& batch);
    [[nodiscard]] asio::awaitable<void> flush();
    void put_together(const outbound_frame& frame);
    void release(std::span<outgoing> done) noexcept;
    [[nodiscard]] asio::awaitable<void> pause();
    void dispatch_document(const std::shared_ptr<datagram_exchange>& of, const slice& text, time_point now);
    void refuse(const std::shared_ptr<datagram_exchange>& to, outbound_frame&& error);
    [[nodiscard]] job& add_job(job_lists& lists, const std::shared_ptr<datagram_exchange>& of, const route& target);
    void start(job_lists& lists, const std::shared_ptr<datagram_exchange>& of);
    [[nodiscard]] asio::awaitable<bool> wait_for_replies(std::vector<outgoing>& batch);
    [[nodiscard]] bool full() const;
    [[nodiscard]] bool finished_locked() const noexcept { return closed_ || (stopped_ && live_.empty()); }
    void wake_locked() noexcept;
    void note_sent() noexcept;
    void note_unsent(const socket_address& to, const std::error_code& why, std::optional<std::size_t> size = {}) noexcept;

    server_context& context_;
    std::shared_ptr<shard> home_;
    datagram_socket socket_;
    std::string endpoint_;
    std::string url_;
    std::optional<address_table> peers_;  // of their rates; none without a limit
    std::size_t largest_reply_;  // beyond it none is even queued
    log_throttle throttle_;
    std::vector<std::byte> reply_;  // the one that is handed to the socket
    std::uint64_t seen_sent_ = 0, seen_bytes_sent_ = 0;  // of the socket's counters
    traffic_count traffic_;

    mutable std::mutex mutex_;  // what follows
    std::unordered_set<const datagram_exchange*> live_;
    std::vector<outgoing> replies_;
    std::size_t bytes_ = 0;  // of those that are live, and of their replies
    log_throttle unsent_throttle_;
    parked_ptr sender_;
    bool stopped_ = false;
    bool closed_ = false;
};

}  // namespace kephas
