#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/memory_budget.hpp>
#include <kephas/base/uuid.hpp>

#include <kephas/proto/session/timer_wheel.hpp>
#include <kephas/proto/websocket/deflate_codec.hpp>

#include <kephas/net/poller.hpp>
#include <kephas/net/slab_cache.hpp>
#include <kephas/net/steady_timer.hpp>

#include <kephas/server/counters.hpp>
#include <kephas/server/outbox.hpp>
#include <kephas/server/traffic.hpp>

#include <asio/any_io_executor.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

namespace kephas {

class client_state;
class handler_pool;
struct client_registry;
struct server_options;

/// Something with a deadline on a shard's wheel.
class timer_target : public timer_entry {
public:
    /// The deadline has passed. On a thread of its own (`shard::single_threaded`) this is the strand of the target;
    /// otherwise the shard is locked, and the target posts to its strand.
    virtual void timer_expired() noexcept = 0;

protected:
    ~timer_target() = default;
};

/// A partition of the server: its clients, their timers and the read buffers that are lent to them.
///
/// With threads of our own, a shard is one thread with its `io_context`, which is the strand of its clients. On an
/// executor of the user's, each client has a strand of its own and the shard is guarded by its mutex.
class shard final : public std::enable_shared_from_this<shard>, public slab_lender {
public:
    enum class threading : bool { single_threaded, shared };

    /// `outboxes` is what the outboxes of all shards together may hold.
    shard(asio::any_io_executor executor, threading mode, std::shared_ptr<const server_options> options,
          std::shared_ptr<memory_budget> outboxes);

    [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; }
    [[nodiscard]] const server_options& options() const noexcept { return *options_; }
    [[nodiscard]] bool single_threaded() const noexcept { return mode_ == threading::single_threaded; }
    /// What waits for the sockets of its clients, if they share its thread; otherwise null.
    [[nodiscard]] poller* sockets() noexcept { return sockets_.get(); }
    /// The runners of `on_strand` handlers, when all clients of the shard share its thread; otherwise null.
    [[nodiscard]] handler_pool* strand_handlers() noexcept { return strand_handlers_.get(); }
    void set_strand_handlers(std::shared_ptr<handler_pool> handlers) noexcept { strand_handlers_ = std::move(handlers); }

    /// The registry that this shard is a part of: how a client's handle finds the others.
    void set_registry(std::weak_ptr<const client_registry> registry) noexcept { registry_ = std::move(registry); }
    [[nodiscard]] const std::weak_ptr<const client_registry>& registry() const noexcept { return registry_; }

    // what the clients of this shard read into: only on its thread, if it has one
    [[nodiscard]] slice borrow_slab() override;
    void give_back_slab(slice slab) override;

    /// zlib's contexts for the clients of this shard; only there if the server compresses.
    [[nodiscard]] websocket::codec_lender& codecs() noexcept { return *codecs_; }
    void set_codecs(std::unique_ptr<websocket::codec_lender> codecs) noexcept { codecs_ = std::move(codecs); }

    /// Unless it is scheduled for an earlier time already.
    void schedule(timer_target& target, time_point deadline);
    void cancel(timer_target& target);

    /// Has the client's strand look after it (`client_state::on_wake`). Any thread; one post for a burst of clients.
    void wake(std::shared_ptr<client_state> client);

    void add(std::shared_ptr<client_state> client);
    /// Its connection is ending: it is not found any more, but its outbox still counts in `outbound()`.
    void remove(const uuid& id);
    /// Its connection has ended: discards what its outbox holds.
    void forget(client_state& client);
    [[nodiscard]] std::shared_ptr<client_state> find(const uuid& id) const;
    [[nodiscard]] std::size_t size() const;
    /// Bit n is set if there are clients whose `shared_window()` is n.
    [[nodiscard]] unsigned shared_windows() const;
    /// Bit n is set if there are clients whose wire format has that number.
    [[nodiscard]] unsigned formats() const noexcept;
    /// Calls `visit` for each client, with the registry locked, except on the thread that alone changes it: it must not block,
    /// add or remove.
    void for_each(const std::function<void(client_state&)>& visit) const;
    /// Whether a message to everybody may leave past the outboxes (`client_state::send_past_outbox`): on the shard's thread,
    /// for the first one of each round of that. Those that follow are queued, and leave with one write to each client.
    [[nodiscard]] bool begin_sending_at_once();

    [[nodiscard]] memory_budget& outbox_budget() const noexcept { return *outbox_budget_; }
    /// What the outboxes of all its clients did, of those too that have left; and what its clients of each listener did,
    /// added to `traffic` by `slot_of`.
    [[nodiscard]] outbound_totals outbound(std::vector<listener_traffic>& traffic) const;

    /// Adds to a counter of what the clients do: only on the shard's thread, if it has one.
    void count(std::atomic<std::uint64_t> traffic_counters::*what, std::uint64_t more) noexcept {
        std::atomic<std::uint64_t>& counter = traffic_.*what;
        if (single_threaded()) counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
        else counter.fetch_add(more, std::memory_order_relaxed);
    }
    [[nodiscard]] const traffic_counters& traffic() const noexcept { return traffic_; }
    [[nodiscard]] const slab_cache& slabs() const noexcept { return slabs_; }
    void call_started() noexcept { calls_started_.fetch_add(1, std::memory_order_relaxed); }
    void call_ended() noexcept { calls_ended_.fetch_add(1, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t calls_started() const noexcept { return calls_started_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t calls_ended() const noexcept { return calls_ended_.load(std::memory_order_relaxed); }

    /// No more timers, no more sockets: the shard lets go of its executor.
    void stop();

private:
    [[nodiscard]] std::unique_lock<std::mutex> guard_if_shared();
    void arm_timer();
    void fire_timers();
    void deliver_wakes();
    [[nodiscard]] bool on_own_thread_locked() const noexcept;

    asio::any_io_executor executor_;
    threading mode_;
    std::shared_ptr<poller> sockets_;
    std::shared_ptr<handler_pool> strand_handlers_;
    std::weak_ptr<const client_registry> registry_;
    std::shared_ptr<const server_options> options_;  // its clients refer to them
    std::shared_ptr<memory_budget> outbox_budget_;

    std::mutex mutex_;  // the wheel and the slabs, when several threads run the shard
    timer_wheel wheel_;
    std::optional<steady_timer> timer_;  // until `stop`: handles to clients keep the shard beyond its executor
    time_point armed_for_ = time_point::max();
    slab_cache slabs_;
    std::unique_ptr<websocket::codec_lender> codecs_;

    traffic_counters traffic_;
    alignas(64) std::atomic<std::uint64_t> calls_started_{0};  // by whoever calls
    std::atomic<std::uint64_t> calls_ended_{0};

    std::mutex wakes_mutex_;
    std::vector<std::shared_ptr<client_state>> wakes_;
    bool sent_at_once_ = false;  // in this round of the shard's thread

    mutable std::mutex registry_mutex_;
    // By their ids, which they keep themselves. libstdc++ stores no hash beside a functor's elements if it is `noexcept`.
    struct id_of {
        using is_transparent = void;
        [[nodiscard]] static const uuid& of(const uuid& id) noexcept { return id; }
        [[nodiscard]] static const uuid& of(const std::shared_ptr<client_state>& client) noexcept;
        [[nodiscard]] std::size_t operator()(const auto& key) const noexcept { return std::hash<uuid>{}(of(key)); }
        [[nodiscard]] bool operator()(const auto& one, const auto& other) const noexcept { return of(one) == of(other); }
    };
    using client_set = std::unordered_set<std::shared_ptr<client_state>, id_of, id_of>;
    client_set clients_;
    client_set leaving_;
    // Those of `clients_` as they came, as far as none has left: so lie their sockets in the kernel's memory, too, and to go
    // through ten thousand of them in another order takes the kernel half as long again.
    std::vector<client_state*> in_order_;
    outbound_totals forgotten_;
    std::vector<kephas::traffic> forgotten_traffic_;  // by `slot_of`
    bool stopped_ = false;
    std::array<std::uint32_t, 16> shared_windows_{};  // how many of them have each
    std::array<std::atomic<std::uint32_t>, wire_format_count> formats_{};  // changed with the registry locked
};

}  // namespace kephas
