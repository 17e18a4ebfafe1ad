#pragma once

#include <kephas/base/peer_credentials.hpp>
#include <kephas/base/uuid.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/http/header.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <kephas/server/call_table.hpp>
#include <kephas/server/close_info.hpp>
#include <kephas/server/connection_stats.hpp>
#include <kephas/server/handler_work.hpp>
#include <kephas/server/outbox.hpp>
#include <kephas/server/shard.hpp>

#include <any>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace kephas {

class session;
struct server_options;

/// What is known of a client before it is registered.
struct client_facts {
    uuid id;
    wire_format format = wire_format::websocket;
    std::string identity;
    std::string remote_address;
    std::string subprotocol;
    std::string query_string;
    std::vector<http::header> headers;  ///< Those of the handshake; only the kept ones stay.
    std::uint16_t listener = attached_listener;
    std::optional<peer_credentials> credentials;
};

/// The control block behind every `client` handle: it lives as long as somebody holds one, and answers after the
/// connection has gone. Concurrency: everything from any thread, except what says "strand".
class client_state final : public std::enable_shared_from_this<client_state>, public outbox_owner, public job_source {
public:
    client_state(client_facts facts, std::shared_ptr<shard> home, const asio::any_io_executor& strand);

    [[nodiscard]] const uuid& id() const noexcept { return id_; }
    [[nodiscard]] const std::string& identity() const noexcept { return rare().identity; }
    [[nodiscard]] const std::string& remote_address() const noexcept { return remote_address_; }
    [[nodiscard]] const std::string& subprotocol() const noexcept { return rare().subprotocol; }
    [[nodiscard]] const std::string& query_string() const noexcept { return rare().query_string; }
    [[nodiscard]] const std::optional<peer_credentials>& credentials() const noexcept { return rare().credentials; }
    [[nodiscard]] const server_options& options() const noexcept { return home_->options(); }
    /// Its own, in a shard whose clients do not share one.
    [[nodiscard]] const asio::any_io_executor& strand() const noexcept { return *strand_; }
    [[nodiscard]] const std::shared_ptr<shard>& home() const noexcept { return home_; }
    [[nodiscard]] kephas::outbox& out() noexcept { return outbox_; }
    [[nodiscard]] call_table& calls() noexcept { return calls_; }
    [[nodiscard]] handler_work& work() noexcept { return work_; }
    [[nodiscard]] traffic_count& counted() noexcept { return traffic_; }
    [[nodiscard]] kephas::traffic traffic() const { return traffic_.with(outbox_.totals().counters.written_messages); }
    /// As `listener_role::index`.
    [[nodiscard]] std::uint16_t listener() const noexcept { return listener_; }
    /// Without the listener's name.
    [[nodiscard]] connection_stats stats() const;

    [[nodiscard]] wire_format format() const noexcept { return format_; }
    /// As `deflate_link::shared_window`.
    [[nodiscard]] std::uint8_t shared_window() const noexcept { return shared_window_; }
    /// Among the clients of its shard, while it is one of them.
    [[nodiscard]] std::size_t place() const noexcept { return place_; }
    void set_place(std::size_t place) noexcept { place_ = place; }

    [[nodiscard]] bool alive() const noexcept { return alive_.load(std::memory_order_acquire); }
    /// Whether a call could be answered: not before `on_connect` has returned.
    [[nodiscard]] bool reading() const noexcept { return reading_.load(std::memory_order_acquire); }
    void set_reading() noexcept { reading_.store(true, std::memory_order_release); }

    /// Orders our close frame behind what is queued. Only the first call counts.
    void close(close_code code, std::string_view reason);
    /// Ends the connection with that code, discarding what is queued.
    void fail(close_code code, std::string_view reason);
    /// Ends the connection with a reset.
    void abort();
    /// The server drains: nothing new is dispatched; the session closes with `code` when its handlers have ended.
    void start_leaving(close_code code);
    [[nodiscard]] std::optional<close_code> leaving() const noexcept;

    [[nodiscard]] std::optional<kephas::close_info> closed_with() const;
    /// False if the client has closed already; otherwise `who` is resumed when it has.
    [[nodiscard]] bool wait_closed(parked_ptr who);

    [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
    void attach(std::any value);
    [[nodiscard]] std::any attachment() const;

    // strand: the session that drives the connection
    void bind(session& driver) noexcept { session_ = &driver; }
    void unbind() noexcept { session_ = nullptr; }
    /// Before it is registered: what is sent to it is compressed, from `threshold` bytes on, when it leaves.
    void compress_from(std::size_t threshold, int shared_window) {
        shared_window_ = static_cast<std::uint8_t>(shared_window);
        outbox_.compress_from(threshold);
    }
    /// Before it is registered.
    void set_identity(std::string identity);
    void on_wake();
    /// As `session::send_past_outbox`; false while there is no session.
    [[nodiscard]] bool send_past_outbox(bytes_view frame) noexcept;
    /// `on_wake` will be called soon.
    void prefetch_session() const noexcept;
    struct request_to_end {
        kephas::close_info info;
        bool now = false;    ///< Do not wait for what is queued.
        bool reset = false;  ///< Without a close frame.
    };
    /// Whether `close`, `fail` or `abort` was called: from then on nothing is dispatched.
    [[nodiscard]] bool end_was_requested() const noexcept { return has_end_request_.load(std::memory_order_acquire); }
    /// What they asked for.
    [[nodiscard]] std::optional<request_to_end> end_requested() const;
    /// The connection is ending: nothing can be sent any more, and calls of the client end.
    void left();
    /// The connection has ended: everybody who waits for that is told why.
    void finished(kephas::close_info info);
    /// Forgets the headers of the handshake that nobody asked to keep.
    void trim_headers();

    void wake() noexcept override;
    /// The same for those who cannot know whether the connection has ended meanwhile.
    void wake_unless_finished();

    // the queue of the serial routes, as a source of jobs
    [[nodiscard]] job* next() override { return work_.take_serial(); }
    [[nodiscard]] bool may_share() const noexcept override { return false; }

private:
    /// What few clients have.
    struct rare_facts {
        std::string identity;
        std::string subprotocol;
        std::string query_string;
        std::optional<peer_credentials> credentials;
    };
    /// What most clients have only for a moment, or in the end.
    struct extras {
        std::vector<http::header> headers;
        std::unique_ptr<request_to_end> end_requested;
        std::unique_ptr<kephas::close_info> closed;
        time_point closed_at{};
        std::vector<parked_ptr> close_waiters;
        std::any attachment;
    };

    [[nodiscard]] const rare_facts& rare() const noexcept;
    void request_end(request_to_end request, bool wake_session);
    [[nodiscard]] bool closed_locked() const noexcept { return extras_ && extras_->closed; }
    [[nodiscard]] extras& extras_locked();

    uuid id_;
    session* session_ = nullptr;
    std::atomic<bool> alive_{true};
    std::atomic<bool> reading_{false};
    std::atomic<bool> has_end_request_{false};  // looked at after every read; the request itself is locked
    std::uint8_t shared_window_ = 0;
    std::atomic<std::uint16_t> leaving_{0};
    wire_format format_;
    std::uint16_t listener_;
    std::size_t place_ = 0;  // locked by the shard
    std::shared_ptr<shard> home_;
    kephas::outbox outbox_;
    traffic_count traffic_;
    // up to here what a broadcast needs of it, for which nothing is in the processor's cache

    call_table calls_;
    handler_work work_;
    const time_point since_ = clock::now();
    std::string remote_address_;
    std::unique_ptr<rare_facts> rare_;
    std::unique_ptr<asio::any_io_executor> strand_;  // null if all clients of the shard have the same
    mutable std::mutex mutex_;
    std::unique_ptr<extras> extras_;  // locked
};

}  // namespace kephas
