#include <kephas/base/block_cache.hpp>

#include <kephas/net/hand_over.hpp>

#include <kephas/server/handler_pool.hpp>

#include <kephas/server/client_state.hpp>
#include <kephas/server/request.hpp>

#include <asio/error.hpp>
#include <asio/post.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace kephas {

handler_pool::handler_pool(std::shared_ptr<const kephas::routes> routes, asio::any_io_executor executor,
                           strand_factory strands, unsigned threads, handler_counters& counters, logger log)
    : routes_{std::move(routes)},
      executor_{std::move(executor)},
      strands_{std::move(strands)},
      threads_{threads},
      log_{std::move(log)},
      counters_{counters} {
    static constexpr std::size_t most_idle_bursts = 64;
    idle_bursts_.reserve(most_idle_bursts);
}

handler_pool::~handler_pool() = default;

void handler_pool::submit(assignment work) {
    workers_.fetch_add(1, std::memory_order_relaxed);
    try {
        hand_over(executor_, [self = shared_from_this(), work = std::move(work)]() mutable {
            self->work_on(std::move(work));
            self->workers_.fetch_sub(1, std::memory_order_relaxed);
        });
    } catch (...) {
        workers_.fetch_sub(1, std::memory_order_relaxed);
        throw;
    }
}

void handler_pool::work_on(assignment work) {
    // One runner works until it suspends; if jobs are left then, another one takes them.
    do {
        runner* const who = take();
        if (who == nullptr) return;
        who->serve(work);
    } while (work.source->may_share());
}

void handler_pool::work_here(assignment&& work) {
    if (runner* const who = take()) who->serve_here(std::move(work));
}

bool handler_pool::has_idle_worker() const noexcept { return workers_.load(std::memory_order_relaxed) < threads_; }

void handler_pool::work_once(const asio::any_io_executor& strand, assignment work) {
    add(strand, true)->serve(std::move(work));
}

runner* handler_pool::take() {
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            runner* const who = idle_.back();
            idle_.pop_back();
            return who;
        }
    }
    return add(strands_(), false);
}

runner* handler_pool::add(asio::any_io_executor strand, bool once) {
    auto fresh = std::make_unique<runner>(std::move(strand), *this, once);
    runner* const who = fresh.get();
    {
        const std::lock_guard lock{mutex_};
        if (stopping_ && !once) return nullptr;  // for a worker that was posted when others had taken its jobs already
        runners_.push_back(std::move(fresh));
    }
    try {
        who->start([self = shared_from_this(), who] { self->ended(*who); });
    } catch (...) {
        const std::lock_guard lock{mutex_};
        std::erase_if(runners_, [who](const auto& each) { return each.get() == who; });
        throw;
    }
    return who;
}

bool handler_pool::give_back(runner& who) {
    const std::lock_guard lock{mutex_};
    if (stopping_) return false;
    idle_.push_back(&who);
    return true;
}

std::shared_ptr<burst> handler_pool::take_burst() {
    std::unique_ptr<burst> taken;
    {
        const std::lock_guard lock{mutex_};
        if (!idle_bursts_.empty()) {
            taken = std::move(idle_bursts_.back());
            idle_bursts_.pop_back();
        }
    }
    if (!taken) taken = std::make_unique<burst>();
    return {taken.release(), [self = shared_from_this()](burst* used) { self->give_back(std::unique_ptr<burst>{used}); },
            block_allocator<burst>{}};
}

void handler_pool::give_back(std::unique_ptr<burst> used) noexcept {
    used->recycle();
    const std::lock_guard lock{mutex_};
    if (idle_bursts_.size() < idle_bursts_.capacity()) idle_bursts_.push_back(std::move(used));
}

void handler_pool::ended(runner& who) {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(runners_, &who, &std::unique_ptr<runner>::get);
    ended_.started += who.started();
    ended_.completed += who.completed();
    // This is called from inside its coroutine: the runner goes when that has unwound.
    asio::post(who.strand(), [last = std::move(*found)] {});
    *found = std::move(runners_.back());
    runners_.pop_back();
    if (runners_.empty() && stopper_) std::exchange(stopper_, nullptr)->resume();
}

asio::awaitable<void> handler_pool::stop() {
    std::vector<runner*> retiring;
    {
        const std::lock_guard lock{mutex_};
        stopping_ = true;  // a runner may still be on its way back from its last job
        retiring.swap(idle_);
    }
    for (runner* who : retiring) who->retire();
    std::error_code ec;
    co_await park(
        [this](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            if (runners_.empty()) return false;
            stopper_ = std::move(who);
            return true;
        },
        ec);
}

jsonrpc::error_object handler_pool::account(const std::exception_ptr& failure, bool timed_out, client_state& from) {
    if (timed_out) {
        counters_.timed_out.fetch_add(1, std::memory_order_relaxed);
        log_failure(log_level::warning, "a handler took too long and was cancelled", from);
        return jsonrpc::server_error("operation timed out");
    }
    outcome how{};
    jsonrpc::error_object answer = judge(failure, from, how);
    switch (how) {
        case outcome::refused: counters_.refused.fetch_add(1, std::memory_order_relaxed); break;
        case outcome::failed: counters_.failed.fetch_add(1, std::memory_order_relaxed); break;
        case outcome::cancelled: counters_.cancelled.fetch_add(1, std::memory_order_relaxed); break;
    }
    return answer;
}

void handler_pool::account_callback(const std::exception_ptr& failure, client_state& from) {
    outcome how{};
    (void)judge(failure, from, how);
    if (how == outcome::failed) counters_.callbacks_failed.fetch_add(1, std::memory_order_relaxed);
}

jsonrpc::error_object handler_pool::judge(const std::exception_ptr& failure, client_state& from, outcome& how) {
    how = outcome::failed;
    std::string what;
    try {
        std::rethrow_exception(failure);
    } catch (const request_error& refused) {
        how = outcome::refused;
        return {refused.code(), refused.what(), refused.data()};
    } catch (const std::system_error& other) {
        if (from.work().cancelled() && other.code() == asio::error::operation_aborted) {
            how = outcome::cancelled;
            return jsonrpc::internal_error();  // nobody is left to read it
        }
        what = other.what();
    } catch (const std::exception& other) {
        what = other.what();
    } catch (...) {
        what = "an exception of unknown type";
    }
    log_failure(log_level::error, fmt::format("a handler failed: {}", escaped(what)), from);  // it may hold a peer's text
    return jsonrpc::internal_error();
}

void handler_pool::log_failure(log_level level, std::string_view what, const client_state& from) {
    if (from.format() != wire_format::datagram) {
        log_.log(level, "{} client_id={}", what, from.id().to_string());
        return;
    }
    std::optional<std::uint64_t> count;
    {
        const std::lock_guard lock{mutex_};
        count = datagram_failures_.note(clock::now());
    }
    if (!count) return;
    const std::string more = *count > 1 ? fmt::format(" ({} more since the last such line)", *count - 1) : "";
    log_.log(level, "{} remote_addr={}{}", what, from.remote_address(), more);
}

handler_totals handler_pool::totals() const {
    const std::lock_guard lock{mutex_};
    handler_totals totals = ended_;
    for (const auto& each : runners_) {
        totals.completed += each->completed();  // before those that were started: never more than they
        totals.started += each->started();
    }
    return totals;
}

}  // namespace kephas
