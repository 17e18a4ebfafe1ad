#include <kephas/base/error.hpp>

#include <kephas/proto/http/response.hpp>

#include <kephas/net/socket_stream.hpp>
#include <kephas/net/tls_stream.hpp>

#include <kephas/server/checked_options.hpp>
#include <kephas/server/server_implementation.hpp>

#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>

#include <algorithm>
#include <csignal>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>

namespace kephas {

namespace {

unsigned or_cores(unsigned threads) {
    return threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency());
}

/// What somebody gets who asks a TLS listener for a page without TLS.
const std::string& answer_to_plain_http() {
    static const std::string text = http::serialize(
        http::text_response(http::status_code::bad_request, "this port speaks TLS: use https:// or wss://\n"));
    return text;
}

const std::shared_ptr<const listener_role>& role_of_commands() {
    static const auto role = [] {
        auto made = std::make_shared<listener_role>();
        made->speaks = listener_role::language::commands;
        made->path.clear();
        return std::shared_ptr<const listener_role>{std::move(made)};
    }();
    return role;
}

}  // namespace

server::implementation::implementation(std::shared_ptr<const kephas::routes> routes, server_options options,
                                       asio::any_io_executor executor, strand_factory strands)
    : executor_{std::move(executor)}, strands_{std::move(strands)} {
    context_.options = checked_options(std::move(options));
    outbox_budget_ = std::make_shared<memory_budget>(context_.options->outbox_budget);
    context_.routes = std::move(routes);
    context_.session = session_options_of(*context_.options);
    context_.json = {context_.options->max_json_message, 64, context_.options->max_batch};
    context_.log = context_.options->log;
    context_.metrics = [this] { return metrics(); };
    const std::vector<std::string>& who = context_.options->metrics_from;
    context_.metrics_peers = parsed_peers("metrics_from", who);
    std::random_device random;  // a seed that strangers do not know
    context_.gate = std::make_unique<connection_gate>(*context_.options, std::uint64_t{random()} << 32U | random());
    if (owned()) make_owned_parts();
    else make_embedded_parts();
    for (const auto& shard : registry_->shards) shard->set_registry(registry_);
    lingerers_ = std::make_unique<lingerers>(owned() ? executor_ : strands_(), context_.options->linger_timeout);
    if (context_.options->deflate.enabled) make_codecs();
}

void server::implementation::make_codecs() {
    const deflate_options& deflate = context_.options->deflate;
    registry_->deflate = deflate;
    registry_->codecs = std::make_unique<shared_codecs>(deflate.level, deflate.memory_level);
    for (const auto& shard : registry_->shards) {
        if (shard->single_threaded()) {
            shard->set_codecs(std::make_unique<websocket::codec_pool>(deflate.level, deflate.memory_level));
        } else {
            shard->set_codecs(std::make_unique<shared_codecs>(deflate.level, deflate.memory_level));
        }
    }
}

void server::implementation::make_owned_parts() {
    const server_options& options = *context_.options;
    for (unsigned i = 0; i < or_cores(options.io_threads); ++i) {
        auto& context = *contexts_.emplace_back(std::make_unique<asio::io_context>(1));
        const asio::any_io_executor executor = context.get_executor();
        auto& shard = *registry_->shards.emplace_back(
            std::make_shared<kephas::shard>(executor, shard::threading::single_threaded, context_.options,
                                            outbox_budget_));
        shard.set_strand_handlers(std::make_shared<handler_pool>(
            context_.routes, executor, [executor] { return executor; }, 1, handler_counters_, context_.log));
    }
    executor_ = contexts_.front()->get_executor();
    if (options.handler_executor) {
        const asio::any_io_executor executor = options.handler_executor;
        make_handlers(executor, [executor] { return asio::any_io_executor{asio::make_strand(executor)}; },
                      or_cores(options.handler_concurrency));
        return;
    }
    const unsigned threads = or_cores(options.pool_threads);
    pool_ = std::make_unique<asio::io_context>(static_cast<int>(threads));
    make_handlers(pool_->get_executor(),
                  [pool = pool_.get()] { return asio::any_io_executor{asio::make_strand(*pool)}; }, threads);
}

void server::implementation::make_embedded_parts() {
    const server_options& options = *context_.options;
    registry_->shards.push_back(
        std::make_shared<shard>(executor_, shard::threading::shared, context_.options, outbox_budget_));
    const unsigned threads = or_cores(options.handler_concurrency);
    if (options.handler_executor) {
        const asio::any_io_executor executor = options.handler_executor;
        make_handlers(executor, [executor] { return asio::any_io_executor{asio::make_strand(executor)}; }, threads);
    } else {
        make_handlers(executor_, strands_, threads);
    }
}

void server::implementation::make_handlers(asio::any_io_executor executor, strand_factory strands, unsigned threads) {
    watcher_ = strands();
    context_.handlers = std::make_shared<handler_pool>(context_.routes, std::move(executor), std::move(strands), threads,
                                                       handler_counters_, context_.log);
}

void server::implementation::listen() {
    if (!listeners_.empty() || !datagrams_.empty()) return;
    const server_options& options = *context_.options;
    std::shared_ptr<certificate_keeper> certificates;
    if (!options.tls.certificates.empty()) {
        certificates = std::make_shared<certificate_keeper>(options.tls, context_.counters.certificates, context_.log);
    }
    std::vector<std::unique_ptr<listener>> bound;
    std::vector<std::shared_ptr<datagram_listener>> datagrams;
    std::vector<std::string> endpoints;
    std::random_device random;
    for (const std::string& text : options.listen) {
        const listen_address address = listen_address::parse(text);
        const std::size_t index = endpoints.size();
        if (address.what == listen_address::kind::datagrams) {
            const auto& home = registry_->shards[datagrams.size() % registry_->shards.size()];
            asio::any_io_executor executor = owned() ? home->executor() : strands_();
            const std::uint64_t seed = std::uint64_t{random()} << 32U | random();
            datagrams.push_back(std::make_shared<datagram_listener>(context_, home, executor, address.where, seed));
            endpoints.push_back(datagrams.back()->endpoint());
        } else {
            asio::any_io_executor executor = owned() ? executor_ : strands_();
            bound.push_back(std::make_unique<listener>(executor, address, options, index));
            endpoints.push_back(to_string(bound.back()->endpoint()));
        }
    }
    {
        const std::lock_guard lock{mutex_};  // others may be asking for the port
        listeners_ = std::move(bound);
        datagrams_ = std::move(datagrams);
        endpoints_ = std::move(endpoints);
        certificates_ = std::move(certificates);
    }
    if (options.origins.is_any()) {
        context_.log.warning("any web page may connect: any_origin is meant for development");
    }
    if (!options.metrics_path.empty() && std::ranges::none_of(options.listen, [](const std::string& text) {
            return text.starts_with("http");
        })) {
        context_.log.warning("metrics_path is set, but only http:// listeners serve it, and there is none");
    }
    for (const auto& each : listeners_) context_.log.info("listening on {}", each->url());
    for (const auto& each : datagrams_) context_.log.info("listening on {}", each->url());
    if (!datagrams_.empty() && context_.routes->has_authorize()) {
        context_.log.warning("authorize is not asked for datagrams: whoever can send them is served");
    }
}

certificate_reload server::implementation::reload_certificates() {
    std::shared_ptr<certificate_keeper> certificates;
    {
        const std::lock_guard lock{mutex_};
        certificates = certificates_;
    }
    return certificates ? certificates->reload() : certificate_reload{};
}

std::vector<std::string> server::implementation::endpoints() const {
    const std::lock_guard lock{mutex_};
    return endpoints_;
}

std::uint16_t server::implementation::port() const {
    const std::lock_guard lock{mutex_};
    for (const auto& each : listeners_) {
        if (const auto port = port_of(each->endpoint()); port != 0) return port;
    }
    for (const auto& each : datagrams_) {
        if (each->port() != 0) return each->port();
    }
    return 0;
}

void server::implementation::begin() {
    if (serving_.exchange(true)) throw error{errc::already_running};
    try {
        listen();
        context_.serving_since.store(clock::now(), std::memory_order_release);
    } catch (...) {
        serving_ = false;  // nothing has begun: once the address is free it may
        throw;
    }
}

drain_report server::implementation::run() {
    if (!owned()) throw std::logic_error{"run() is for a server with threads of its own: await serve()"};
    begin();
    drain_report report;
    std::exception_ptr failure;
    asio::signal_set signals{*contexts_.front(), SIGINT, SIGTERM};
    std::function<void(std::error_code, int)> on_signal = [&](std::error_code ec, int number) {
        if (ec) return;
        context_.log.info("Shutting down gracefully... (signal {})", number);
        stop();
        signals.async_wait(on_signal);
    };
    signals.async_wait(on_signal);

    using guard = asio::executor_work_guard<asio::io_context::executor_type>;
    std::vector<guard> guards;
    for (const auto& context : contexts_) guards.push_back(asio::make_work_guard(*context));
    if (pool_) guards.push_back(asio::make_work_guard(*pool_));
    asio::co_spawn(*contexts_.front(), serve_once(), [&](std::exception_ptr error, drain_report outcome) {
        failure = error;
        report = outcome;
        signals.cancel();
        guards.clear();
    });
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < contexts_.size(); ++i) {
        threads.emplace_back([&context = *contexts_[i]] { context.run(); });
    }
    for (unsigned i = 0; pool_ && i < or_cores(context_.options->pool_threads); ++i) {
        threads.emplace_back([this] { pool_->run(); });
    }
    contexts_.front()->run();
    for (auto& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
    context_.log.info("Server stopped: {} clients left in time, {} were cancelled, {} cut", report.left_in_time,
                      report.cancelled, report.cut);
    return report;
}

asio::awaitable<drain_report> server::implementation::serve() {
    if (owned()) throw std::logic_error{"serve() is for a server on an executor of the program's: call run()"};
    begin();
    co_return co_await serve_once();
}

asio::awaitable<drain_report> server::implementation::serve_once() {
    // A cancellation is a wish, not an error: it never throws here, whenever it comes.
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) stop();
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    for (const auto& each : listeners_) {
        auto accepted = [this](auto fd, const auto& protocol, const auto& role) { attach(fd, protocol, role); };
        spawn(each->executor(), each->accept(std::move(accepted), context_.log), "an accept loop");
    }
    for (const auto& each : datagrams_) {
        spawn(each->executor(), each->receive(), "a listener for datagrams");
        spawn(each->executor(), each->send(), "the replies to datagrams");
    }
    spawn(lingerers_->executor(), lingerers_->run(), "the end of refused connections");
    if (certificates_) spawn(watcher_, certificates_->watch(), "the watcher of the certificates");
    co_await wait_for_stop();
    // A cancellation has meant the drain; the next one cuts it short.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    const drain_report report = co_await drain();
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await asio::this_coro::throw_if_cancelled(throws);
    co_await context_.handlers->stop();
    for (const auto& shard : registry_->shards) {
        if (handler_pool* handlers = shard->strand_handlers()) {
            // Their runners live on the thread of the shard.
            asio::post(shard->executor(), [shard] { shard->stop(); });
            co_await handlers->stop();
        } else {
            shard->stop();
        }
    }
    co_return report;
}

void server::implementation::task_ended(const std::exception_ptr& failure, const char* what) {
    if (failure) {
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& error) {
            context_.log.error("{} ended with an exception: {}", what, error.what());
        } catch (...) {
            context_.log.error("{} ended with an exception", what);
        }
    }
    const std::lock_guard lock{mutex_};
    if (--tasks_ == 0 && end_waiter_) std::exchange(end_waiter_, nullptr)->resume();
}

void server::implementation::count_accepted(const listener_role& role) noexcept {
    context_.counters.accepted.fetch_add(1, std::memory_order_relaxed);
    auto& of_its_own = role.index == attached_listener ? attached_ : role.accepted;
    of_its_own.fetch_add(1, std::memory_order_relaxed);
}

bool server::implementation::let_in(owned_fd& fd, const listener_role& role, connection_gate::place& place) {
    count_accepted(role);
    connection_gate& gate = *context_.gate;
    const auto peer = gate.asks_for_peer() ? peer_address(fd.get()) : std::nullopt;
    const time_point now = clock::now();
    const auto refused = gate.enter(place, peer, now);
    if (!refused) return true;
    const auto known = peer ? peer : peer_address(fd.get());
    gate.refused(*refused, known ? known->to_string() : "unix", now);
    if (role.tls) return false;  // an answer that it could read would need a handshake, and cost more than it is worth
    context_.counters.refused.fetch_add(1, std::memory_order_relaxed);
    std::optional<wire_format> format;
    if (role.speaks == listener_role::language::commands) format = wire_format::stream;
    if (role.speaks == listener_role::language::http) format = wire_format::websocket;
    const bool own_fault = *refused == refusal_reason::address_connections || *refused == refusal_reason::address_rate;
    auto& responses = context_.counters.http_responses[own_fault ? 4 : 5];
    lingerers_->answer(fd.release(), gate.ready_made(*refused), format, gate.most_lingering(), responses);
    return false;
}

void server::implementation::attach(asio::generic::stream_protocol::socket::native_handle_type fd,
                                    const asio::generic::stream_protocol& protocol,
                                    const std::shared_ptr<const listener_role>& role) {
    owned_fd owned_socket{fd};
    connection_gate::place place;
    if (!let_in(owned_socket, *role, place)) return;
    const auto make = [&](shard& home, const asio::any_io_executor& strand) {
        std::unique_ptr<stream> transport;
        if (poller* const sockets = home.sockets()) {
            transport = make_polled_stream(std::move(owned_socket), *sockets);
        } else {
            asio::generic::stream_protocol::socket socket{strand};
            asio::error_code failure;
            socket.assign(protocol, fd, failure);
            if (failure) throw error{failure};
            (void)owned_socket.release();  // `assign` takes it only when it succeeds
            transport = make_socket_stream(std::move(socket));
        }
        if (role->tls) {
            const bool http = role->speaks == listener_role::language::http;
            transport = make_tls_stream(std::move(transport), certificates_->current(),
                                        http ? std::string_view{answer_to_plain_http()} : std::string_view{});
        }
        return transport;
    };
    attach(make, role, std::move(place));
}

void server::implementation::attach(const stream_factory& make, const std::shared_ptr<const listener_role>& role) {
    count_accepted(*role);
    connection_gate::place place;
    if (const auto refused = context_.gate->enter(place)) {
        context_.gate->refused(*refused, "attached", clock::now());
        throw error{errc::overloaded, "too many connections"};
    }
    attach([&make](shard&, const asio::any_io_executor& strand) { return make(strand); }, role, std::move(place));
}

void server::implementation::attach(const transport_factory& make, const std::shared_ptr<const listener_role>& role,
                                    connection_gate::place place) {
    const auto& shards = registry_->shards;
    const auto& home = shards[next_shard_.fetch_add(1, std::memory_order_relaxed) % shards.size()];
    asio::any_io_executor strand = owned() ? home->executor() : strands_();
    auto connection = make(*home, strand);
    auto fresh = std::make_shared<session>(context_, home, std::move(strand), std::move(connection), role);
    fresh->take(std::move(place));
    {
        const std::lock_guard lock{mutex_};
        sessions_.insert(fresh);
        ++tasks_;
    }
    try {
        fresh->start(*this);
    } catch (...) {  // no memory: it has not begun
        ended(*fresh);
        throw;
    }
    // Accepted while the listeners were being closed, and perhaps missed by the drain.
    if (context_.draining.load(std::memory_order_acquire)) fresh->request_leave(context_.options->drain.code);
}

void server::implementation::spawn(const asio::any_io_executor& executor, asio::awaitable<void> task, const char* what) {
    {
        const std::lock_guard lock{mutex_};
        ++tasks_;
    }
    try {
        asio::co_spawn(executor, std::move(task), [this, what](std::exception_ptr failure) { task_ended(failure, what); });
    } catch (...) {
        task_ended(nullptr, what);
        throw;
    }
}

void server::implementation::ended(session& last) noexcept {
    {
        decltype(sessions_)::node_type dropped;  // destroyed after the lock
        const std::lock_guard lock{mutex_};
        dropped = sessions_.extract(last.shared_from_this());
    }
    task_ended(nullptr, "a connection");
}

std::vector<std::shared_ptr<session>> server::implementation::sessions() const {
    const std::lock_guard lock{mutex_};
    return {sessions_.begin(), sessions_.end()};
}

server::server(router routes, server_options options) : server{std::move(routes).freeze(), std::move(options)} {}

server::server(std::shared_ptr<const kephas::routes> routes, server_options options)
    : implementation_{std::make_unique<implementation>(std::move(routes), std::move(options), asio::any_io_executor{},
                                                       nullptr)} {}

server::server(asio::io_context& context, router routes, server_options options)
    : server{context, std::move(routes).freeze(), std::move(options)} {}

server::server(asio::io_context& context, std::shared_ptr<const kephas::routes> routes, server_options options)
    // a strand over the context's own executor is small enough for any_io_executor; one over any_io_executor is not
    : implementation_{std::make_unique<implementation>(
          std::move(routes), std::move(options), context.get_executor(),
          [&context] { return asio::any_io_executor{asio::make_strand(context)}; })} {}

server::server(asio::any_io_executor executor, std::shared_ptr<const kephas::routes> routes, server_options options)
    : implementation_{std::make_unique<implementation>(
          std::move(routes), std::move(options), executor,
          [executor] { return asio::any_io_executor{asio::make_strand(executor)}; })} {}

server::~server() = default;

void server::listen() { implementation_->listen(); }
drain_report server::run() { return implementation_->run(); }
asio::awaitable<drain_report> server::serve() { return implementation_->serve(); }
void server::stop() { implementation_->stop(); }

void server::attach(asio::ip::tcp::socket socket) {
    attach(asio::generic::stream_protocol::socket{std::move(socket)});
}

void server::attach(asio::generic::stream_protocol::socket socket) {
    const asio::generic::stream_protocol protocol = socket.local_endpoint().protocol();
    static const auto role = std::make_shared<const listener_role>();
    implementation_->attach(socket.release(), protocol, role);
}

void server::attach_commands(asio::ip::tcp::socket socket) {
    attach_commands(asio::generic::stream_protocol::socket{std::move(socket)});
}

void server::attach_commands(asio::generic::stream_protocol::socket socket) {
    const asio::generic::stream_protocol protocol = socket.local_endpoint().protocol();
    implementation_->attach(socket.release(), protocol, role_of_commands());
}

void server::attach_commands(const stream_factory& make) { implementation_->attach(make, role_of_commands()); }

certificate_reload server::reload_certificates() { return implementation_->reload_certificates(); }

void server::attach(const stream_factory& make, std::string path) {
    auto role = std::make_shared<listener_role>();
    role->path = std::move(path);
    implementation_->attach(make, role);
}

std::uint16_t server::port() const { return implementation_->port(); }
std::vector<std::string> server::endpoints() const { return implementation_->endpoints(); }

kephas::clients server::clients() const { return kephas::clients{implementation_->registry()}; }
server_stats server::stats() const { return implementation_->stats(); }
std::vector<connection_stats> server::connections() const { return implementation_->connections(); }

}  // namespace kephas
