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
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>

#include <exception>
#include <utility>

namespace kephas {

namespace {

/// Runs the middleware from `index` on, and then the handler.
asio::awaitable<void> run_chain(const std::vector<middleware_handler>& chain, std::size_t index, request_state& state) {
    if (index < chain.size()) {
        // The rest of the chain is started by the middleware, and only once.
        co_await chain[index](request{state}, [&chain, index, &state] { return run_chain(chain, index + 1, state); });
    } else if (state.work.rpc) {
        state.result = co_await state.work.target->handle_rpc(rpc_request{state});
    } else {
        state.reply = co_await state.work.target->handle(request{state});
    }
}

}  // namespace

void runner::start(std::function<void()> ended) {
    asio::co_spawn(strand_, run(),
                   asio::bind_cancellation_slot(cancel_.slot(), [ended = std::move(ended)](std::exception_ptr failure) {
                       if (failure) std::rethrow_exception(failure);  // a defect of ours: nothing in run() throws
                       ended();
                   }));
}

void runner::serve(assignment work) {
    asio::dispatch(strand_, [this, work = std::move(work)]() mutable {
        work_ = std::move(work);
        idle_.resume();
    });
}

void runner::retire() {
    asio::dispatch(strand_, [this] { idle_.resume(); });
}

void runner::cancel_later(const handler_work& work) {
    // Only what runs now: on_disconnect may be next on this runner, and the client's departure is no reason to cancel
    // that. A handler that starts later finds out by itself that its client has left.
    asio::post(strand_, [this, &work, mine = jobs_.load()] {
        // The client may have gone since, and another one taken its place: only its address is compared.
        if (work_ && &work_->from->work() == &work && mine == jobs_.load()) cancel_now();
    });
}

void runner::cancel_now() {
    if (!in_handler_) return;
    was_cancelled_ = true;
    cancel_.emit(asio::cancellation_type::terminal);
}

asio::awaitable<void> runner::run() {
    for (;;) {
        co_await idle_.suspend();
        if (!work_) co_return;
        handler_work& work = work_->from->work();
        work.enter(*this);
        while (auto next = work_->source->next()) {
            if (work_->source->may_share() && home_.has_idle_worker()) home_.submit(*work_);
            co_await run_job(std::move(*next));
        }
        work.leave(*this);
        work_.reset();
        if (once_) co_return;
        if (!home_.give_back(*this)) co_return;
    }
}

asio::awaitable<void> runner::run_job(job next) {
    const std::shared_ptr<client_state>& from = work_->from;
    request_state state{from, std::move(next)};
    const job& work = state.work;
    const auto& chain = work_->routes->middleware_;
    const duration timeout = work.target != nullptr ? from->options().handler_timeout : duration::zero();

    std::optional<asio::steady_timer> deadline;
    const std::uint64_t mine = jobs_.load(std::memory_order_relaxed) + 1;
    jobs_.store(mine);  // before cancelled() is asked: one of the two sees the other
    if (timeout > duration::zero()) {
        deadline.emplace(strand_, timeout);
        deadline->async_wait([this, mine](std::error_code ec) {
            if (ec || mine != jobs_.load() || !in_handler_) return;
            timed_out_ = true;
            cancel_now();
        });
    }
    home_.counters().started.fetch_add(1, std::memory_order_relaxed);
    in_handler_ = true;
    // The client left before its message's turn came: the handler may still do what it does without waiting.
    if (from->work().cancelled() && !work.farewell) cancel_later(from->work());

    std::exception_ptr failure;
    try {
        if (work.target == nullptr) co_await work.callback();
        else if (!chain.empty()) co_await run_chain(chain, 0, state);
        else if (work.rpc) state.result = co_await work.target->handle_rpc(rpc_request{state});
        else state.reply = co_await work.target->handle(request{state});
    } catch (...) {
        failure = std::current_exception();
    }
    in_handler_ = false;
    if (deadline) deadline->cancel();
    if (std::exchange(was_cancelled_, false)) co_await asio::this_coro::reset_cancellation_state();

    if (work.target != nullptr) {
        try {
            if (work.rpc) co_await answer_rpc(state, failure);
            else co_await answer(state, failure);
        } catch (const std::exception& error) {
            home_.log().error("a reply was lost: {}", error.what());
        }
        timed_out_ = false;
        if (from->work().end(work.counted_bytes)) from->wake();
    } else if (failure) {
        (void)home_.account(failure, false, *from);  // callbacks report to whoever waits for them
    }
}

asio::awaitable<void> runner::answer(request_state& state, std::exception_ptr failure) {
    client_state& to = *state.from;
    const job& work = state.work;
    std::optional<outbound_frame> frame;
    if (failure) {
        const jsonrpc::error_object error = home_.account(failure, timed_out_, to);
        if (!work.command) {
            if (to.alive()) frame = make_text(payload{jsonrpc::encode_error_event("handler_error", error.message)});
        } else if (to.options().command_errors == error_replies::same_channel) {
            frame = make_command(*work.command, payload{error.message});
        } else {
            const auto id = static_cast<std::uint32_t>(*work.command);
            frame = make_command(command_jsonrpc_error, payload{jsonrpc::encode_command_error(id, error)});
        }
    } else if (state.reply) {
        frame = make_frame(work.opcode, work.command, std::move(*state.reply));
    }
    if (!frame) co_return;
    const send_status at_once = to.out().push(std::move(*frame), overflow_policy::wait);
    if (at_once == send_status::full) (void)co_await to.out().push_when_room(std::move(*frame));
}

asio::awaitable<void> runner::answer_rpc(request_state& state, std::exception_ptr failure) {
    client_state& to = *state.from;
    const rpc_call& call = *state.work.rpc;
    std::optional<outbound_frame> frame;
    if (failure) frame = call.batch->set_error(call.slot, home_.account(failure, timed_out_, to));
    else frame = call.batch->set_result(call.slot, state.result);
    if (!frame) co_return;
    const send_status at_once = to.out().push(std::move(*frame), overflow_policy::wait);
    if (at_once == send_status::full) (void)co_await to.out().push_when_room(std::move(*frame));
}

}  // namespace kephas
