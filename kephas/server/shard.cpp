#include <kephas/base/prefetch.hpp>

#include <kephas/net/hand_over.hpp>

#include <kephas/server/client_state.hpp>
#include <kephas/server/shard.hpp>

#include <asio/post.hpp>

#include <utility>

namespace kephas {

namespace {
constexpr auto wheel_tick = std::chrono::milliseconds{10};
constexpr std::size_t wheel_slots = 1024;
}  // namespace

shard::shard(asio::any_io_executor executor, threading mode, std::shared_ptr<const server_options> options,
             std::shared_ptr<memory_budget> outboxes)
    : executor_{std::move(executor)},
      mode_{mode},
      options_{std::move(options)},
      outbox_budget_{std::move(outboxes)},
      wheel_{wheel_tick, wheel_slots, clock::now()},
      timer_{executor_} {
    if (single_threaded()) sockets_ = std::make_shared<poller>(executor_);
}

slice shard::borrow_slab() {
    const auto lock = guard_if_shared();
    return slabs_.borrow();
}

void shard::give_back_slab(slice slab) {
    const auto lock = guard_if_shared();
    slabs_.give_back(std::move(slab));
}

void shard::schedule(timer_target& target, time_point deadline) {
    const auto lock = guard_if_shared();
    if (target.scheduled() && target.deadline() <= deadline) return;
    wheel_.schedule(target, deadline);
    arm_timer();
}

void shard::cancel(timer_target& target) {
    const auto lock = guard_if_shared();
    wheel_.cancel(target);
}

void shard::wake(std::shared_ptr<client_state> client) {
    if (!single_threaded()) {
        const auto& strand = client->strand();
        asio::post(strand, [client = std::move(client)] { client->on_wake(); });
        return;
    }
    const std::lock_guard lock{wakes_mutex_};
    wakes_.push_back(std::move(client));
    if (wakes_.size() == 1) hand_over(executor_, [self = shared_from_this()] { self->deliver_wakes(); });
}

void shard::deliver_wakes() {
    std::vector<std::shared_ptr<client_state>> batch;
    {
        const std::lock_guard lock{wakes_mutex_};
        batch.swap(wakes_);
    }
    // Of thousands nothing is in the processor's cache any more: what the next ones need is on its way meanwhile.
    static constexpr std::size_t ahead = 4;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        if (i + 2 * ahead < batch.size()) prefetch(*batch[i + 2 * ahead]);
        if (i + ahead < batch.size()) batch[i + ahead]->prefetch_session();
        batch[i]->on_wake();
    }
    batch.clear();
    const std::lock_guard lock{wakes_mutex_};
    if (wakes_.empty()) wakes_.swap(batch);  // keeps the capacity for the next burst
}

const uuid& shard::id_of::of(const std::shared_ptr<client_state>& client) noexcept { return client->id(); }

void shard::add(std::shared_ptr<client_state> client) {
    const std::lock_guard lock{registry_mutex_};
    client_state& fresh = *client;
    in_order_.push_back(&fresh);
    bool added = false;
    try {
        added = clients_.insert(std::move(client)).second;
    } catch (...) {
        in_order_.pop_back();
        throw;
    }
    if (!added) return in_order_.pop_back();  // two with the same random id
    fresh.set_place(in_order_.size() - 1);
    ++shared_windows_[fresh.shared_window()];
    formats_[static_cast<std::size_t>(fresh.format())].fetch_add(1, std::memory_order_relaxed);
}

void shard::remove(const uuid& id) {
    const std::lock_guard lock{registry_mutex_};
    const auto client = clients_.find(id);
    if (client == clients_.end()) return;
    --shared_windows_[(*client)->shared_window()];
    formats_[static_cast<std::size_t>((*client)->format())].fetch_sub(1, std::memory_order_relaxed);
    const std::size_t place = (*client)->place();
    in_order_[place] = in_order_.back();
    in_order_[place]->set_place(place);
    in_order_.pop_back();
    leaving_.insert(clients_.extract(client));
}

void shard::forget(client_state& client) {
    client_set::node_type last;  // destroyed after the lock
    const std::lock_guard lock{registry_mutex_};
    const auto found = leaving_.find(client.id());
    if (found == leaving_.end()) return;
    last = leaving_.extract(found);
    client.out().discard();
    forgotten_ += client.out().totals();
    const std::size_t slot = slot_of(client.listener());
    if (forgotten_traffic_.size() <= slot) forgotten_traffic_.resize(slot + 1);
    forgotten_traffic_[slot] += client.traffic();
}

outbound_totals shard::outbound(std::vector<listener_traffic>& traffic) const {
    const auto at = [&](std::size_t slot) -> listener_traffic& {
        if (traffic.size() <= slot) traffic.resize(slot + 1);
        return traffic[slot];
    };
    const std::lock_guard lock{registry_mutex_};
    outbound_totals all = forgotten_;
    // Read once, and counted as queued and as written, so that the sums are right whenever somebody asks.
    const std::uint64_t messages = traffic_.direct_messages.load(std::memory_order_relaxed);
    const std::uint64_t bytes = traffic_.direct_bytes.load(std::memory_order_relaxed);
    all.counters.queued_messages += messages;
    all.counters.written_messages += messages;
    all.counters.queued_bytes += bytes;
    all.counters.written_bytes += bytes;
    for (std::size_t slot = 0; slot < forgotten_traffic_.size(); ++slot) at(slot).traffic += forgotten_traffic_[slot];
    for (const client_set* set : {&clients_, &leaving_}) {
        for (const auto& client : *set) {
            all += client->out().totals();
            listener_traffic& own = at(slot_of(client->listener()));
            own.traffic += client->traffic();
            if (set == &clients_) ++own.clients;
        }
    }
    return all;
}

std::shared_ptr<client_state> shard::find(const uuid& id) const {
    const std::lock_guard lock{registry_mutex_};
    const auto found = clients_.find(id);
    return found == clients_.end() ? nullptr : *found;
}

std::size_t shard::size() const {
    const std::lock_guard lock{registry_mutex_};
    return clients_.size();
}

unsigned shard::shared_windows() const {
    const std::lock_guard lock{registry_mutex_};
    unsigned bits = 0;
    for (std::size_t window = 1; window < shared_windows_.size(); ++window) {
        if (shared_windows_[window] > 0) bits |= 1U << window;
    }
    return bits;
}

unsigned shard::formats() const noexcept {
    unsigned bits = 0;
    for (std::size_t format = 0; format < formats_.size(); ++format) {
        if (formats_[format].load(std::memory_order_relaxed) > 0) bits |= 1U << format;
    }
    return bits;
}

bool shard::on_own_thread_locked() const noexcept {
    if (!single_threaded() || stopped_) return false;
    const auto* const own = executor_.target<asio::io_context::executor_type>();
    return own != nullptr && own->running_in_this_thread();
}

bool shard::begin_sending_at_once() {
    {
        const std::lock_guard lock{registry_mutex_};
        if (!on_own_thread_locked()) return false;
    }
    if (sent_at_once_) return false;
    try {
        hand_over(executor_, [self = shared_from_this()] { self->sent_at_once_ = false; });
    } catch (const std::bad_alloc&) {  // queueing may work all the same
        return false;
    }
    sent_at_once_ = true;
    return true;
}

void shard::for_each(const std::function<void(client_state&)>& visit) const {
    std::unique_lock lock{registry_mutex_};
    const bool own = on_own_thread_locked();
    if (own) lock.unlock();
    static constexpr std::size_t ahead = 4;  // as in `deliver_wakes`
    for (std::size_t i = 0; i < in_order_.size(); ++i) {
        if (i + 2 * ahead < in_order_.size()) prefetch(*in_order_[i + 2 * ahead]);
        if (own && i + ahead < in_order_.size()) in_order_[i + ahead]->prefetch_session();
        visit(*in_order_[i]);
    }
}

void shard::stop() {
    {
        const std::lock_guard registry_lock{registry_mutex_};
        stopped_ = true;
    }
    const auto lock = guard_if_shared();
    timer_.reset();
    if (sockets_) sockets_->stop();
}

std::unique_lock<std::mutex> shard::guard_if_shared() {
    return single_threaded() ? std::unique_lock<std::mutex>{} : std::unique_lock{mutex_};
}

void shard::arm_timer() {
    const auto next = wheel_.next_wakeup();
    if (!next || *next >= armed_for_ || !timer_) return;
    armed_for_ = *next;
    timer_->expires_at(*next);
    timer_->async_wait([self = shared_from_this()](std::error_code ec) {
        if (!ec) self->fire_timers();
    });
}

void shard::fire_timers() {
    const auto lock = guard_if_shared();
    armed_for_ = time_point::max();
    const time_point now = clock::now();
    while (timer_entry* entry = wheel_.pop_expired(now)) static_cast<timer_target*>(entry)->timer_expired();
    arm_timer();
}

}  // namespace kephas
