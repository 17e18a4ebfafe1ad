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

#include <chrono>
#include <cstring>
#include <utility>

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

datagram_socket_options socket_options(datagram_totals& totals) {
    datagram_socket_options options;
    options.on_send_error = [&totals](const std::error_code&, const socket_address&) {
        totals.unanswered.fetch_add(1, std::memory_order_relaxed);
    };
    return options;
}

}  // namespace

datagram_exchange::datagram_exchange(std::shared_ptr<datagram_listener> home, const socket_address& sender,
                                     std::shared_ptr<client_state> client)
    : home_{std::move(home)}, sender_{sender}, client_{std::move(client)} {
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
      socket_{executor, where, socket_options(context.datagrams), context.options->unix_access},
      endpoint_{socket_.local_address()},
      url_{std::string{is_unix(where.kind) ? "unixgram" : "udp"} + "://" + endpoint_},
      throttle_{std::chrono::seconds{10}, 1} {
    const rate_limit_options& rate = context.options->rate_limit;
    if (rate.messages_per_second > 0) {
        peers_.emplace(address_limits{0, rate.messages_per_second, rate.burst}, context.options->datagrams.peers, seed);
    }
}

asio::awaitable<void> datagram_listener::receive() {
    for (;;) {
        std::error_code failure;
        try {
            const std::span<const datagram_view> batch = co_await socket_.receive_batch();
            if (batch.empty()) break;
            const time_point now = clock::now();
            for (const datagram_view& each : batch) take(each, now);
        } catch (const std::system_error& error) {
            failure = error.code();
        }
        if (failure == asio::error::operation_aborted || !socket_.is_open()) break;
        if (!failure) continue;
        if (throttle_.note(clock::now())) context_.log.error("cannot receive datagrams: {}; trying again", failure.message());
        steady_timer pause{socket_.get_executor(), std::chrono::milliseconds{100}};
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, failure));
    }
    const std::lock_guard lock{mutex_};
    stopped_ = true;
    wake_locked();
}

asio::awaitable<void> datagram_listener::send() {
    for (;;) {
        const bool more = co_await wait_for_replies();
        if (!more) break;
        std::deque<outgoing> batch;
        {
            const std::lock_guard lock{mutex_};
            batch.swap(replies_);
        }
        for (outgoing& each : batch) {
            const bytes_view body = each.frame.body.view();
            std::error_code failure;
            try {
                reply_.resize(each.frame.head_size + body.size());
                std::memcpy(reply_.data(), each.frame.head.data(), each.frame.head_size);
                if (!body.empty()) std::memcpy(reply_.data() + each.frame.head_size, body.data(), body.size());
                co_await socket_.send(reply_, each.to->sender());
            } catch (const std::system_error& error) {
                failure = error.code();
            } catch (const std::bad_alloc&) {
                failure = std::make_error_code(std::errc::not_enough_memory);
            }
            if (failure) {
                note_unsent(each.to->sender(), reply_.size(), failure);
            } else {
                context_.datagrams.answered.fetch_add(1, std::memory_order_relaxed);
                home_->count(&traffic_counters::bytes_sent, reply_.size());
                traffic_.sent(reply_.size());
                traffic_.sent_directly(1);
            }
            each.to.reset();  // its end may be what is waited for
        }
    }
    try {
        co_await socket_.flush();
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): closed meanwhile
    }
    socket_.close();
    std::deque<outgoing> lost;  // each keeps this listener; destroyed without the lock
    const std::lock_guard lock{mutex_};
    closed_ = true;
    lost.swap(replies_);
}

/// False when none will come any more.
asio::awaitable<bool> datagram_listener::wait_for_replies() {
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
    co_return !closed_ && !replies_.empty();
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
}

void datagram_listener::ended(const datagram_exchange& last) noexcept {
    const std::lock_guard lock{mutex_};
    live_.erase(&last);
    wake_locked();
}

void datagram_listener::reply(std::shared_ptr<datagram_exchange> to, outbound_frame&& frame) {
    if (to->sender().empty()) {  // a Unix socket without a name
        context_.datagrams.unanswered.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    const std::lock_guard lock{mutex_};
    if (closed_) return;  // nobody would take it from there
    replies_.push_back({std::move(to), std::move(frame)});
    wake_locked();
}

void datagram_listener::note_unsent(const socket_address& to, std::size_t size, const std::error_code& why) noexcept {
    context_.datagrams.unanswered.fetch_add(1, std::memory_order_relaxed);
    if (!throttle_.note(clock::now())) return;
    try {
        context_.log.warning("a reply of {} bytes was not sent: {} remote_addr={}", size, why.message(), to_string(to));
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
    traffic_.received_messages(1);
    const bool whole = !datagram.truncated() && datagram.bytes.size() <= context_.session.max_binary_message;
    if (!whole || datagram.bytes.size() < command_id_size) return count(totals.malformed);
    if (!within_rate(datagram.sender(), now)) return;
    {
        const std::lock_guard lock{mutex_};
        if (live_.size() >= context_.options->datagrams.in_flight) return count(totals.overloaded);
    }
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
                                                        stand_in(datagram.sender(), home_, socket_.get_executor()));
    home_->count(&traffic_counters::messages_received, 1);
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
    const bool same_channel = context_.options->command_errors == error_replies::same_channel;
    refuse(of, same_channel ? make_command(datagrams, id, payload{error.message})
                            : make_command(datagrams, command_jsonrpc_error,
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
