#include <kephas/server/handler_pool.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/outbound_frames.hpp>
#include <kephas/server/request_state.hpp>
#include <kephas/server/routes.hpp>
#include <kephas/server/rpc_batch.hpp>
#include <kephas/server/runner.hpp>

#include <kephas/proto/jsonrpc/encode.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace kephas {

namespace {

/// Runs the middleware from `index` on, and then the handler.
asio::awaitable<void> run_chain(const std::vector<middleware_handler>& chain, std::size_t index, request_state& state) {
    if (index < chain.size()) {
        // The rest of the chain is started by the middleware, and only once.
        co_await chain[index](request{state}, [&chain, index, &state] { return run_chain(chain, index + 1, state); });
    } else if (state.work->rpc) {
        state.result = co_await state.work->target->handle_rpc(rpc_request{state});
    } else {
        state.reply = co_await state.work->target->handle(request{state});
    }
}

/// How long a handler may take.
inline duration timeout_for(const client_state& from) noexcept {
    const duration usual = from.options().handler_timeout;
    if (from.format() != wire_format::datagram) [[likely]] return usual;
    const duration own = from.options().datagrams.handler_timeout;
    if (own <= duration::zero() || usual <= duration::zero()) return std::max(own, usual);
    return std::min(own, usual);
}

/// Clears a job when it has ended, and also if its coroutine is destroyed before: a callback may hold the client whose it is.
struct job_clearer {
    explicit job_clearer(job& done) noexcept : work{done} {}
    job_clearer(const job_clearer&) = delete;
    job_clearer& operator=(const job_clearer&) = delete;
    ~job_clearer() { work.clear(); }
    job& work;
};

}  // namespace

void runner::start(std::function<void()> ended) {
    asio::co_spawn(strand_, run(),
                   asio::bind_cancellation_slot(cancel_.slot(), [ended = std::move(ended)](std::exception_ptr failure) {
                       if (failure) std::rethrow_exception(failure);  // a defect of ours: nothing in run() throws
                       ended();
                   }));
}

void runner::serve(assignment work) {
    asio::dispatch(strand_, [this, work = std::move(work)]() mutable { serve_here(std::move(work)); });
}

void runner::retire() {
    asio::dispatch(strand_, [this] { idle_.resume(); });
}

void runner::cancel_later(const handler_work& work) {
    asio::post(strand_, [this, &work] {
        // The client may have gone since, and another one taken its place: only its address is compared.
        if (work_ && &work_->from->work() == &work) cancel_now();
    });
}

void runner::cancel_now() {
    if (!cancellable_) return;
    was_cancelled_ = true;
    cancel_.emit(asio::cancellation_type::terminal);
}

inline void runner::before_handler(const request_state& state) {
    client_state& from = *state.from;
    if (state.work->target != nullptr) started_.store(started() + 1, std::memory_order_relaxed);
    cancellable_ = state.work->cancellable;
    const duration timeout = state.work->target != nullptr ? timeout_for(from) : duration::zero();
    if (timeout > duration::zero()) start_deadline(timeout);
    // The client left before its message's turn came: the handler may still do what it does without waiting.
    if (from.work().cancelled() && cancellable_) cancel_later(from.work());
}

// One coroutine frame for all messages of all clients that this runner works for: a handler brings only its own.
asio::awaitable<void> runner::run() {
    const auto& middleware = home_.all_routes().middleware_;
    for (;;) {
        co_await idle_.suspend();
        if (!work_) co_return;
        client_state& from = *work_->from;
        const bool on_strand = work_->source->on_strand();
        from.work().enter(*this, on_strand);
        request_state state{work_->from};
        job_source& source = *work_->source;
        const auto leaves_at_once = [&](const job& work, const std::optional<payload>& reply) {
            return !reply || (on_strand && source.take_reply(work.opcode, work.command, reply->view()));
        };
        while (job* const next = source.next()) {
            const job& work = *next;
            const job_clearer done{*next};
            state.work = next;
            if (!on_strand && source.may_share() && home_.has_idle_worker()) home_.submit(*work_);
            before_handler(state);
            bool answered = false;
            std::exception_ptr failure;
            try {
                if (work.target == nullptr) {
                    co_await (*work.callback)();
                } else if (!middleware.empty()) {
                    co_await run_chain(middleware, 0, state);
                    answered = !work.rpc && leaves_at_once(work, state.reply);
                } else if (work.rpc) {
                    state.result = co_await work.target->handle_rpc(rpc_request{state});
                } else {
                    std::optional<payload> reply = co_await work.target->handle(request{state});
                    answered = leaves_at_once(work, reply);
                    if (!answered) state.reply = std::move(reply);
                }
            } catch (...) {
                failure = std::current_exception();
            }
            cancellable_ = false;
            if (deadline_) end_deadline();
            if (std::exchange(was_cancelled_, false)) co_await asio::this_coro::reset_cancellation_state();
            if (work.target == nullptr) {  // callbacks report to whoever waits for them
                if (failure) home_.account_callback(failure, from);
                continue;
            }
            if (!failure) completed_.store(completed() + 1, std::memory_order_relaxed);
            try {
                if (work.rpc && !failure) answered = take_result(state, source);
                if (!answered) {
                    auto reply = answer(state, failure);
                    const bool is_error = failure && !(work.rpc && work.rpc->batch);
                    if (reply && source.take_answer(std::move(*reply), is_error)) reply.reset();
                    if (reply && from.out().push(std::move(*reply), overflow_policy::wait) == send_status::full) {
                        (void)co_await from.out().push_when_room(std::move(*reply));
                    }
                }
            } catch (const std::exception& error) {
                home_.log().error("a reply was lost: {}", error.what());
            }
            state.reply.reset();
            if (work.rpc) state.result = {};
            timed_out_ = false;
            if (from.work().end(work.counted_bytes, on_strand)) from.wake_unless_finished();
        }
        from.work().leave(*this, on_strand);
        work_.reset();
        if (once_ || !home_.give_back(*this)) co_return;
    }
}

void runner::start_deadline(duration timeout) {
    deadline_.emplace(strand_, timeout);
    deadline_pending_ = std::make_shared<bool>(true);
    deadline_->async_wait([this, pending = deadline_pending_](std::error_code ec) {
        if (ec || !*pending) return;  // then this runner may have gone
        timed_out_ = true;
        cancel_now();
    });
}

void runner::end_deadline() {
    *deadline_pending_ = false;
    deadline_pending_.reset();
    deadline_.reset();
}

std::optional<outbound_frame> runner::answer(request_state& state, const std::exception_ptr& failure) {
    if (failure && state.from->work().cancelled()) {  // its client is leaving: nobody reads that
        (void)home_.account(failure, timed_out_, *state.from);
        return std::nullopt;
    }
    return state.work->rpc ? answer_rpc(state, failure) : answer_command(state, failure);
}

std::optional<outbound_frame> runner::answer_command(request_state& state, const std::exception_ptr& failure) {
    const job& work = *state.work;
    if (!failure) {
        if (!state.reply) return std::nullopt;
        return make_frame(state.from->format(), work.opcode, work.command, std::move(*state.reply));
    }
    const client_state& to = *state.from;
    const jsonrpc::error_object error = home_.account(failure, timed_out_, *state.from);
    if (!work.command) {
        // Binary without a command id is a foreign protocol, which has no place for an error of ours.
        if (!to.alive() || work.opcode == websocket::opcode::binary) return std::nullopt;
        return make_text(to.format(), payload{jsonrpc::encode_error_event("handler_error", error.message)});
    }
    if (errors_on_same_channel(to.format(), to.options())) {
        return make_command(to.format(), *work.command, payload{error.message});
    }
    const auto id = static_cast<std::uint32_t>(*work.command);
    return make_command(to.format(), command_jsonrpc_error, payload{jsonrpc::encode_command_error(id, error)});
}

bool runner::take_result(const request_state& state, job_source& source) {
    const job& work = *state.work;
    const rpc_call& call = *work.rpc;
    if (call.batch) return false;
    if (call.request.is_notification()) return true;
    result_.clear();
    jsonrpc::encode_result(*call.request.id, state.result, result_);
    return source.take_reply(work.opcode, work.command, as_bytes(result_));
}

std::optional<outbound_frame> runner::answer_rpc(request_state& state, const std::exception_ptr& failure) {
    const job& work = *state.work;
    const rpc_call& call = *work.rpc;
    if (failure) {
        const jsonrpc::error_object error = home_.account(failure, timed_out_, *state.from);
        if (call.batch) return call.batch->set_error(call.slot, error);
        if (call.request.is_notification()) return std::nullopt;
        return make_rpc_error(state.from->format(), work.opcode, *call.request.id, error, state.from->options());
    }
    if (call.batch) return call.batch->set_result(call.slot, state.result);
    if (result_.size() <= outbound_queue::copy_threshold) {
        return make_frame(state.from->format(), work.opcode, work.command, payload::copy(result_));
    }
    return make_frame(state.from->format(), work.opcode, work.command, payload{std::move(result_)});
}

}  // namespace kephas
