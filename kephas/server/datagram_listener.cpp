#include <kephas/proto/jsonrpc/encode.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <kephas/net/steady_timer.hpp>

#include <kephas/server/datagram_listener.hpp>
#include <kephas/server/listen_address.hpp>
#include <kephas/server/outbound_frames.hpp>
#include <kephas/server/rpc_batch.hpp>

#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <utility>

#include <netinet/in.h>

namespace kephas {

namespace {

constexpr auto datagrams = wire_format::datagram;

/// By which a peer's rate is counted.
std::uint64_t key_of(const socket_address& sender) noexcept {
    const auto ip = ip_address_of(sender.data(), sender.size());
    return ip ? ip->peer_key() : sender.hash();
}

std::shared_ptr<client_state> stand_in(const socket_address& sender, const std::shared_ptr<shard>& home,
                                       const asio::any_io_executor& executor) {
    client_facts facts;
    facts.format = datagrams;
    facts.remote_address = sender.family() == AF_UNIX || sender.empty() ? "unix" : to_string(sender);
    auto client = std::make_shared<client_state>(std::move(facts), home, executor);
    client->left();
    client->finished({close_code::no_status, {}, close_initiator::transport, false});
    return client;
}

/// Whether it says that it comes from the socket itself. A command that echoes would answer itself for ever.
bool loops(const socket_address& sender, const socket_address& own) noexcept { return !sender.empty() && sender == own; }

}  // namespace

datagram_exchange::datagram_exchange(std::shared_ptr<datagram_listener> home, const socket_address& sender,
                                     std::shared_ptr<client_state> client, std::size_t bytes)
    : home_{std::move(home)}, sender_{sender}, client_{std::move(client)}, bytes_{bytes} {
    home_->began(*this);
}

datagram_exchange::~datagram_exchange() { home_->ended(*this); }

bool datagram_jobs::take_answer(outbound_frame&& frame, bool is_error) {
    datagram_listener& home = of_->home();
    if (!is_error || home.answers_errors()) home.reply(of_, std::move(frame));
    return true;
}

datagram_listener::datagram_listener(server_context& context, std::shared_ptr<shard> home,
                                     const asio::any_io_executor& executor, const address& where, std::uint64_t seed)
    : context_{context},
      home_{std::move(home)},
      socket_{executor, where,
              {.on_send_error = [this](const std::error_code& why, const socket_address& to) { note_unsent(to, why); }},
              context.options->unix_access},
      endpoint_{socket_.local_address()},
      url_{std::string{is_unix(where.kind) ? "unixgram" : "udp"} + "://" + endpoint_},
      largest_reply_{std::max<std::size_t>(socket_.max_size(), 64 * 1024)},
      throttle_{std::chrono::seconds{10}, 1},
      unsent_throttle_{std::chrono::seconds{10}, 1} {
    const rate_limit_options& rate = context.options->rate_limit;
    if (rate.messages_per_second > 0) {
        peers_.emplace(address_limits{0, rate.messages_per_second, rate.burst}, context.options->datagrams.peers, seed);
    }
}

std::uint16_t datagram_listener::port() const noexcept {
    const socket_address& own = socket_.local();
    if (own.family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(own.data())->sin_port);
    if (own.family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(own.data())->sin6_port);
    return 0;
}

asio::awaitable<void> datagram_listener::receive() {
    struct end_note {  // whatever ends it: the drain waits for that
        datagram_listener& self;
        ~end_note() {
            const std::lock_guard lock{self.mutex_};
            self.stopped_ = true;
            self.wake_locked();
        }
    } const note{*this};
    for (;;) {
        std::error_code failure;
        try {
            const std::span<const datagram_view> batch = co_await socket_.receive_batch();
            if (batch.empty()) break;
            const time_point now = clock::now();
            for (const datagram_view& each : batch) take(each, now);
        } catch (const std::system_error& error) {
            failure = error.code();
        } catch (const std::exception&) {  // no memory
            failure = std::make_error_code(std::errc::not_enough_memory);
        }
        if (failure == asio::error::operation_aborted || !socket_.is_open()) break;
        if (!failure) continue;
        try {
            if (throttle_.note(clock::now())) {
                context_.log.error("cannot receive datagrams: {}; trying again", failure.message());
            }
            co_await pause();
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory for that either
        }
    }
}

asio::awaitable<void> datagram_listener::pause() {
    steady_timer timer{socket_.get_executor(), std::chrono::milliseconds{100}};
    std::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<void> datagram_listener::send() {
    std::vector<outgoing> batch;
    for (bool more = true; more;) {
        bool failed = false;
        try {
            more = co_await wait_for_replies(batch);
        } catch (const std::exception&) {  // no memory
            failed = true;
        }
        try {
            if (failed) co_await pause();
            else if (more) co_await send_batch(batch);
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory for that either
        }
        release(batch);
        batch.clear();
    }
    try {
        co_await flush();
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): closing it counts what is lost
    }
    socket_.close();
    note_sent();
    {
        const std::lock_guard lock{mutex_};
        closed_ = true;
        batch.swap(replies_);
    }
    for (const outgoing& each : batch) note_unsent(each.to->sender(), std::make_error_code(std::errc::operation_canceled));
    release(batch);
}

/// What was queued while nobody looked leaves with one system call, if it fits into the queue of the socket.
asio::awaitable<void> datagram_listener::send_batch(std::vector<outgoing>& batch) {
    std::span<outgoing> rest{batch};
    for (std::size_t i = 0; i < rest.size();) {
        const socket_address& to = rest[i].to->sender();
        std::error_code failure;
        bool queued = false;
        try {
            put_together(rest[i].frame);
            queued = socket_.try_send(reply_, to);
        } catch (const std::system_error& error) {
            failure = error.code();
        } catch (const std::bad_alloc&) {
            failure = std::make_error_code(std::errc::not_enough_memory);
        }
        if (failure) note_unsent(to, failure, rest[i].frame.size());
        if (queued || failure) {
            ++i;
            continue;
        }
        co_await flush();
        release(rest.first(i));
        rest = rest.subspan(std::exchange(i, 0));
    }
    static constexpr std::size_t worth_keeping = 4096;
    if (reply_.capacity() > worth_keeping) std::vector<std::byte>{}.swap(reply_);
    co_await flush();
}

/// Errors: none. What could not be sent was told to `note_unsent`.
asio::awaitable<void> datagram_listener::flush() {
    try {
        co_await socket_.flush();
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): it is closed
    }
    note_sent();
}

void datagram_listener::put_together(const outbound_frame& frame) {
    const bytes_view body = frame.body.view();
    reply_.resize(frame.head_size + body.size());
    std::memcpy(reply_.data(), frame.head.data(), frame.head_size);
    if (!body.empty()) std::memcpy(reply_.data() + frame.head_size, body.data(), body.size());
}

/// Their end may be what is waited for.
void datagram_listener::release(std::span<outgoing> done) noexcept {
    std::size_t bytes = 0;
    for (outgoing& each : done) {
        bytes += each.frame.size();
        each = {};
    }
    const std::lock_guard lock{mutex_};
    bytes_ -= bytes;
}

/// False when none will come any more; otherwise those that have come, in the place of what was in `batch`.
asio::awaitable<bool> datagram_listener::wait_for_replies(std::vector<outgoing>& batch) {
    std::error_code ec;
    co_await park(
        [this](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            if (!replies_.empty() || finished_locked()) return false;
            sender_ = std::move(who);
            return true;
        },
        ec);
    const std::lock_guard lock{mutex_};
    if (closed_ || replies_.empty()) co_return false;
    batch.swap(replies_);
    co_return true;
}

void datagram_listener::stop() {
    asio::dispatch(socket_.get_executor(), [self = shared_from_this()] { self->socket_.stop_receiving(); });
}

void datagram_listener::cancel() {
    asio::dispatch(socket_.get_executor(), [self = shared_from_this()] {
        const std::lock_guard lock{self->mutex_};
        for (const datagram_exchange* each : self->live_) each->client()->work().cancel();
    });
}

void datagram_listener::close() {
    asio::dispatch(socket_.get_executor(), [self = shared_from_this()] {
        self->socket_.close();
        const std::lock_guard lock{self->mutex_};
        self->closed_ = true;
        self->wake_locked();
    });
}

void datagram_listener::wake_locked() noexcept {
    if (sender_ && (!replies_.empty() || finished_locked())) std::exchange(sender_, nullptr)->resume();
}

void datagram_listener::began(const datagram_exchange& fresh) {
    const std::lock_guard lock{mutex_};
    live_.insert(&fresh);
    bytes_ += fresh.bytes();
}

void datagram_listener::ended(const datagram_exchange& last) noexcept {
    const std::lock_guard lock{mutex_};
    live_.erase(&last);
    bytes_ -= last.bytes();
    wake_locked();
}

bool datagram_listener::full() const {
    const datagram_limits& limits = context_.options->datagrams;
    const std::lock_guard lock{mutex_};
    return live_.size() >= limits.in_flight || bytes_ >= limits.bytes;
}

void datagram_listener::reply(std::shared_ptr<datagram_exchange> to, outbound_frame&& frame) {
    const std::size_t size = frame.size();
    const std::shared_ptr<datagram_exchange> kept = to;  // its end would want the lock
    std::error_code failure;
    if (to->sender().empty()) {  // a Unix socket without a name
        failure = std::make_error_code(std::errc::destination_address_required);
    } else if (size > largest_reply_) {
        failure = std::make_error_code(std::errc::message_size);
    } else {
        const std::lock_guard lock{mutex_};
        if (closed_) {  // nobody would take it from there
            failure = std::make_error_code(std::errc::operation_canceled);
        } else {
            try {
                replies_.push_back({std::move(to), std::move(frame)});
                bytes_ += size;
                wake_locked();
            } catch (const std::bad_alloc&) {
                failure = std::make_error_code(std::errc::not_enough_memory);
            }
        }
    }
    if (failure) note_unsent(kept->sender(), failure, size);
}

/// What the socket has sent since this was asked last, by whoever.
void datagram_listener::note_sent() noexcept {
    const datagram_counters& now = socket_.counters();
    const std::uint64_t sent = now.sent - std::exchange(seen_sent_, now.sent);
    const std::uint64_t bytes = now.bytes_sent - std::exchange(seen_bytes_sent_, now.bytes_sent);
    context_.datagrams.answered.fetch_add(sent, std::memory_order_relaxed);
    home_->count(&traffic_counters::bytes_sent, bytes);
    traffic_.sent(bytes);
    traffic_.sent_directly(sent);
}

/// Every reply that is not sent comes here once. Any thread.
void datagram_listener::note_unsent(const socket_address& to, const std::error_code& why,
                                    std::optional<std::size_t> size) noexcept {
    context_.datagrams.unanswered.fetch_add(1, std::memory_order_relaxed);
    std::optional<std::uint64_t> count;
    {
        const std::lock_guard lock{mutex_};
        count = unsent_throttle_.note(clock::now());
    }
    if (!count) return;
    try {
        const std::string what = size ? fmt::format("a reply of {} bytes", *size) : "a reply";
        const std::string where = to.empty() ? "a Unix socket without a name" : to_string(to);
        const std::string more = *count > 1 ? fmt::format(" ({} more since the last such line)", *count - 1) : "";
        context_.log.warning("{} was not sent: {} remote_addr={}{}", what, why.message(), where, more);
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory to say so
    }
}

bool datagram_listener::within_rate(const socket_address& sender, time_point now, std::size_t messages) noexcept {
    if (!peers_) return true;
    const std::uint64_t key = key_of(sender);
    for (std::size_t i = 0; i < messages; ++i) {
        if (peers_->enter(key, now) == address_verdict::too_fast) {
            context_.datagrams.rate_limited.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
        peers_->leave(key);  // nothing of it stays open: only its rate counts
    }
    return true;
}

void datagram_listener::take(const datagram_view& datagram, time_point now) {
    datagram_totals& totals = context_.datagrams;
    const auto count = [](std::atomic<std::uint64_t>& what) { what.fetch_add(1, std::memory_order_relaxed); };
    count(totals.received);
    home_->count(&traffic_counters::bytes_received, datagram.bytes.size());
    traffic_.received(datagram.bytes.size());
    const bool whole = !datagram.truncated() && datagram.bytes.size() <= context_.session.max_binary_message;
    const bool sane = whole && datagram.bytes.size() >= command_id_size && !loops(datagram.sender(), socket_.local());
    if (!sane) return count(totals.malformed);
    if (!within_rate(datagram.sender(), now)) return;
    if (full()) return count(totals.overloaded);
    try {
        dispatch(datagram, now);
    } catch (const std::exception& error) {  // one datagram less
        count(totals.overloaded);
        if (throttle_.note(now)) context_.log.error("a datagram could not be handled: {}", error.what());
    }
}

void datagram_listener::dispatch(const datagram_view& datagram, time_point now) {
    const routes& table = *context_.routes;
    const auto of = std::make_shared<datagram_exchange>(shared_from_this(), datagram.sender(),
                                                        stand_in(datagram.sender(), home_, socket_.get_executor()),
                                                        datagram.bytes.size());
    home_->count(&traffic_counters::messages_received, 1);
    traffic_.received_messages(1);
    slice message = slice::copy(datagram.bytes);  // the memory of the socket is for the next ones
    const auto submit = [&](const route& target, std::optional<command_id> id) {
        job_lists lists;
        job& work = add_job(lists, of, target);
        work.command = id;
        work.counted_bytes = message.size();
        work.payload = std::move(message);
        of->client()->work().begin(work.counted_bytes, target.policy == dispatch::on_strand);
        start(lists, of);
    };
    if (table.raw_) return submit(*table.raw_, std::nullopt);
    const command_id id = decode_command(message.view())->id;
    message.remove_prefix(command_id_size);
    if (is_reserved(id)) return dispatch_document(of, message, now);
    const route* target = table.command(id);
    if (target == nullptr && table.fallback_command_) target = &*table.fallback_command_;
    if (target != nullptr) return submit(*target, id);
    const jsonrpc::error_object error{jsonrpc::method_not_found_code, "unknown command", {}};
    refuse(of, make_command(datagrams, command_jsonrpc_error,
                            payload{jsonrpc::encode_command_error(static_cast<std::uint32_t>(id), error)}));
}

void datagram_listener::dispatch_document(const std::shared_ptr<datagram_exchange>& of, const slice& text, time_point now) {
    constexpr auto op = websocket::opcode::binary;
    jsonrpc::document document = jsonrpc::parse(as_text(text.view()), context_.json);
    // The datagram itself has paid for its first element.
    if (document.messages.size() > 1 && !within_rate(of->sender(), now, document.messages.size() - 1)) return;
    std::shared_ptr<rpc_batch> batch;
    if (document.batch) {
        batch = std::make_shared<rpc_batch>(document, op, datagrams);
        if (auto frame = batch->answered_from_the_start()) refuse(of, std::move(*frame));
    } else if (const auto* const invalid = std::get_if<jsonrpc::invalid_request_message>(&document.messages.front())) {
        refuse(of, make_rpc_error(datagrams, op, invalid->id, invalid->error, *context_.options));
    }
    job_lists lists;
    bool any = false;  // of a batch: then it is answered, whatever became of the others
    std::size_t cost = text.size();
    for (std::size_t slot = 0; slot < document.messages.size(); ++slot) {
        auto* const request = std::get_if<jsonrpc::request>(&document.messages[slot]);
        if (request == nullptr) continue;  // there are no calls that could be answered
        const route* target = context_.routes->method(request->method);
        if (target == nullptr) {
            std::optional<outbound_frame> frame;
            if (batch) frame = batch->set_error(slot, jsonrpc::method_not_found());
            else if (request->id) frame = make_rpc_error(datagrams, op, *request->id, jsonrpc::method_not_found(), *context_.options);
            if (frame && any) reply(of, std::move(*frame));
            else if (frame) refuse(of, std::move(*frame));
            continue;
        }
        any = true;
        auto call = std::make_unique<rpc_call>(std::move(*request), batch, slot);
        job& work = add_job(lists, of, *target);
        work.command = command_jsonrpc;
        work.payload = text;
        work.rpc = std::move(call);
        work.counted_bytes = std::exchange(cost, 0);
        of->client()->work().begin(work.counted_bytes, target->policy == dispatch::on_strand);
    }
    start(lists, of);
}

void datagram_listener::refuse(const std::shared_ptr<datagram_exchange>& to, outbound_frame&& error) {
    if (answers_errors()) reply(to, std::move(error));
}

job& datagram_listener::add_job(job_lists& lists, const std::shared_ptr<datagram_exchange>& of, const route& target) {
    const bool on_strand = target.policy == dispatch::on_strand;
    auto& list = lists[on_strand ? 1 : 0];
    if (!list) {
        list = std::make_shared<datagram_jobs>(of, on_strand);
        if (!on_strand) of->client()->work().share();
    }
    job& work = list->add();
    work.target = &target;
    return work;
}

void datagram_listener::start(job_lists& lists, const std::shared_ptr<datagram_exchange>& of) {
    for (auto& list : lists) {
        if (!list) continue;
        home_->count(&traffic_counters::jobs, list->size());
        assignment work{of->client(), list};
        if (!list->on_strand()) {
            context_.handlers->submit(std::move(work));
        } else if (handler_pool* here = home_->strand_handlers()) {
            here->work_here(std::move(work));
        } else {
            context_.handlers->work_once(socket_.get_executor(), std::move(work));
        }
    }
}

}  // namespace kephas
