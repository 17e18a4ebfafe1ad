#pragma once

#include <kephas/proto/http/request.hpp>
#include <kephas/proto/http/response.hpp>
#include <kephas/proto/session/frame_run.hpp>
#include <kephas/proto/session/session_machine.hpp>

#include <kephas/net/driver.hpp>
#include <kephas/net/parked.hpp>
#include <kephas/net/stream.hpp>

#include <kephas/server/client_state.hpp>
#include <kephas/server/deflate_link.hpp>
#include <kephas/server/job.hpp>
#include <kephas/server/listener_role.hpp>
#include <kephas/server/server_context.hpp>
#include <kephas/server/shard.hpp>

#include <asio/awaitable.hpp>
#include <asio/error.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kephas {

class burst;
class session;

/// Whoever has to know when a connection has ended.
class session_owner {
public:
    /// On the strand of the session, which may be destroyed now.
    virtual void ended(session& last) noexcept = 0;

protected:
    ~session_owner() = default;
};

/// The answer to somebody who is not let in.
struct refused_handshake {
    http::response response;
    std::optional<refusal_reason> reason{};  ///< What it counts as, if there is a name for it.
    std::string what{};                      ///< For the log.
};

/// One connection from its first byte to its last: drives the machines of `proto` over a stream, hands messages to
/// their handlers, writes what the outbox holds. It contains no protocol.
///
/// Three coroutines follow each other: one of Asio's for the opening handshake and `on_connect`, a `driver` for as long as
/// the connection is open, and one of Asio's for the end.
/// Concurrency: everything on the strand, except `timer_expired` (see there).
/// Lifetime: from `start` on somebody has to keep it until its owner is told that it has ended.
class session final : public std::enable_shared_from_this<session>, public timer_target, public job_source,
                      public read_waiter {
public:
    session(server_context& context, std::shared_ptr<shard> home, asio::any_io_executor strand,
            std::unique_ptr<stream> transport, std::shared_ptr<const listener_role> role);
    ~session() override;

    /// What it takes of the limits on connections; before `run`.
    void take(connection_gate::place place) noexcept { place_ = std::move(place); }
    /// The whole life of the connection; an exception ends it. Throws only what keeps it from beginning.
    void start(session_owner& owner);
    /// Somebody queued a frame, asked for the end, or ended a handler.
    void on_wake() noexcept { guarded([this] { woken(); }); }
    /// Gives a short frame to the kernel at once, past the outbox. False, and nothing has left, if something was sent before
    /// it that has not left yet, or the kernel takes nothing: then it is to be queued. What the kernel leaves of it is.
    [[nodiscard]] bool send_past_outbox(bytes_view frame) noexcept;

    // The drain, from any thread.
    /// Ends the handshake with 503, or closes with `code` once the handlers have ended.
    void request_leave(close_code code);
    /// Cancels the handlers and closes with `code` without waiting for them.
    void request_cancel(close_code code);
    /// Ends the connection with a reset.
    void request_cut();
    [[nodiscard]] const asio::any_io_executor& strand() const noexcept {
        return own_strand_ ? *own_strand_ : home_->executor();
    }

    void timer_expired() noexcept override;
    void readable() noexcept override { resume(); }
    [[nodiscard]] job* next() override;  // of the on_strand queue
    [[nodiscard]] bool may_share() const noexcept override { return false; }
    [[nodiscard]] bool on_strand() const noexcept override { return true; }
    [[nodiscard]] bool take_reply(websocket::opcode op, std::optional<command_id> id, bytes_view body) noexcept override;

private:
    /// What only the handshake needs.
    struct opening {
        std::shared_ptr<const listener_role> role;
        std::string forwarded;  // the address behind a proxy
        std::optional<uuid> id;  // once somebody has asked
        wire_format format = wire_format::websocket;
    };
    /// What one read brought for serial routes, and where its payloads are copied that must leave the read buffer.
    struct serial_jobs {
        std::vector<job> jobs;
        slice storage;
        std::size_t handed_over = 0;  // of the jobs
        bool needs_worker = false;
    };
    /// What the outbox had no room for; one of the two is there.
    struct held_output {
        std::vector<outbound_frame> replies;  // of the strand's own
        slice control;                        // a control frame
    };

    // the opening handshake (handshake.cpp)
    [[nodiscard]] asio::awaitable<void> begin();
    void begun() noexcept;
    [[nodiscard]] asio::awaitable<bool> open();
    [[nodiscard]] asio::awaitable<bool> read_request(http::request& request, slice& rest);
    void note_failed_read(std::error_code why);
    [[nodiscard]] bool is_stream() const noexcept { return opening_ && opening_->format == wire_format::stream; }
    /// Finds out whose connection it is, if a proxy knows.
    [[nodiscard]] std::optional<refusal_reason> identify(const http::request& request);
    [[nodiscard]] std::string remote_address() const;
    /// By which the lines of the log belong together: that of the client, also before there is one.
    [[nodiscard]] uuid id() const;
    void count_refusal(refusal_reason reason, std::string_view what = {});
    [[nodiscard]] asio::awaitable<void> refuse(refusal_reason reason);
    [[nodiscard]] asio::awaitable<void> refuse(refused_handshake answer);
    [[nodiscard]] asio::awaitable<void> linger();
    void note_failed_tls(std::error_code why);
    [[nodiscard]] asio::awaitable<bool> write_all(std::string bytes);
    [[nodiscard]] asio::awaitable<bool> let_in(const http::request& request, slice rest);
    /// All checks that need no waiting; the refusal, or null once there is a client.
    [[nodiscard]] std::unique_ptr<refused_handshake> admit(const http::request& request, std::string& accept);
    [[nodiscard]] asio::awaitable<std::unique_ptr<refused_handshake>> authorize(const http::request& request);
    [[nodiscard]] asio::awaitable<std::exception_ptr> run_callback(std::function<asio::awaitable<void>()> body,
                                                                   bool cancellable = true);
    [[nodiscard]] asio::awaitable<void> connect();

    // what stays HTTP (http_serving.cpp)
    [[nodiscard]] asio::awaitable<void> serve_http(const http::request& request);
    [[nodiscard]] bool serves_metrics(const http::request& request) const;
    [[nodiscard]] asio::awaitable<void> respond_file(const http::request& request, bool head_only);
    /// The one answer of this connection begins, and is counted. False if it has had one: the drain was faster.
    [[nodiscard]] bool begin_response(http::status_code status);
    [[nodiscard]] asio::awaitable<void> respond(const http::response& response, bool head_only = false);
    [[nodiscard]] asio::awaitable<void> send_response(http::status_code status, std::string head, std::string body);

    // the opening of a stream of commands (stream_opening.cpp)
    [[nodiscard]] asio::awaitable<bool> find_language(slice& first);
    [[nodiscard]] asio::awaitable<bool> finish_tls(slice& first);
    [[nodiscard]] asio::awaitable<bool> open_stream(slice first);
    [[nodiscard]] asio::awaitable<void> say_refused(const http::response& why);

    // the open connection (session.cpp)
    [[nodiscard]] driver serve();
    void resume() noexcept;
    bool read();  // true if there was something, or an end
    void received(read_buffer& buffer, std::size_t size, std::error_code ec);
    void process(time_point now);
    void handle(message_received&& message);
    void handle(const pong_received& /*pong*/) noexcept {}
    void handle(close_received&& close);
    void handle(session_failed&& failure);
    [[nodiscard]] bool take_controls();
    [[nodiscard]] bool paused() const;
    void pause();
    void unpause();
    void woken();
    class direct_replies;
    void end_hopeless_calls();

    // what leaves (session_write.cpp)
    void flush(time_point now);
    [[nodiscard]] outbox::progress note_written(std::size_t size, bool queued);
    void compress_queued();
    [[nodiscard]] bool queue_held();
    [[nodiscard]] held_output& held();
    void forget_held_if_empty() noexcept;
    void writable(std::error_code ec);
    void send_now(outbound_frame frame);

    // messages to handlers (session_dispatch.cpp)
    void dispatch_binary(slice&& message);
    void dispatch_text(slice&& message);
    void dispatch_document(jsonrpc::document document, websocket::opcode op, const slice& message);
    void settle_call(jsonrpc::message& element);
    void settle_calls(const message_received& message);
    [[nodiscard]] job& add_job(const route& target);
    [[nodiscard]] job& add_shared_job(dispatch policy);
    void submit(const route& target, websocket::opcode op, std::optional<command_id> command, slice&& payload);
    void count_messages() noexcept;
    void start_handlers();

    // the end (session_end.cpp)
    void refuse_handshake();
    void check_end_requests(time_point now);
    void answer_earlier();
    void fail(close_code code, std::string_view reason, close_initiator initiator, bool send_close);
    void lost();
    void write_failed(time_point now);
    void departing(time_point now);
    void end_sending() noexcept;
    void cut_off() noexcept;
    /// Whether the peer has ended its side. A stream of the program's may leave `ec` empty for that. WebSocket messages and
    /// HTTP requests say themselves where they end, and many peers send no close_notify: truncated is no worse.
    [[nodiscard]] static bool is_end(const std::error_code& ec) noexcept {
        return !ec || ec == asio::error::eof || ec == errc::truncated;
    }
    [[nodiscard]] bool awaits_acknowledgement() const noexcept { return send_ended_ && input_ended_ && !finished_; }
    /// For what is called from outside `run`: an exception must not leave through the executor.
    template <class Body>
    void guarded(Body body) noexcept {
        try {
            body();
        } catch (...) {
            broken();
        }
    }
    void broken() noexcept;
    void settle() noexcept;
    void begin_end(close_info info, bool at_once);
    void advance_end(time_point now);
    void end_soon() noexcept;
    [[nodiscard]] asio::awaitable<void> end();
    [[nodiscard]] asio::awaitable<void> say_goodbye();

    void expired();
    void reschedule();
    [[nodiscard]] std::optional<time_point> next_deadline() const;
    [[nodiscard]] asio::awaitable<void> wait_for_change();
    void notify_change();

    enum class phase : std::uint8_t { handshake, connecting, open, ending };

    server_context& context_;
    std::shared_ptr<shard> home_;
    std::unique_ptr<asio::any_io_executor> own_strand_;  // null where all clients of the shard have the same
    std::unique_ptr<stream> stream_;
    std::shared_ptr<client_state> state_;
    std::unique_ptr<deflate_link> deflate_;  // if the client negotiated compression
    frame_run* replies_ = nullptr;  // while handlers run on the strand: what the next write takes before all else
    phase phase_ = phase::handshake;
    bool write_blocked_ = false;
    bool strand_active_ = false;  // a runner works on strand_jobs_
    bool closing_ = false;        // our close frame is queued: nothing is dispatched any more
    bool close_noted_ = false;
    bool send_ended_ = false;
    bool finished_ = false;
    bool counted_ = false;
    bool connected_ = false;   // on_connect has run, or there is none: on_disconnect is due
    bool responding_ = false;  // an HTTP response has begun
    bool authorizing_ = false;
    bool write_failed_ : 1 = false;  // only reading goes on
    bool input_ended_ : 1 = false;   // the peer's side has ended before ours
    bool acknowledged_ : 1 = false;  // all of it, and nothing is written any more
    bool lingering_ : 1 = false;     // the peer has the time to take it
    bool reading_paused_ : 1 = false;
    bool driver_paused_ : 1 = false;  // the driver waits for a change
    std::uint32_t messages_ = 0;     // not yet counted in the shard, as the next one
    std::uint32_t jobs_ = 0;
    std::uint32_t discarded_ = 0;    // bytes read after the end has begun
    // up to here what a broadcast needs of it, for which nothing is in the processor's cache

    std::optional<session_machine> machine_;
    std::unique_ptr<opening> opening_;  // until the connection is open
    connection_gate::place place_;
    session_owner* owner_ = nullptr;
    driver driver_;
    parked_ptr change_waiter_;  // of a coroutine of Asio's
    time_point deadline_ = time_point::max();  // of the handshake, of on_connect, of a peer that leaves, of the end

    job_queue strand_jobs_;
    std::unique_ptr<serial_jobs> serial_batch_;  // made for the first one
    std::shared_ptr<burst> pool_batch_;
    std::unique_ptr<held_output> held_;  // null while nothing is held

    std::unique_ptr<close_info> close_info_;  // once it is known
};

}  // namespace kephas
