#include <kephas/base/error.hpp>

#include <kephas/net/datagram_server.hpp>
#include <kephas/net/parked.hpp>
#include <kephas/net/resolve.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace kephas {

void datagram_server_options::validate() const {
    socket.validate();
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::invalid_argument{what};
    };
    require(drain_timeout >= duration::zero(), "drain_timeout is negative");
    require((access.mode & ~mode_t{0777}) == 0, "access.mode has bits that are no rights of a file");
}

class datagram_server::implementation : public std::enable_shared_from_this<implementation> {
public:
    implementation(address where, handler serve, datagram_server_options options, asio::io_context* context)
        : where_{std::move(where)}, handler_{std::move(serve)}, options_{std::move(options)}, embedding_{context} {
        options_.validate();
        if (!handler_) throw std::invalid_argument{"a server needs a handler"};
        const auto refuse = [this](const char* why) {
            throw error{errc::invalid_address, fmt::format("\"{}\": {}", to_string(where_), why)};
        };
        if (!is_datagram(where_.kind)) refuse("streams have a server of their own");
        if (where_.tls) refuse("there is no TLS for datagrams");
        if (context == nullptr) owned_.emplace(1);
    }

    void listen();
    bool run();
    asio::awaitable<bool> serve();
    void shutdown(time_point deadline);

    [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }
    [[nodiscard]] bool gone() const noexcept { return gone_.load(std::memory_order_acquire); }
    [[nodiscard]] std::string local_address() const {
        const std::lock_guard lock{mutex_};
        return local_address_;
    }

private:
    /// The socket and its handler, on their executor.
    struct live {
        live(const asio::any_io_executor& executor, const address& where, const datagram_server_options& options)
            : socket{executor, where, options.socket, options.access} {}
        datagram_socket socket;
        asio::cancellation_signal cancel;
    };

    void begin();
    [[nodiscard]] asio::awaitable<bool> serve_once();
    [[nodiscard]] asio::awaitable<void> run_handler(std::shared_ptr<live> who);
    void handler_ended(const std::shared_ptr<live>& who, const std::exception_ptr& failure);
    [[nodiscard]] asio::awaitable<void> wait_for_shutdown();
    [[nodiscard]] asio::awaitable<bool> wait_for_end(bool whatever_it_takes);
    [[nodiscard]] bool ending() const {
        const std::lock_guard lock{mutex_};
        return deadline_.has_value();
    }
    template <class What>
    void on_its_thread(What what) const {
        asio::post(live_->socket.get_executor(), [who = live_, what] { what(*who); });
    }
    void tell_failure(const std::exception_ptr& failure) noexcept;
    void say(const std::string& what);
    template <class Callback>
    void guarded(const char* what, Callback callback) noexcept;
    void resume_waiter_locked() {
        if (waiter_) std::exchange(waiter_, nullptr)->resume();
    }

    const address where_;
    const handler handler_;
    datagram_server_options options_;
    asio::io_context* const embedding_;  // the program's, or null
    std::optional<asio::io_context> owned_;

    std::atomic<bool> begun_{false};
    std::atomic<bool> running_{false};
    std::atomic<bool> gone_{false};

    mutable std::mutex mutex_;
    std::shared_ptr<live> live_;
    std::string local_address_;
    bool handling_ = false;  // the handler has not ended
    bool failed_ = false;    // because of what it has thrown
    std::optional<time_point> deadline_;  // of the shutdown
    parked_ptr waiter_;                   // of serve_once
};

template <class Callback>
void datagram_server::implementation::guarded(const char* what, Callback callback) noexcept {
    try {
        callback();
    } catch (const std::exception& failure) {
        options_.log.error("{} has thrown: {}", what, failure.what());
    } catch (...) {
        options_.log.error("{} has thrown", what);
    }
}

void datagram_server::implementation::say(const std::string& what) {
    options_.log.info("{}", what);
    if (options_.on_message) guarded("on_message", [&] { options_.on_message(what); });
}

void datagram_server::implementation::tell_failure(const std::exception_ptr& failure) noexcept {
    if (options_.on_error) guarded("on_error", [&] { options_.on_error(failure); });
    else guarded("the handler of datagrams", [&] { std::rethrow_exception(failure); });
}

void datagram_server::implementation::listen() {
    std::string text;
    {
        const std::lock_guard lock{mutex_};
        if (live_ || gone()) return;
        asio::any_io_executor executor;
        if (owned_) executor = owned_->get_executor();
        else executor = asio::make_strand(*embedding_);
        live_ = std::make_shared<live>(executor, where_, options_);
        local_address_ = live_->socket.local_address();
        text = fmt::format("listening on {}://{}", to_string(where_.kind), local_address_);
    }
    say(text);
}

void datagram_server::implementation::begin() {
    if (begun_.exchange(true)) throw error{errc::already_running};
    try {
        listen();
    } catch (...) {
        begun_ = false;  // nothing has begun: once the address is free it may
        throw;
    }
}

bool datagram_server::implementation::run() {
    if (!owned_) throw std::logic_error{"run() is for a server with a thread of its own: await serve()"};
    begin();
    bool clean = false;
    std::exception_ptr failure;
    asio::signal_set signals{*owned_, SIGINT, SIGTERM};
    bool again = false;
    std::function<void(std::error_code, int)> on_signal = [&](std::error_code ec, int /*number*/) {
        if (ec) return;
        if (std::exchange(again, true)) shutdown(time_point::min());
        else shutdown(clock::now() + options_.drain_timeout);
        signals.async_wait(on_signal);
    };
    signals.async_wait(on_signal);
    asio::co_spawn(*owned_, serve_once(), [&](std::exception_ptr thrown, bool outcome) {
        failure = std::move(thrown);
        clean = outcome;
        signals.cancel();
    });
    owned_->run();
    if (failure) std::rethrow_exception(failure);
    return clean;
}

asio::awaitable<bool> datagram_server::implementation::serve() {
    if (owned_) throw std::logic_error{"serve() is for a server in a context of the program's: call run()"};
    begin();
    co_return co_await serve_once();
}

asio::awaitable<bool> datagram_server::implementation::serve_once() {
    // A cancellation is a wish, not an error: it never throws here, whenever it comes.
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    const auto before = (co_await asio::this_coro::cancellation_state).cancelled();
    if (before != asio::cancellation_type::none) shutdown(clock::now() + options_.drain_timeout);
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    handling_ = true;  // nobody else looks before the handler has begun
    running_.store(true, std::memory_order_release);
    auto ended = [self = shared_from_this(), who = live_](const std::exception_ptr& failure) { self->handler_ended(who, failure); };
    asio::co_spawn(live_->socket.get_executor(), run_handler(live_),
                   asio::bind_cancellation_slot(live_->cancel.slot(), std::move(ended)));
    co_await wait_for_shutdown();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    running_.store(false, std::memory_order_release);
    on_its_thread([](live& which) { which.socket.stop_receiving(); });
    bool clean = co_await wait_for_end(false);
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    if (!clean) {
        on_its_thread([](live& which) {
            which.socket.close();
            which.cancel.emit(asio::cancellation_type::terminal);
        });
        (void)co_await wait_for_end(true);
    }
    co_await asio::this_coro::throw_if_cancelled(throws);
    {
        const std::lock_guard lock{mutex_};
        if (failed_) clean = false;
        on_its_thread([](live& /*where it may end*/) {});
        live_ = nullptr;
        gone_.store(true, std::memory_order_release);
    }
    say(fmt::format("not listening on {} any more", local_address()));
    co_return clean;
}

asio::awaitable<void> datagram_server::implementation::run_handler(std::shared_ptr<live> who) {
    const auto returned = [&] { return who->socket.counters().received - who->socket.pending(); };
    for (;;) {
        const std::uint64_t before = returned();
        std::exception_ptr failure;
        try {
            co_await handler_(who->socket);
        } catch (...) {
            failure = std::current_exception();
        }
        if (!failure) {
            co_await who->socket.flush();
            co_return;
        }
        if (!who->socket.is_open()) co_return;  // that is why
        tell_failure(failure);
        const bool in_vain = returned() == before;
        if (in_vain || ending()) {
            const std::lock_guard lock{mutex_};
            failed_ = true;
            co_return;
        }
    }
}

/// On the executor of the socket.
void datagram_server::implementation::handler_ended(const std::shared_ptr<live>& who, const std::exception_ptr& failure) {
    if (failure && who->socket.is_open()) tell_failure(failure);
    who->socket.close();
    const std::lock_guard lock{mutex_};
    handling_ = false;
    resume_waiter_locked();
}

void datagram_server::implementation::shutdown(time_point deadline) {
    const std::lock_guard lock{mutex_};
    deadline_ = std::min(deadline_.value_or(time_point::max()), deadline);
    resume_waiter_locked();
}

/// Or for the end of the handler.
asio::awaitable<void> datagram_server::implementation::wait_for_shutdown() {
    std::error_code ec;
    co_await park(
        [this](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            if (deadline_ || !handling_) return false;
            waiter_ = std::move(who);
            return true;
        },
        ec);
    const std::lock_guard lock{mutex_};
    waiter_ = nullptr;
    if (!deadline_) deadline_ = clock::now() + options_.drain_timeout;  // it was cancelled, or has ended
}

/// False if the deadline passes before.
asio::awaitable<bool> datagram_server::implementation::wait_for_end(bool whatever_it_takes) {
    steady_timer timer{co_await asio::this_coro::executor};
    for (;;) {
        std::error_code ec;
        co_await park(
            [&](parked_ptr who) {
                const std::lock_guard lock{mutex_};
                if (!handling_) return false;
                if (!whatever_it_takes) {
                    if (*deadline_ <= clock::now()) return false;
                    resume_at(timer, *deadline_, who);
                }
                waiter_ = std::move(who);
                return true;
            },
            ec);
        timer.cancel();
        const std::lock_guard lock{mutex_};
        waiter_ = nullptr;
        if (ec == asio::error::operation_aborted) deadline_ = time_point::min();  // cancelled once more
        if (!handling_) co_return true;
        if (!whatever_it_takes && *deadline_ <= clock::now()) co_return false;
    }
}

datagram_server::datagram_server(std::string_view where, handler serve, datagram_server_options options)
    : datagram_server{address::parse(where), std::move(serve), std::move(options)} {}

datagram_server::datagram_server(address where, handler serve, datagram_server_options options)
    : implementation_{std::make_shared<implementation>(std::move(where), std::move(serve), std::move(options), nullptr)} {}

datagram_server::datagram_server(asio::io_context& context, std::string_view where, handler serve, datagram_server_options options)
    : datagram_server{context, address::parse(where), std::move(serve), std::move(options)} {}

datagram_server::datagram_server(asio::io_context& context, address where, handler serve, datagram_server_options options)
    : implementation_{std::make_shared<implementation>(std::move(where), std::move(serve), std::move(options), &context)} {}

datagram_server::~datagram_server() = default;

void datagram_server::listen() { implementation_->listen(); }
bool datagram_server::run() { return implementation_->run(); }
asio::awaitable<bool> datagram_server::serve() { return implementation_->serve(); }
void datagram_server::shutdown(time_point deadline) { implementation_->shutdown(deadline); }
bool datagram_server::is_running() const noexcept { return implementation_->running(); }
bool datagram_server::is_gone() const noexcept { return implementation_->gone(); }
std::string datagram_server::local_address() const { return implementation_->local_address(); }

}  // namespace kephas
