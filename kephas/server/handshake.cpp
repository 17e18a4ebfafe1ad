// The opening of a connection: the HTTP request and what it leads to.
#include <kephas/proto/http/request_parser.hpp>
#include <kephas/proto/http/upgrade.hpp>

#include <kephas/net/read_when_ready.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/tls_context.hpp>

#include <kephas/server/session.hpp>

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

namespace kephas {

namespace {

uuid random_id() {
    thread_local std::random_device source;  // the kernel's generator: ids must not be guessed
    uuid::bytes_type bytes;
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
        const std::uint32_t value = source();
        std::memcpy(bytes.data() + i, &value, sizeof(value));
    }
    return uuid::v4(bytes);
}

/// The outcome of a callback that runs elsewhere.
struct callback_outcome {
    std::mutex mutex;
    parked_ptr waiter;
    bool done = false;
    std::exception_ptr failure;
};

}  // namespace

void session::start(session_owner& owner) {
    owner_ = &owner;
    asio::co_spawn(strand(), begin(), [self = shared_from_this()](const std::exception_ptr& /*it throws nothing*/) {
        self->begun();
    });
}

asio::awaitable<void> session::begin() {
    try {
        reschedule();
        const bool opened = co_await open();
        if (opened) co_await connect();
        else if (responding_) co_await linger();
    } catch (...) {
        broken();
    }
}

void session::begun() noexcept {
    if (phase_ == phase::handshake) {  // it stayed one
        settle();
        return owner_->ended(*this);
    }
    try {
        driver_ = serve();
    } catch (...) {
        broken();
    }
    if (driver_.done()) end_soon();
}

asio::awaitable<bool> session::open() {
    // On the heap, as the parser below, and not in the frame of the coroutine: Asio gives the memory of a frame to the
    // next one of this thread, however small, and that is where the connection will wait for the rest of its life.
    slice rest;
    if (opening_->role->speaks != listener_role::language::http) {
        const bool found = co_await find_language(rest);
        if (!found) co_return false;
        if (is_stream()) {
            const bool opened = co_await open_stream(std::move(rest));
            co_return opened;
        }
    }
    const auto request = std::make_unique<http::request>();
    const bool complete = co_await read_request(*request, rest);
    if (!complete) co_return false;

    request->tls = stream_->tls();
    request->credentials = socket_calls::credentials_of(stream_->native_handle());
    if (const auto refused = identify(*request)) {
        co_await refuse(*refused);
        co_return false;
    }
    const bool wants_upgrade = request->header("upgrade").has_value();
    if (opening_->role->path.empty() || request->path != opening_->role->path) {
        co_await serve_http(*request);
        co_return false;
    }
    if (context_.draining.load(std::memory_order_acquire)) {
        co_await refuse(refusal_reason::draining);
        co_return false;
    }
    if (!wants_upgrade && request->method != "GET") {
        co_await serve_http(*request);
        co_return false;
    }
    const bool opened = co_await let_in(*request, std::move(rest));
    co_return opened;
}

/// `rest` is what has come before it, and then what came behind it.
asio::awaitable<bool> session::read_request(http::request& request, slice& rest) {
    http::head_limits limits;
    limits.max_head_size = context_.options->max_head;
    limits.max_headers = context_.options->max_headers;
    auto parser = std::make_unique<http::request_parser>(limits);
    while (!parser->complete()) {
        std::error_code ec;
        read_buffer buffer{{}, home_.get(), {}};
        std::size_t size = rest.size();
        slice slab = std::exchange(rest, {});
        if (slab.empty()) {
            size = co_await read_when_ready(*stream_, buffer, ec);
            home_->count(&traffic_counters::bytes_received, size);
            slab = std::move(buffer.slab);
        }
        std::size_t used = 0;
        if (size > 0) used = parser->handle(slab.view().first(size));
        if (parser->complete() && used < size) rest = slice::copy(slab.view().subspan(used, size - used));
        if (!slab.empty()) home_->give_back_slab(std::move(slab));
        if (size == 0) {
            note_failed_read(ec);
            co_return false;
        }
        if (parser->failure()) {
            const http::refusal failure = *parser->failure();
            parser.reset();  // nothing of it while the peer takes the answer
            place_.let_go();
            refused_handshake answer{http::refusal_response(failure), refusal_reason::malformed,
                           fmt::format("refused a request: {}", failure.reason)};
            co_await refuse(std::move(answer));
            co_return false;
        }
        if (!place_.hold(size)) {  // with what came behind the head
            parser.reset();
            rest = slice{};
            place_.let_go();
            co_await refuse(refusal_reason::handshakes);
            co_return false;
        }
    }
    request = std::move(*parser).request();
    co_return true;
}

void session::note_failed_read(std::error_code why) {
    if (why.category() != tls_category()) return;
    responding_ = true;  // the peer learns why from the alert, which a reset would take from it
    note_failed_tls(why);
}

std::optional<refusal_reason> session::identify(const http::request& request) {
    if (!place_.behind_proxy()) return std::nullopt;
    const auto header = request.header("x-forwarded-for");
    const auto address = header ? http::forwarded_for(*header, context_.gate->trusted()) : std::nullopt;
    if (address) opening_->forwarded = address->to_string();
    return context_.gate->identify(place_, address, clock::now());
}

uuid session::id() const {
    if (state_) return state_->id();
    if (!opening_) return {};  // it has ended before it had one
    if (!opening_->id) opening_->id = random_id();
    return *opening_->id;
}

std::string session::remote_address() const {
    const bool forwarded = opening_ && !opening_->forwarded.empty();
    return forwarded ? opening_->forwarded : stream_->remote_address();
}

void session::count_refusal(refusal_reason reason, std::string_view what) {
    context_.gate->refused(reason, remote_address(), clock::now(), what, id());
}

asio::awaitable<void> session::refuse(refusal_reason reason) {
    refused_handshake answer{context_.gate->response(reason), reason};
    co_await refuse(std::move(answer));
}

asio::awaitable<void> session::refuse(refused_handshake answer) {
    // Counted only if this is what the peer gets.
    if (answer.reason && !responding_) count_refusal(*answer.reason, answer.what);
    co_await respond(answer.response);
}

/// What the peer still sends is read, so that a reset does not take from it what was sent; then it gets the time to take
/// that. What it has not taken at the deadline is taken back.
asio::awaitable<void> session::linger() {
    end_sending();
    const duration limit = context_.options->linger_timeout;
    if (limit <= duration::zero()) co_return stream_->close();  // no wait: what is on its way leaves in order
    deadline_ = std::min(deadline_, clock::now() + limit);
    reschedule();
    std::size_t discarded = 0;
    static constexpr std::size_t most_discarded = 1024 * 1024;
    for (;;) {
        std::error_code ec;
        read_buffer buffer{{}, home_.get(), {}};
        const std::size_t size = co_await read_when_ready(*stream_, buffer, ec);
        if (!buffer.slab.empty()) home_->give_back_slab(std::move(buffer.slab));
        discarded += size;
        if (discarded > most_discarded || (size == 0 && !is_end(ec))) co_return;
        if (size == 0) break;
    }
    input_ended_ = true;
    reschedule();
    while (!finished_ && stream_->unacknowledged() > 0) co_await wait_for_change();
}

void session::note_failed_tls(std::error_code why) {
    context_.counters.tls_failures.fetch_add(1, std::memory_order_relaxed);
    context_.log.debug("TLS handshake failed: {} remote_addr={} client_id={}", why.message(), stream_->remote_address(),
                       id().to_string());
}

asio::awaitable<bool> session::write_all(std::string bytes) {
    bytes_view rest = as_bytes(bytes);
    static constexpr std::size_t steady = 64 * 1024;  // in write_timeout, as for WebSocket connections
    std::size_t taken = steady;                       // since the deadline was renewed
    while (!rest.empty()) {
        std::error_code ec;
        const bytes_view part[] = {rest};
        const std::size_t size = stream_->write_some(part, ec);
        rest = rest.subspan(size);
        home_->count(&traffic_counters::bytes_sent, size);
        taken += size;
        if (size > 0 && responding_ && taken >= steady) {
            taken = 0;  // a large file may take its time, as long as the peer reads
            const duration limit = context_.options->write_timeout;
            deadline_ = limit > duration::zero() ? clock::now() + limit : time_point::max();
            reschedule();
        }
        if (ec == asio::error::would_block) {
            co_await park(
                [this](parked_ptr who) {
                    stream_->wait_writable([who = std::move(who)](std::error_code failed) { who->resume(failed); });
                    return true;
                },
                ec);
        }
        if (ec) co_return false;
    }
    co_return true;
}

std::unique_ptr<refused_handshake> session::admit(const http::request& request, std::string& accept) {
    const server_options& options = *context_.options;
    const auto refusal = [](auto&&... why) {
        return std::make_unique<refused_handshake>(refused_handshake{std::forward<decltype(why)>(why)...});
    };
    client_facts facts;
    facts.format = opening_->format;
    const bool upgrades = facts.format == wire_format::websocket;
    if (upgrades) {
        auto upgrade = http::check_upgrade(request);
        if (!upgrade) return refusal(std::move(upgrade.error()));
        if (!options.origins.allows(request)) {
            return refusal(http::text_response(http::status_code::forbidden, "origin not allowed\n"), refusal_reason::origin,
                           fmt::format("refused an origin: {}", escaped(request.header("origin").value_or(""))));
        }
        facts.subprotocol = http::select_subprotocol(upgrade->subprotocols, options.subprotocols);
        accept = std::move(upgrade->accept);
    }
    const std::size_t others = context_.clients.fetch_add(1);
    counted_ = true;
    if (options.max_clients != 0 && others >= options.max_clients) {
        return refusal(context_.gate->response(refusal_reason::clients), refusal_reason::clients);
    }

    if (upgrades && options.deflate.enabled) {
        auto link = deflate_link::negotiate(request, options.deflate, home_->codecs());
        if (!link) return refusal(std::move(link.error()));
        deflate_ = std::move(*link);
    }

    facts.id = id();
    facts.remote_address = remote_address();
    facts.listener = opening_->role->index;
    facts.query_string = request.query_string;
    facts.headers = request.headers;
    facts.credentials = request.credentials;
    state_ = std::make_shared<client_state>(std::move(facts), home_, strand());
    if (deflate_ && deflate_->compresses()) {
        state_->compress_from(options.deflate.threshold, deflate_->shared_window());
    }
    return nullptr;
}

asio::awaitable<std::unique_ptr<refused_handshake>> session::authorize(const http::request& request) {
    std::optional<authorization> decision;
    authorizing_ = true;
    reschedule();
    const std::exception_ptr failure = co_await run_callback(
        [&]() -> asio::awaitable<void> { decision = co_await context_.routes->authorize_(request); });
    authorizing_ = false;
    if (failure) context_.handlers->account_callback(failure, *state_);
    if (failure || !decision) {
        co_return std::make_unique<refused_handshake>(
            refused_handshake{http::text_response(http::status_code::internal_server_error, "internal error\n")});
    }
    if (const auto* answer = decision->refusal()) {
        co_return std::make_unique<refused_handshake>(refused_handshake{*answer, refusal_reason::unauthorized});
    }
    state_->set_identity(*decision->identity());
    co_return nullptr;
}

asio::awaitable<bool> session::let_in(const http::request& request, slice rest) {
    std::string accept;
    std::unique_ptr<refused_handshake> refused = admit(request, accept);
    if (!refused && context_.routes->authorize_) {
        refused = co_await authorize(request);
        if (phase_ != phase::handshake || stream_->peer_gone()) co_return false;
    }
    if (refused) {
        co_await refuse(std::move(*refused));
        co_return false;
    }
    if (std::exchange(responding_, true)) co_return false;  // refused by the drain meanwhile
    const time_point now = clock::now();
    std::string response;
    if (is_stream()) {
        machine_.emplace(context_.session, now);
    } else {
        machine_.emplace(websocket::role::server, context_.session, now);
        response = http::switching_protocols_response(accept, state_->subprotocol(),
                                                      deflate_ ? deflate_->take_response() : std::string{});
        if (deflate_) machine_->use_deflate(deflate_->make_inflater());
    }
    if (!rest.empty()) {
        state_->counted().received(rest.size());
        machine_->handle(std::move(rest), now);
    }
    home_->add(state_);  // first: who has read the 101 gets every broadcast from then on
    const bool written = co_await write_all(std::move(response));
    if (!written) {
        home_->remove(state_->id());
        state_->left();
        state_->finished({});
        co_return false;
    }
    deadline_ = time_point::max();
    place_.opened();
    opening_.reset();  // the client knows its address
    state_->bind(*this);
    phase_ = phase::connecting;
    context_.counters.opened.fetch_add(1, std::memory_order_relaxed);
    guarded([this] {
        flush(clock::now());  // what was queued meanwhile; until here wakes found nobody
        if (state_->end_requested()) state_->wake();
    });
    co_return true;
}

asio::awaitable<std::exception_ptr> session::run_callback(std::function<asio::awaitable<void>()> body,
                                                           bool cancellable) {
    const auto outcome = std::make_shared<callback_outcome>();
    job work;
    work.cancellable = cancellable;
    // The closure lives in the job, which its runner clears when the coroutine has ended.
    auto callback = [outcome, body = std::move(body)]() -> asio::awaitable<void> {
        std::exception_ptr failure;
        try {
            co_await body();
        } catch (...) {
            failure = std::current_exception();
        }
        const std::lock_guard lock{outcome->mutex};
        outcome->failure = std::move(failure);  // only one thread holds the exception, and lets go of it
        outcome->done = true;
        if (outcome->waiter) std::exchange(outcome->waiter, nullptr)->resume();
    };
    work.callback = std::make_unique<std::function<asio::awaitable<void>()>>(std::move(callback));
    if (state_->work().push_serial(std::move(work))) {
        context_.handlers->submit({state_, state_});
    }
    std::error_code ec;
    co_await park(
        [&outcome](parked_ptr who) {
            const std::lock_guard lock{outcome->mutex};
            if (outcome->done) return false;
            outcome->waiter = std::move(who);
            return true;
        },
        ec);
    const std::lock_guard lock{outcome->mutex};
    co_return std::move(outcome->failure);
}

asio::awaitable<void> session::connect() {
    connected_ = !context_.routes->on_connect_;
    if (const auto& on_connect = context_.routes->on_connect_) {
        const duration limit = context_.options->on_connect_timeout;
        if (limit > duration::zero()) deadline_ = clock::now() + limit;
        reschedule();
        const std::exception_ptr failure =
            co_await run_callback([this, &on_connect] {
                connected_ = true;
                return on_connect(client{state_});
            });
        if (failure) context_.handlers->account_callback(failure, *state_);
        if (phase_ == phase::ending) co_return;  // aborted, or too slow, meanwhile
        deadline_ = time_point::max();
        // Cancelled, it may have ended as if nothing had happened: but no handler could run for this client any more.
        if (failure || state_->work().cancelled()) {
            const bool gone = stream_->peer_gone();
            phase_ = phase::open;
            check_end_requests(clock::now());  // what it, or the drain, has asked for comes first
            if (gone && phase_ == phase::open) {  // or it has only ended its side: reading tells
                state_->out().fail({});
                begin_end({close_code::abnormal, "connection lost", close_initiator::transport, false}, false);
            } else if (!closing_) {
                fail(close_code::internal_error, "internal error", close_initiator::server, true);
            }
        }
    }
    if (phase_ == phase::connecting) phase_ = phase::open;
    state_->trim_headers();
    state_->set_reading();
    check_end_requests(clock::now());
    reschedule();
}

}  // namespace kephas
