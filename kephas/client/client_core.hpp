#pragma once

#include <kephas/proto/jsonrpc/message.hpp>
#include <kephas/proto/jsonrpc/pending_calls.hpp>
#include <kephas/proto/session/reconnection.hpp>

#include <kephas/net/parked.hpp>
#include <kephas/net/steady_timer.hpp>

#include <kephas/client/client_connection.hpp>
#include <kephas/client/command_client.hpp>
#include <kephas/client/outgoing_queue.hpp>
#include <kephas/client/url.hpp>
#include <kephas/client/wake_signal.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_signal.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace kephas {

/// What the user of a client has registered. Fixed once it connects.
struct client_handlers {
    using message_handler = std::function<asio::awaitable<std::optional<payload>>(client_message)>;
    using rpc_handler = std::function<asio::awaitable<json>(json)>;
    using hook = std::function<asio::awaitable<void>(fresh_link)>;

    std::unordered_map<std::uint32_t, message_handler> commands;
    message_handler text;
    std::unordered_map<std::string, rpc_handler> methods;
    hook connected;
    hook reconnected;
    std::function<void(const link_change&)> state;
};

/// A client behind its handle: the state that any thread uses, under one mutex, and the coroutine on the executor that
/// connects, runs the connection, and comes back.
///
/// Whoever waits for longer than a moment (a timer, a socket, a handler) is owned by the context of the executor, so that a
/// context that ends takes everything along.
class client_core final : public std::enable_shared_from_this<client_core>, private connection_owner {
public:
    client_core(asio::any_io_executor executor, client_url url, command_client_options options);
    ~client_core();

    /// Throws `std::logic_error` once it is too late.
    [[nodiscard]] client_handlers& handlers();
    [[nodiscard]] const command_client_options& options() const noexcept { return options_; }

    // Any thread. Coroutines hold the core themselves. `generation`: 0, or the connection that is meant.
    [[nodiscard]] static asio::awaitable<void> connect(std::shared_ptr<client_core> self);
    [[nodiscard]] static asio::awaitable<void> send(std::shared_ptr<client_core> self, outgoing message);
    [[nodiscard]] std::error_code try_send(outgoing message);
    [[nodiscard]] static asio::awaitable<void> drained(std::shared_ptr<client_core> self);
    [[nodiscard]] static asio::awaitable<json> call(std::shared_ptr<client_core> self, std::string method, json params,
                                                    duration timeout, std::uint64_t generation);
    [[nodiscard]] static asio::awaitable<client_message> request(std::shared_ptr<client_core> self, command_id id, payload body,
                                                                 duration timeout, std::uint64_t generation);
    [[nodiscard]] static asio::awaitable<std::optional<client_message>> receive(std::shared_ptr<client_core> self);
    [[nodiscard]] static asio::awaitable<connection_end> closed(std::shared_ptr<client_core> self);
    void close(close_order order);
    /// The handle is gone: nothing of the user's begins any more.
    void abandon() noexcept;

    [[nodiscard]] link_state state() const;
    [[nodiscard]] std::string subprotocol() const;
    [[nodiscard]] client_stats stats() const;

private:
    /// A command whose reply somebody waits for. `number` is what its `outgoing` carries.
    using pending_call = jsonrpc::pending_call<parked_ptr>;
    /// A call whose result is a message.
    struct pending_request : pending_call {
        std::uint64_t number = 0;
        bool sent = false;
        client_message reply;
    };
    struct room_waiter {
        parked_ptr who;
        std::optional<std::size_t> size;  // none: until nothing is queued
        bool bound;        // to a connection
    };
    /// Of `connect` and `closed`: each has an outcome of its own, since the client may have begun anew when it goes on.
    struct end_waiter {
        parked_ptr who;
        std::shared_ptr<std::optional<connection_end>> end;
    };
    static void add_waiter(std::vector<end_waiter>& all, end_waiter fresh) {
        std::erase_if(all, [](const end_waiter& each) { return each.who->resumed(); });
        all.push_back(std::move(fresh));
    }
    static void resume_all(std::vector<end_waiter>& all, const std::optional<connection_end>& end) {
        for (const end_waiter& each : all) {
            *each.end = end;
            each.who->resume();
        }
        all.clear();
    }
    /// What is to be handled, one after the other.
    struct job {
        const client_handlers::message_handler* handler;
        client_message message;
        std::uint64_t generation;
    };
    /// A coroutine of the user's.
    struct task {
        asio::cancellation_signal signal;
    };
    struct attempt;
    /// Those that were cancelled make room.
    template <class Waiters>
    static void add_waiter(Waiters& all, parked_ptr who) {
        std::erase_if(all, [](const parked_ptr& each) { return each->resumed(); });
        all.push_back(std::move(who));
    }

    // client_core.cpp: the life of the client, on the executor
    void start();
    [[nodiscard]] asio::awaitable<void> run();
    [[nodiscard]] asio::awaitable<std::shared_ptr<client_connection>> open_once(connection_end& failure);
    [[nodiscard]] asio::awaitable<std::shared_ptr<client_connection>> open(time_point deadline);
    [[nodiscard]] asio::awaitable<connection_end> run_connection(std::shared_ptr<client_connection> fresh);
    void start_hooks();
    [[nodiscard]] asio::awaitable<void> run_hooks(fresh_link link);
    void hooks_ended(const std::exception_ptr& failure);
    void ready();
    void lose(const connection_end& end);
    [[nodiscard]] std::optional<duration> next_delay(const connection_end& end);
    [[nodiscard]] asio::awaitable<void> finish(connection_end end);
    void finished(const connection_end& end);
    void change(link_state now, std::uint32_t count, duration delay, const connection_end& why);
    void wake() noexcept;
    void woken();
    [[nodiscard]] bool ending() const;
    void start_task(const std::shared_ptr<task>& fresh, asio::awaitable<void> body,
                    std::function<void(const std::exception_ptr&)> ended);
    void note_failure(const std::exception_ptr& failure, std::string_view of) noexcept;

    // client_outbound.cpp: what is sent
    [[nodiscard]] std::error_code push_locked(outgoing& message);
    /// What belongs to a connection that is being prepared leaves first, and does not wait for the room of what may not leave.
    [[nodiscard]] bool has_room_locked(std::size_t size, bool bound) const { return queue_.has_room(size, bound && !lane_open_); }
    /// Stores who waits for an answer, with the lock held, or returns false: it is there already, nothing is to be sent.
    using wait_for_answer = std::function<bool(const parked_ptr&)>;
    [[nodiscard]] static asio::awaitable<void> send_and_wait(std::shared_ptr<client_core> self,
                                                             std::shared_ptr<pending_call> pending, outgoing message);
    [[nodiscard]] static asio::awaitable<void> push_when_room(std::shared_ptr<client_core> self, wait_for_answer also,
                                                              outgoing message);
    void make_room_locked();
    void await_room_locked(room_waiter waiter);
    /// Messages would have to wait for a connection, which they are not to.
    [[nodiscard]] bool refusing_locked() const noexcept {
        return (state_ != link_state::connected || !link_up_) && options_.outbound == while_disconnected::refuse;
    }
    void end_waits_locked(std::error_code why);
    [[nodiscard]] std::optional<outgoing> take_outgoing() override;
    void sent(outgoing&& message) override;
    void not_sent(outgoing&& message) override;
    void dropped(outgoing&& message, std::error_code why) override;
    void unreachable(std::error_code why) override;
    void count_bytes(std::size_t received, std::size_t sent) override;
    [[nodiscard]] const close_order* close_ordered() override;
    void end_call(std::uint64_t id, std::error_code why);
    void note_sent_locked(command_id id, std::uint64_t number);
    void end_request(command_id id, std::uint64_t number, std::error_code why);
    bool end_request_locked(command_id id, std::uint64_t number, std::error_code why);
    [[nodiscard]] static std::uint64_t waiter_of_call(std::uint64_t id) noexcept { return id << 1U; }
    [[nodiscard]] static std::uint64_t waiter_of_request(std::uint64_t number) noexcept { return number << 1U | 1U; }

    // client_inbound.cpp: what is received
    [[nodiscard]] bool has_room() override;
    void received(std::optional<command_id> command, slice payload) override;
    /// The oldest request for `id` that was sent, which waits no longer; null: there is none. With the lock held.
    [[nodiscard]] std::shared_ptr<pending_request> take_oldest_locked(std::uint32_t id);
    [[nodiscard]] bool settle_request(command_id id, slice& payload);
    void take_document(jsonrpc::document document, bool binary, client_message original);
    /// False: it is an error that nobody waits for.
    [[nodiscard]] bool take_response(jsonrpc::response&& response);
    [[nodiscard]] bool settle_command_error(const jsonrpc::error_object& error);
    void take_call(jsonrpc::request&& request, bool binary, std::size_t size);
    [[nodiscard]] asio::awaitable<void> run_call(const client_handlers::rpc_handler* handler, jsonrpc::request request, bool binary,
                                                 std::uint64_t generation);
    void reply(outgoing message);
    void add_job(const client_handlers::message_handler& handler, client_message message);
    [[nodiscard]] asio::awaitable<void> run_jobs();
    void keep(client_message message);
    /// Something of so many bytes waits here, or does no longer: it costs more than its bytes, of which there may be none.
    void hold_locked(std::size_t bytes) noexcept;
    void let_go_locked(std::size_t bytes) noexcept;
    void handled(std::size_t bytes);

    const asio::any_io_executor executor_;
    const client_url url_;
    const command_client_options options_;
    std::shared_ptr<const tls_client_context> tls_;
    client_handlers handlers_;
    std::atomic<bool> abandoned_{false};
    std::atomic<bool> wake_posted_{false};

    // On the executor.
    reconnection policy_;
    wake_signal signal_;  // what `run` waits for
    link_state told_ = link_state::idle;
    std::shared_ptr<client_connection> connection_;
    std::unordered_set<std::shared_ptr<task>> tasks_;
    std::shared_ptr<task> hook_task_;
    std::unique_ptr<steady_timer> hook_timer_;
    std::deque<job> jobs_;
    bool jobs_running_ = false;
    bool was_connected_ = false;           // since `connect`
    std::optional<close_order> give_up_;   // the present connection, not the client
    std::optional<close_order> obeyed_;    // what the connection is told; stays while it looks

    // Any thread.
    mutable std::mutex mutex_;
    link_state state_ = link_state::idle;
    bool closing_ = false;                 // nothing is taken any more
    std::optional<close_order> order_;
    bool lane_open_ = false;               // more than what is urgent may leave
    std::uint64_t generation_ = 0;         // of the present connection, or the last one
    bool link_up_ = false;                 // there is a connection of that generation
    std::string subprotocol_;
    connection_end end_{};                 // of the client
    outgoing_queue queue_;
    jsonrpc::pending_calls<parked_ptr> calls_;
    // Of each command: those that were sent, in that order, and those that were not.
    std::unordered_map<std::uint32_t, std::deque<std::shared_ptr<pending_request>>> requests_;
    std::size_t requests_pending_ = 0;
    std::uint64_t last_request_ = 0;
    std::vector<room_waiter> room_waiters_;
    std::deque<client_message> inbox_;
    std::deque<parked_ptr> receivers_;
    std::size_t received_messages_ = 0;    // in the inbox, or with handlers; calls of the server's, answers without room
    std::size_t received_bytes_ = 0;       // of those, with what each costs besides
    bool starved_ = false;                 // reading has stopped for want of room
    std::vector<end_waiter> connect_waiters_;
    std::vector<end_waiter> close_waiters_;
    bool told_closed_ = false;             // the callback has returned
    client_stats stats_;
};

}  // namespace kephas
