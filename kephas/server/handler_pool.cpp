#include <kephas/server/handler_pool.hpp>

#include <asio/post.hpp>

#include <utility>

namespace kephas {

handler_pool::handler_pool(asio::any_io_executor executor, strand_factory strands, unsigned threads, logger log)
    : executor_{std::move(executor)}, strands_{std::move(strands)}, threads_{threads}, log_{std::move(log)} {}

handler_pool::~handler_pool() = default;

void handler_pool::submit(assignment work) {
    workers_.fetch_add(1, std::memory_order_relaxed);
    asio::post(executor_, [self = shared_from_this(), work = std::move(work)]() mutable {
        self->work_on(std::move(work));
        self->workers_.fetch_sub(1, std::memory_order_relaxed);
    });
}

void handler_pool::work_on(assignment work) {
    // One runner works until it suspends; if jobs are left then, another one takes them.
    do {
        take().serve(work);
    } while (work.source->may_share());
}

bool handler_pool::has_idle_worker() const noexcept { return workers_.load(std::memory_order_relaxed) < threads_; }

runner& handler_pool::take() {
    runner* fresh = nullptr;
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            runner& who = *idle_.back();
            idle_.pop_back();
            return who;
        }
        runners_.push_back(std::make_unique<runner>(strands_(), *this));
        fresh = runners_.back().get();
    }
    fresh->start([self = shared_from_this()] {
        parked_ptr stopper;
        {
            const std::lock_guard lock{self->mutex_};
            if (++self->ended_ == self->runners_.size()) stopper = std::exchange(self->stopper_, nullptr);
        }
        if (stopper) stopper->resume();
    });
    return *fresh;
}

void handler_pool::give_back(runner& who) {
    const std::lock_guard lock{mutex_};
    idle_.push_back(&who);
}

asio::awaitable<void> handler_pool::stop() {
    std::vector<runner*> retiring;
    {
        const std::lock_guard lock{mutex_};
        retiring.swap(idle_);
    }
    for (runner* who : retiring) who->retire();
    std::error_code ec;
    co_await park(
        [this](parked_ptr who) {
            const std::lock_guard lock{mutex_};
            if (ended_ == runners_.size()) return false;
            stopper_ = std::move(who);
            return true;
        },
        ec);
}

}  // namespace kephas
