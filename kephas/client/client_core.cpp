#include <kephas/base/error.hpp>

#include <kephas/net/connect.hpp>
#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/error_codes.hpp>
#include <kephas/net/tls_context.hpp>

#include <kephas/client/client_core.hpp>
#include <kephas/client/command_stream_wire.hpp>
#include <kephas/client/datagram_connection.hpp>
#include <kephas/client/stream_connection.hpp>
#include <kephas/client/websocket_handshake.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include <random>
#include <stdexcept>
#include <utility>

namespace kephas {

namespace {

command_client_options checked(command_client_options options) {
    const auto check = [](bool good, const char* what) {
        if (!good) throw std::invalid_argument{what};
    };
    check(options.max_queued_messages > 0, "max_queued_messages is zero: nothing could be sent");
    check(options.max_received_messages > 0, "max_received_messages is zero: nothing could be received");
    check(options.max_message > 0, "max_message is zero: nothing could be received");
    const deflate_options& deflate = options.deflate;
    const auto window = [](int bits) { return bits >= 8 && bits <= 15; };
    check(window(deflate.server_max_window_bits) && window(deflate.client_max_window_bits), "a deflate window has 8 to 15 bits");
    check(deflate.level >= 1 && deflate.level <= 9 && deflate.memory_level >= 1 && deflate.memory_level <= 9,
          "deflate levels are 1 to 9");
    for (const std::string& name : options.subprotocols) check(http::is_token(name), "a subprotocol is not a token");
    for (const http::header& each : options.headers) check(http::is_token(each.name), "the name of a header is not a token");
    if (!options.random) {
        options.random = [state = std::uint64_t{std::random_device{}()} << 32U | std::random_device{}()]() mutable {
            std::uint64_t value = state += 0x9E3779B97F4A7C15U;  // SplitMix64
            value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
            value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
            return value ^ (value >> 31U);
        };
    }
    return options;
}

session_options limits_of(const command_client_options& options) {
    return {.max_binary_message = options.max_message + command_id_size,
            .max_text_message = options.max_message,
            .messages_per_second = 0,
            .read_timeout = options.read_timeout,
            .ping_interval = options.ping_interval,
            .write_timeout = options.write_timeout,
            .message_timeout = options.message_timeout,
            .close_timeout = options.close_timeout};
}

/// Why an attempt has failed, for the policy and for `connect`.
connection_end end_of(const std::exception_ptr& failure) {
    connection_end end;
    try {
        std::rethrow_exception(failure);
    } catch (const handshake_refused& refused) {
        end.by = connection_end::ended_by::server;
        end.status = refused.status();
        end.retry_after = refused.retry_after();
        end.error = refused.code();
    } catch (const std::system_error& failed) {
        end.error = unified(failed.code());
        if (end.error == errc::invalid_handshake) {
            end.by = connection_end::ended_by::client;
            end.code = close_code::protocol_error;
            const std::string_view what = failed.what();
            end.reason = what.substr(0, what.rfind(": " + failed.code().message()));
        } else if (end.error == condition::unauthorized || end.error.category() == tls_category()) {
            end.code = close_code::tls_handshake;
        }
    } catch (const std::exception&) {  // of the program's transport
        end.error = std::make_error_code(std::errc::io_error);
    }
    return end;
}

void throw_end(const connection_end& end, const std::string& where) {
    if (end.status != 0) {
        throw handshake_refused{end.status, end.retry_after, "the opening handshake of " + where};
    }
    const bool detailed = end.error == errc::invalid_handshake && !end.reason.empty();
    throw error{end.error ? end.error : make_error_code(errc::closed), detailed ? where + ": " + end.reason : where};
}

}  // namespace

/// One attempt to connect, which `run` waits for and others may end.
struct client_core::attempt {
    asio::cancellation_signal signal;
    std::shared_ptr<client_connection> opened;
    std::exception_ptr failure;
    bool timed_out = false;
    bool done = false;
};

client_core::client_core(asio::any_io_executor executor, client_url url, command_client_options options)
    : executor_{std::move(executor)},
      url_{std::move(url)},
      options_{checked(std::move(options))},
      policy_{options_.reconnect},
      signal_{executor_},
      queue_{options_.max_queued_messages, options_.max_queued_bytes} {
    if (url_.where.tls) tls_ = std::make_shared<const tls_client_context>(options_.tls);
}

/// A connection gives back what has not left: everything that this needs has to be there still.
client_core::~client_core() { connection_.reset(); }

client_handlers& client_core::handlers() {
    const std::lock_guard lock{mutex_};
    if (state_ != link_state::idle) throw std::logic_error{"handlers are registered before connect()"};
    return handlers_;
}

link_state client_core::state() const {
    const std::lock_guard lock{mutex_};
    return state_;
}

std::string client_core::subprotocol() const {
    const std::lock_guard lock{mutex_};
    return subprotocol_;
}

client_stats client_core::stats() const {
    const std::lock_guard lock{mutex_};
    client_stats stats = stats_;
    stats.messages_queued = queue_.messages();
    stats.bytes_queued = queue_.bytes();
    return stats;
}

asio::awaitable<void> client_core::connect(std::shared_ptr<client_core> self) {
    bool begun = false;
    {
        const std::lock_guard lock{self->mutex_};
        if (self->abandoned_) throw error{errc::closed};
        if (self->state_ == link_state::idle || self->state_ == link_state::closed) {
            begun = true;
            self->state_ = link_state::connecting;
            self->closing_ = self->told_closed_ = false;
            self->order_.reset();
        }
    }
    if (begun) asio::post(self->executor_, [self] { self->start(); });
    std::error_code ec;
    const auto failed = std::make_shared<std::optional<connection_end>>();
    co_await park(
        [&](parked_ptr who) {
            const std::lock_guard lock{self->mutex_};
            if (self->state_ == link_state::closed) *failed = self->end_;
            if (self->state_ == link_state::connected || self->state_ == link_state::closed) return false;
            add_waiter(self->connect_waiters_, {std::move(who), failed});
            return true;
        },
        ec);
    if (ec) {
        if (begun) self->close({close_code::going_away, "connect was cancelled", true});
        throw std::system_error{ec};
    }
    if (*failed) throw_end(**failed, to_string(self->url_.where));
}

void client_core::start() {
    was_connected_ = false;
    policy_ = reconnection{options_.reconnect};
    change(link_state::connecting, 1, {}, {});
    asio::co_spawn(executor_, run(), [self = shared_from_this()](const std::exception_ptr& failure) {
        if (!failure) return;
        self->note_failure(failure, "the client");  // there was no memory
        {
            const std::lock_guard lock{self->mutex_};
            self->closing_ = true;
            self->end_waits_locked(errc::closed);
            self->make_room_locked();
        }
        self->finished({.error = std::make_error_code(std::errc::not_enough_memory)});
    });
}

asio::awaitable<void> client_core::run() {
    const auto self = shared_from_this();
    connection_end end;
    while (!ending()) {
        end = {};
        auto fresh = co_await open_once(end);
        if (fresh) {
            auto running = run_connection(std::move(fresh));
            end = co_await std::move(running);
        }
        if (ending()) break;
        if (!was_connected_ && !options_.retry_first_connect) break;
        const auto delay = next_delay(end);
        if (!delay) break;
        change(was_connected_ ? link_state::reconnecting : link_state::connecting, policy_.attempts(), *delay, end);
        const time_point until = clock::now() + *delay;
        while (!ending() && clock::now() < until) co_await signal_.wait(until);
    }
    {
        const std::lock_guard lock{mutex_};
        if (order_ && end.by != connection_end::ended_by::server) {
            end = {.by = connection_end::ended_by::client, .code = order_->code, .reason = order_->reason, .clean = end.clean};
        }
    }
    auto finishing = finish(std::move(end));
    co_await std::move(finishing);
}

/// Null, and the reason, if it fails.
asio::awaitable<std::shared_ptr<client_connection>> client_core::open_once(connection_end& failure) {
    const auto self = shared_from_this();
    const auto current = std::make_shared<attempt>();
    const time_point deadline =
        options_.connect_timeout > duration::zero() ? clock::now() + options_.connect_timeout : time_point::max();
    const auto joined = [self, current](const std::exception_ptr& thrown, std::shared_ptr<client_connection> opened) {
        current->failure = thrown;
        current->opened = std::move(opened);
        current->done = true;
        self->signal_.signal();
    };
    asio::co_spawn(executor_, open(deadline), asio::bind_cancellation_slot(current->signal.slot(), joined));
    bool cancelled = false;
    while (!current->done) {
        co_await signal_.wait(cancelled ? time_point::max() : deadline);
        if (current->done || cancelled) continue;
        current->timed_out = clock::now() >= deadline;
        cancelled = current->timed_out || ending();
        if (cancelled) current->signal.emit(asio::cancellation_type::terminal);
    }
    if (current->opened) co_return std::move(current->opened);
    failure = end_of(current->failure);
    if (current->timed_out) failure = {.error = make_error_code(errc::timed_out)};
    {
        const std::lock_guard lock{mutex_};
        ++stats_.failed_attempts;
    }
    options_.log.info("no connection to {}: {}{}{}", to_string(url_.where), failure.error.message(),
                      failure.reason.empty() ? "" : ": ", escaped(failure.reason));
    co_return nullptr;
}

asio::awaitable<std::shared_ptr<client_connection>> client_core::open(time_point deadline) {
    const auto self = shared_from_this();
    if (url_.speaks == client_url::protocol::datagram) {
        auto connecting = connect_datagram(url_.where, deadline, datagram_socket_options{.batch = 8});
        auto socket = co_await std::move(connecting);
        co_return std::make_shared<datagram_connection>(executor_, std::move(socket), !is_unix(url_.where.kind),
                                                        datagram_connection::timeouts{options_.write_timeout, options_.close_timeout});
    }
    std::unique_ptr<stream> transport;
    if (options_.transport) {
        auto connecting = options_.transport(url_.where, deadline);
        transport = co_await std::move(connecting);
        if (!transport) throw error{std::make_error_code(std::errc::not_connected)};
    } else {
        connect_options how;
        how.tls = tls_;
        auto connecting = connect_stream(url_.where, deadline, std::move(how));
        transport = co_await std::move(connecting);
    }
    const auto events = std::make_shared<event_stream>(executor_, std::move(transport));
    slice early = co_await events->finish_handshake();
    const session_options limits = limits_of(options_);
    if (url_.speaks == client_url::protocol::stream) {
        auto wire = std::make_unique<command_stream_wire>(limits, clock::now(), is_unix(url_.where.kind));
        co_return std::make_shared<stream_connection>(events, std::move(wire), std::move(early), std::string{},
                                                      options_.close_timeout);
    }
    opened_websocket opened = co_await open_websocket(*events, url_, options_, limits);
    co_return std::make_shared<stream_connection>(events, std::move(opened.wire), std::move(opened.early),
                                                  std::move(opened.subprotocol), options_.close_timeout);
}

asio::awaitable<connection_end> client_core::run_connection(std::shared_ptr<client_connection> fresh) {
    connection_ = std::move(fresh);
    give_up_.reset();
    {
        const std::lock_guard lock{mutex_};
        ++generation_;
        ++stats_.connections;
        link_up_ = true;
        subprotocol_ = connection_->subprotocol();
    }
    start_hooks();
    connection_end end;
    try {
        end = co_await connection_->run(*this);
    } catch (const std::exception& failure) {  // a stream of the program's, or no memory
        options_.log.error("a connection ended with an exception: {}", failure.what());
        end.error = std::make_error_code(std::errc::io_error);
    }
    if (give_up_ && end.by == connection_end::ended_by::client) end.reason = "on_connected has failed";
    connection_.reset();
    lose(end);
    co_return end;
}

void client_core::start_hooks() {
    const bool any = handlers_.connected || (generation_ > 1 && handlers_.reconnected);
    if (!any || abandoned_) return ready();
    if (options_.hook_timeout > duration::zero()) {
        hook_timer_ = std::make_unique<steady_timer>(executor_, options_.hook_timeout);
        hook_timer_->async_wait([self = shared_from_this(), hooked = generation_](std::error_code ec) {
            if (!ec && self->hook_task_ && self->generation_ == hooked) {
                self->hook_task_->signal.emit(asio::cancellation_type::terminal);
            }
        });
    }
    hook_task_ = std::make_shared<task>();
    start_task(hook_task_, run_hooks(fresh_link{shared_from_this(), generation_}),
               [self = shared_from_this(), hooked = generation_](const std::exception_ptr& failure) {
        if (self->generation_ == hooked && self->connection_) self->hooks_ended(failure);
    });
}

asio::awaitable<void> client_core::run_hooks(fresh_link link) {
    if (handlers_.connected) {
        auto running = handlers_.connected(link);
        co_await std::move(running);
    }
    if (link.reconnected() && handlers_.reconnected) {
        auto running = handlers_.reconnected(link);
        co_await std::move(running);
    }
}

void client_core::hooks_ended(const std::exception_ptr& failure) {
    hook_task_.reset();
    hook_timer_.reset();
    if (!failure) return ready();
    note_failure(failure, "on_connected");
    give_up_ = close_order{close_code::going_away, {}};
    connection_->wake();
}

void client_core::ready() {
    {
        const std::lock_guard lock{mutex_};
        lane_open_ = true;
        make_room_locked();
    }
    was_connected_ = true;
    policy_.connected(clock::now());
    change(link_state::connected, 0, {}, {});
    if (connection_) connection_->wake();
}

void client_core::lose(const connection_end& end) {
    hook_timer_.reset();
    if (const auto hook = std::exchange(hook_task_, nullptr)) hook->signal.emit(asio::cancellation_type::terminal);
    options_.log.info("connection to {} ended: code={} reason=\"{}\"", to_string(url_.where), static_cast<unsigned>(end.code),
                      escaped(end.reason));
    const std::lock_guard lock{mutex_};
    link_up_ = lane_open_ = false;
    subprotocol_.clear();
    stats_.messages_dropped += queue_.drop_bound();
    if (options_.outbound == while_disconnected::refuse) stats_.messages_dropped += queue_.clear();
    end_waits_locked(errc::closed);
    make_room_locked();
}

std::optional<duration> client_core::next_delay(const connection_end& end) {
    try {
        return policy_.ended(end, clock::now(), options_.random());
    } catch (...) {
        note_failure(std::current_exception(), "reconnect.decide");
        return std::nullopt;
    }
}

asio::awaitable<void> client_core::finish(connection_end end) {
    const auto self = shared_from_this();
    {
        const std::lock_guard lock{mutex_};
        closing_ = true;
        stats_.messages_dropped += queue_.clear();
        end_waits_locked(errc::closed);
        make_room_locked();
        // What nobody has begun to handle is not handled any more.
        for (const job& each : jobs_) {
            let_go_locked(each.message.bytes.size());
            ++stats_.messages_unhandled;
        }
    }
    jobs_.clear();
    const auto running = tasks_;
    for (const auto& each : running) each->signal.emit(asio::cancellation_type::terminal);
    while (!tasks_.empty()) co_await signal_.wait();
    finished(end);
}

void client_core::finished(const connection_end& end) {
    std::vector<end_waiter> waiters;  // for this end, even if the callback begins anew
    {
        const std::lock_guard lock{mutex_};
        end_ = end;
        waiters.swap(close_waiters_);
    }
    change(link_state::closed, 0, {}, end);
    const std::lock_guard lock{mutex_};
    resume_all(waiters, end);
    if (state_ == link_state::closed) {
        told_closed_ = true;
        resume_all(close_waiters_, end);
    }
    for (const parked_ptr& each : receivers_) each->resume();
    receivers_.clear();
}

void client_core::change(link_state now, std::uint32_t count, duration delay, const connection_end& why) {
    link_change what{.now = now, .attempt = count, .delay = delay, .why = why};
    {
        const std::lock_guard lock{mutex_};
        what.before = std::exchange(told_, now);
        state_ = now;
        if (now == link_state::connected || now == link_state::closed) {
            resume_all(connect_waiters_, now == link_state::closed ? std::optional{why} : std::nullopt);
        }
    }
    if (!handlers_.state || abandoned_) return;
    try {
        handlers_.state(what);
    } catch (...) {
        note_failure(std::current_exception(), "on_state");
    }
}

bool client_core::ending() const {
    const std::lock_guard lock{mutex_};
    return closing_ || order_.has_value();
}

void client_core::close(close_order order) {
    {
        const std::lock_guard lock{mutex_};
        if (state_ == link_state::idle || state_ == link_state::closed) return;
        if (order_ && (order_->at_once || !order.at_once)) return;  // the first one counts, unless there is no time any more
        order.reason = fitting_reason(order.reason);
        order_ = std::move(order);
        make_room_locked();
    }
    wake();
}

void client_core::abandon() noexcept {
    abandoned_ = true;
    try {
        close({close_code::going_away, {}, true});
        const std::lock_guard lock{mutex_};
        end_waits_locked(errc::closed);
        for (auto* const waiters : {&connect_waiters_, &close_waiters_}) {
            for (const end_waiter& each : *waiters) each.who->resume(make_error_code(errc::closed));
            waiters->clear();
        }
        for (const parked_ptr& each : receivers_) each->resume(make_error_code(errc::closed));
        receivers_.clear();
        closing_ = true;
        make_room_locked();
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory to end it with; the context will
    }
}

/// Any thread.
void client_core::wake() noexcept {
    if (wake_posted_.exchange(true)) return;
    try {
        asio::post(executor_, [self = shared_from_this()] {
            self->wake_posted_ = false;
            self->woken();
        });
    } catch (...) {
        wake_posted_ = false;
    }
}

void client_core::woken() {
    if (connection_) connection_->wake();
    else signal_.signal();
}

asio::awaitable<connection_end> client_core::closed(std::shared_ptr<client_core> self) {
    std::error_code ec;
    const auto end = std::make_shared<std::optional<connection_end>>();
    co_await park(
        [&](parked_ptr who) {
            const std::lock_guard lock{self->mutex_};
            const bool told = self->state_ == link_state::closed && self->told_closed_;
            if (told || self->state_ == link_state::idle) {
                *end = self->end_;
                return false;
            }
            add_waiter(self->close_waiters_, {std::move(who), end});
            return true;
        },
        ec);
    if (ec) throw std::system_error{ec};
    co_return std::move(**end);
}

void client_core::start_task(const std::shared_ptr<task>& fresh, asio::awaitable<void> body,
                             std::function<void(const std::exception_ptr&)> ended) {
    tasks_.insert(fresh);
    const auto done = [self = shared_from_this(), fresh, ended = std::move(ended)](const std::exception_ptr& failure) {
        self->tasks_.erase(fresh);
        ended(failure);
        if (self->tasks_.empty()) self->signal_.signal();
    };
    asio::co_spawn(executor_, std::move(body), asio::bind_cancellation_slot(fresh->signal.slot(), done));
}

void client_core::note_failure(const std::exception_ptr& failure, std::string_view of) noexcept {
    try {
        const char* what = "an exception that is no std::exception";
        try {
            std::rethrow_exception(failure);
        } catch (const std::system_error& error) {
            if (error.code() == asio::error::operation_aborted && ending()) return;  // it was told to end
            what = error.what();
            options_.log.error("{} failed: {}", of, what);
        } catch (const std::exception& error) {
            what = error.what();
            options_.log.error("{} failed: {}", of, what);
        } catch (...) {
            options_.log.error("{} failed: {}", of, what);
        }
        const std::lock_guard lock{mutex_};
        ++stats_.handlers_failed;
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory to say so
    }
}

}  // namespace kephas
