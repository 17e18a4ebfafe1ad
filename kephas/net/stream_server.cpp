#include <kephas/base/error.hpp>

#include <kephas/net/acceptor.hpp>
#include <kephas/net/certificate_keeper.hpp>
#include <kephas/net/owned_fd.hpp>
#include <kephas/net/poller.hpp>
#include <kephas/net/resolve.hpp>
#include <kephas/net/server_life.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/socket_stream.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/stream_server.hpp>
#include <kephas/net/tls_stream.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <netinet/in.h>

namespace kephas {

namespace {

using protocol = acceptor::protocol;

std::unique_ptr<acceptor> bind(const asio::any_io_executor& executor, const address& where, const unix_socket_access& access) {
    return bind_at(where, [&](const socket_address& end, bool only_v6) {
        const int transport = is_unix(where.kind) ? 0 : IPPROTO_TCP;
        const protocol::endpoint endpoint{end.data(), end.size(), transport};
        return std::make_unique<acceptor>(executor, endpoint, access, only_v6);
    });
}

bool says_anything(const tls_options& tls) {
    return !tls.certificates.empty() || tls.clients != client_certificates::none || !tls.client_ca.empty();
}

std::string tls_without_tls(const address& where) {
    if (is_unix(where.kind)) return fmt::format("\"{}\": there is no TLS over Unix sockets", to_string(where));
    return fmt::format("\"{}\": options of TLS are given, but the address is not tls://", to_string(where));
}

}  // namespace

void stream_server_options::validate() const {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::invalid_argument{what};
    };
    require(max_connections > 0, "max_connections is 0: nobody could connect");
    require(idle_timeout >= duration::zero(), "idle_timeout is negative");
    require(keep_alive >= duration::zero(), "keep_alive is negative");
    require(linger_timeout >= duration::zero(), "linger_timeout is negative");
    require(handshake_timeout >= duration::zero(), "handshake_timeout is negative");
    require(drain_timeout >= duration::zero(), "drain_timeout is negative");
    require((access.mode & ~mode_t{0777}) == 0, "access.mode has bits that are no rights of a file");
}

class stream_server::implementation final : public server_life {
public:
    implementation(address where, handler serve, stream_server_options options, asio::io_context* context)
        : server_life{options.drain_timeout, options.log, options.on_message},
          where_{std::move(where)},
          handler_{std::move(serve)},
          options_{std::move(options)},
          context_{context} {
        options_.validate();
        if (options_.on_state) observer_ = std::make_shared<const connection_observer>(options_.on_state);
        if (!handler_) throw std::invalid_argument{"a server needs a handler"};
        if (is_datagram(where_.kind)) {
            throw error{errc::invalid_address, fmt::format("\"{}\": datagrams have a server of their own", to_string(where_))};
        }
        if (where_.tls) check_tls_options(options_.tls);
        else if (says_anything(options_.tls)) throw std::invalid_argument{tls_without_tls(where_)};
        if (context_ != nullptr) return;
        const unsigned threads = options_.threads > 0 ? options_.threads : std::max(1U, std::thread::hardware_concurrency());
        for (unsigned i = 0; i < threads; ++i) workers_.push_back(std::make_unique<worker>());
    }
    ~implementation() override {
        for (const auto& each : workers_) each->sockets->stop();
    }

    void listen() override;
    [[nodiscard]] bool run();
    [[nodiscard]] certificate_reload reload_certificates();

    [[nodiscard]] bool owned() const noexcept { return context_ == nullptr; }
    [[nodiscard]] std::size_t open() const noexcept { return open_.load(std::memory_order_acquire); }
    [[nodiscard]] std::string local_address() const override;

private:
    /// A thread of `run`, and the connections that it serves.
    struct worker {
        asio::io_context context{1};
        std::shared_ptr<poller> sockets = std::make_shared<poller>(context.get_executor());
    };
    struct live {
        live(asio::any_io_executor on, std::unique_ptr<stream> transport, std::shared_ptr<const connection_observer> observer)
            : executor{std::move(on)}, client{std::move(transport), std::move(observer)} {}
        asio::any_io_executor executor;
        connection client;
        asio::cancellation_signal cancel;
        bool ready = false;  // its TLS handshake is done
        bool cut = false;    // before it has begun
    };

    /// Where it also ends, if this is the last that knows it.
    template <class What>
    static void on_its_thread(std::shared_ptr<live> who, What what) {
        const asio::any_io_executor executor = who->executor;
        asio::post(executor, [who = std::move(who), what] { what(*who); });
    }
    [[nodiscard]] std::shared_ptr<implementation> self() { return std::static_pointer_cast<implementation>(shared_from_this()); }
    [[nodiscard]] asio::any_io_executor main_executor();
    void start() override;
    void stop() override;
    void cut() override;
    [[nodiscard]] bool finish() override;
    void spawn(asio::awaitable<void> task);
    void accepted(int fd);
    void begin(const std::shared_ptr<live>& who);
    [[nodiscard]] std::shared_ptr<live> make_live(owned_fd socket);
    [[nodiscard]] asio::awaitable<void> serve_connection(std::shared_ptr<live> who);
    void connection_ended(const std::shared_ptr<live>& who, const std::exception_ptr& failure);
    void forget(const std::shared_ptr<live>& who);
    void end_idle_watch();
    [[nodiscard]] bool nothing_left() const {
        const std::lock_guard lock{mutex_};
        return lives_.empty();
    }
    [[nodiscard]] asio::awaitable<void> watch_idle();

    const address where_;
    const handler handler_;
    const stream_server_options options_;
    std::shared_ptr<const connection_observer> observer_;
    asio::io_context* const context_;  // the program's, or null
    std::vector<std::unique_ptr<worker>> workers_;
    std::atomic<std::size_t> next_worker_{0};
    std::atomic<std::size_t> open_{0};
    std::optional<steady_timer> idle_timer_;  // on the executor of the acceptor

    mutable std::mutex mutex_;
    std::unique_ptr<acceptor> acceptor_;
    certificate_counters certificate_counters_;
    std::shared_ptr<certificate_keeper> certificates_;  // null without TLS
    std::unordered_set<std::shared_ptr<live>> lives_;
    bool cut_ = false;  // no more of them
};

asio::any_io_executor stream_server::implementation::main_executor() {
    if (owned()) return workers_.front()->context.get_executor();
    return asio::make_strand(*context_);
}

void stream_server::implementation::listen() {
    std::string text;
    {
        const std::lock_guard lock{mutex_};
        if (acceptor_) return;
        if (where_.tls) certificates_ = std::make_shared<certificate_keeper>(options_.tls, certificate_counters_, log());
        acceptor_ = bind(main_executor(), where_, options_.access);
        text = fmt::format("listening on {}://{}", where_.tls ? "tls" : to_string(where_.kind),
                           to_string(acceptor_->endpoint().data(), acceptor_->endpoint().size()));
    }
    say(text);
}

std::string stream_server::implementation::local_address() const {
    const std::lock_guard lock{mutex_};
    return acceptor_ ? to_string(acceptor_->endpoint().data(), acceptor_->endpoint().size()) : std::string{};
}

certificate_reload stream_server::implementation::reload_certificates() {
    std::shared_ptr<certificate_keeper> certificates;
    {
        const std::lock_guard lock{mutex_};
        certificates = certificates_;
    }
    return certificates ? certificates->reload() : certificate_reload{};
}

bool stream_server::implementation::run() {
    std::vector<asio::io_context*> contexts;
    for (const auto& each : workers_) contexts.push_back(&each->context);
    return server_life::run(contexts);
}

void stream_server::implementation::spawn(asio::awaitable<void> task) {
    if (!begin_task()) return;
    asio::co_spawn(acceptor_->executor(), std::move(task), [self = self()](const std::exception_ptr& failure) {
        if (failure) self->guarded("accepting", [&] { std::rethrow_exception(failure); });
        self->end_task();
    });
}

/// Accepting comes last: as soon as somebody is served a shutdown may begin, after which no task does.
void stream_server::implementation::start() {
    if (options_.idle_timeout > duration::zero()) {
        idle_timer_.emplace(acceptor_->executor());
        spawn(watch_idle());
    }
    if (certificates_) spawn(certificates_->watch());
    spawn(acceptor_->accept([this](int fd) { accepted(fd); }, log()));
}

void stream_server::implementation::stop() {
    acceptor_->stop();
    if (certificates_) certificates_->stop_watching(acceptor_->executor());
    if (nothing_left()) end_idle_watch();
}

/// Once it has nothing to watch and never will.
void stream_server::implementation::end_idle_watch() {
    asio::post(acceptor_->executor(), [self = self()] {
        if (self->idle_timer_) self->idle_timer_->cancel();
    });
}

void stream_server::implementation::cut() {
    std::vector<std::shared_ptr<live>> all;
    {
        const std::lock_guard lock{mutex_};
        cut_ = true;
        all.assign(lives_.begin(), lives_.end());
    }
    for (auto& each : all) {
        on_its_thread(std::move(each), [](live& which) {
            which.cut = true;
            which.client.close();
            which.cancel.emit(asio::cancellation_type::terminal);
        });
    }
}

bool stream_server::implementation::finish() {
    for (const auto& each : workers_) asio::post(each->context, [sockets = each->sockets] { sockets->stop(); });
    return true;
}

std::shared_ptr<stream_server::implementation::live> stream_server::implementation::make_live(owned_fd socket) {
    if (options_.keep_alive > duration::zero()) socket_calls::keep_alive(socket.get(), options_.keep_alive);
    if (options_.prepare_socket) options_.prepare_socket(socket.get());
    const auto secured = [this](std::unique_ptr<stream> transport) {
        return certificates_ ? make_tls_stream(std::move(transport), certificates_->current()) : std::move(transport);
    };
    if (owned()) {
        worker& home = *workers_[next_worker_.fetch_add(1, std::memory_order_relaxed) % workers_.size()];
        return std::make_shared<live>(home.context.get_executor(), secured(make_polled_stream(std::move(socket), *home.sockets)),
                                      observer_);
    }
    const asio::any_io_executor strand = asio::make_strand(*context_);
    asio::generic::stream_protocol::socket assigned{strand};
    const bool internet = !is_unix(where_.kind);
    assigned.assign(protocol{acceptor_->endpoint().protocol().family(), internet ? IPPROTO_TCP : 0}, socket.get());
    (void)socket.release();
    return std::make_shared<live>(strand, secured(make_socket_stream(std::move(assigned))), observer_);
}

void stream_server::implementation::accepted(int fd) {
    owned_fd socket{fd};
    if (open() >= options_.max_connections || !begin_task()) return;  // it closes
    open_.fetch_add(1, std::memory_order_acq_rel);
    std::shared_ptr<live> who;
    try {
        who = make_live(std::move(socket));
        bool late = false;
        {
            const std::lock_guard lock{mutex_};
            late = cut_;
            if (!late) lives_.insert(who);
        }
        if (late) return forget(who);
        asio::dispatch(who->executor, [self = self(), who] { self->begin(who); });
    } catch (...) {  // no memory; its thread has not seen it yet
        forget(who);
        throw;
    }
}

/// On the connection's executor, as whatever cancels it.
void stream_server::implementation::begin(const std::shared_ptr<live>& who) {
    try {
        if (who->cut) return connection_ended(who, nullptr);
        auto ended = [self = self(), who](const std::exception_ptr& failure) { self->connection_ended(who, failure); };
        asio::co_spawn(who->executor, serve_connection(who),
                       asio::bind_cancellation_slot(who->cancel.slot(), std::move(ended)));
    } catch (...) {  // no memory
        connection_ended(who, std::current_exception());
    }
}

asio::awaitable<void> stream_server::implementation::serve_connection(std::shared_ptr<live> who) {
    who->client.tell(connection_state::opened);
    if (certificates_) {
        const bool limited = options_.handshake_timeout > duration::zero();
        co_await who->client.handshake(limited ? later(clock::now(), options_.handshake_timeout) : time_point::max());
        who->ready = true;
    }
    if (options_.authorize && !options_.authorize(who->client)) co_return;
    who->client.tell(connection_state::handler);
    co_await handler_(who->client);
    co_await who->client.linger(options_.linger_timeout);
}

/// On the connection's executor.
void stream_server::implementation::connection_ended(const std::shared_ptr<live>& who, const std::exception_ptr& failure) {
    const bool was_open = who->client.is_open();
    who->client.close();
    if (failure && was_open) {
        if (options_.on_error) {
            guarded("on_error", [&] { options_.on_error(failure); });
        } else if (!certificates_ || who->ready) {
            guarded("the handler of a connection", [&] { std::rethrow_exception(failure); });
        }
    }
    forget(who);
}

void stream_server::implementation::forget(const std::shared_ptr<live>& who) {
    open_.fetch_sub(1, std::memory_order_acq_rel);
    {
        const std::lock_guard lock{mutex_};
        lives_.erase(who);
    }
    if (ending() && nothing_left()) end_idle_watch();
    end_task();
}

asio::awaitable<void> stream_server::implementation::watch_idle() {
    const duration step = std::clamp<duration>(options_.idle_timeout / 8, std::chrono::milliseconds{1}, std::chrono::seconds{1});
    // What is idle for less is never closed: its time may be that much too long.
    const auto idle_for_long = [limit = options_.idle_timeout](const live& which) {
        return which.client.idle_time() - clock::tick >= limit;
    };
    while (!ending() || !nothing_left()) {
        idle_timer_->expires_after(step);
        std::error_code ec;
        co_await idle_timer_->async_wait(asio::redirect_error(asio::use_awaitable, ec));
        std::vector<std::shared_ptr<live>> idle;
        {
            const std::lock_guard lock{mutex_};
            for (const auto& each : lives_) {
                if (idle_for_long(*each)) idle.push_back(each);
            }
        }
        for (auto& each : idle) {
            on_its_thread(std::move(each), [idle_for_long](live& which) {
                if (idle_for_long(which)) which.client.close();
            });
        }
    }
    idle_timer_.reset();  // it must not outlive its executor
}

stream_server::stream_server(std::string_view where, handler serve, stream_server_options options)
    : stream_server{address::parse(where), std::move(serve), std::move(options)} {}

stream_server::stream_server(address where, handler serve, stream_server_options options)
    : implementation_{std::make_shared<implementation>(std::move(where), std::move(serve), std::move(options), nullptr)} {}

stream_server::stream_server(asio::io_context& context, std::string_view where, handler serve, stream_server_options options)
    : stream_server{context, address::parse(where), std::move(serve), std::move(options)} {}

stream_server::stream_server(asio::io_context& context, address where, handler serve, stream_server_options options)
    : implementation_{std::make_shared<implementation>(std::move(where), std::move(serve), std::move(options), &context)} {}

stream_server::~stream_server() = default;

void stream_server::listen() { implementation_->listen(); }

bool stream_server::run() {
    if (!implementation_->owned()) throw std::logic_error{"run() is for a server with threads of its own: await serve()"};
    return implementation_->run();
}

asio::awaitable<bool> stream_server::serve() {
    if (implementation_->owned()) throw std::logic_error{"serve() is for a server in a context of the program's: call run()"};
    return implementation_->serve();
}

certificate_reload stream_server::reload_certificates() { return implementation_->reload_certificates(); }
void stream_server::shutdown(time_point deadline) { implementation_->shutdown(deadline); }
std::size_t stream_server::open_connections() const noexcept { return implementation_->open(); }
bool stream_server::is_running() const noexcept { return implementation_->running(); }
bool stream_server::is_gone() const noexcept { return implementation_->gone(); }
std::string stream_server::local_address() const { return implementation_->local_address(); }

}  // namespace kephas
