#include <kephas/base/error.hpp>

#include <kephas/proto/session/deflate_frame.hpp>

#include <kephas/server/client_state.hpp>
#include <kephas/server/clients.hpp>
#include <kephas/server/outbound_frames.hpp>
#include <kephas/server/shard.hpp>

namespace kephas {

namespace {
// A coroutine starts when it is awaited, and the handle that it was called on may have gone by then: hence the copies.
asio::awaitable<void> send_to(clients all, client_id id, command_id command, payload body) {
    const auto to = all.find(id);
    if (!to) throw error{errc::client_not_found};
    co_await to->send(command, std::move(body));
}

/// A message in the forms that its recipients take, each made once.
class broadcast_message {
public:
    /// Lifetime: `body` and `registry` stay.
    broadcast_message(websocket::opcode op, std::optional<command_id> id, bytes_view body, const client_registry& registry)
        : registry_{registry}, body_{body}, op_{op}, id_{id} {}

    /// Not while clients are locked: it takes its time. For whoever comes after that, `plain` is right all the same.
    void encode_for(unsigned formats) {
        for (unsigned format = 0; format < wire_format_count; ++format) {
            if ((formats >> format & 1U) != 0) (void)plain(wire_format{static_cast<std::uint8_t>(format)});
        }
    }

    /// Not while clients are locked: it takes its time. For whoever comes after that, `frame_for` is right all the same.
    void compress_for(unsigned shared_windows) {
        for (std::size_t window = 1; window < compressed_.size(); ++window) {
            if ((shared_windows >> window & 1U) == 0 || compressed_[window]) continue;
            websocket::deflater deflater{*registry_.codecs, registry_.deflate, false, static_cast<int>(window)};
            const slice& whole = plain(wire_format::websocket);
            outbound_frame& made = compressed_[window].emplace(deflate_frame(make_shared_frame(whole), deflater));
            if (made.as_is) registry_.deflated.add(whole.size(), made.size());
            made.as_is = true;  // if it did not become smaller now, it will not later
        }
    }
    [[nodiscard]] const slice& plain(wire_format format) {
        slice& encoded = plain_[static_cast<std::size_t>(format)];
        if (encoded.empty()) encoded = encode_shared(format, op_, id_, body_);
        return encoded;
    }
    [[nodiscard]] outbound_frame frame_for(const client_state& to) {
        const auto& compressed = compressed_[to.shared_window()];
        return compressed ? *compressed : make_shared_frame(plain(to.format()));
    }

private:
    const client_registry& registry_;
    bytes_view body_;
    websocket::opcode op_;
    std::optional<command_id> id_;
    std::array<slice, wire_format_count> plain_;
    std::array<std::optional<outbound_frame>, 16> compressed_;  // by window
};
}  // namespace

asio::awaitable<broadcast_report> clients::deliver_later(clients self, websocket::opcode op,
                                                         std::optional<command_id> id, payload body,
                                                         broadcast_options options) {
    co_return self.deliver(op, id, body, options);
}

asio::awaitable<broadcast_report> clients::broadcast(command_id id, payload body, broadcast_options options) const {
    return deliver_later(*this, websocket::opcode::binary, id, std::move(body), std::move(options));
}

asio::awaitable<broadcast_report> clients::broadcast_text(payload text, broadcast_options options) const {
    return deliver_later(*this, websocket::opcode::text, std::nullopt, std::move(text), std::move(options));
}

broadcast_report clients::deliver(websocket::opcode op, std::optional<command_id> id, const payload& body,
                                  const broadcast_options& options) const {
    broadcast_report report;
    const auto registry = registry_.lock();
    if (!registry) return report;
    broadcast_message message{op, id, body.view(), *registry};
    const overflow_policy policy =
        options.overflow == overflow_policy::wait ? overflow_policy::drop_newest : options.overflow;
    for (const auto& shard : registry->shards) {
        message.encode_for(shard->formats());
        if (registry->deflate.enabled) message.compress_for(shard->shared_windows());
        const bool at_once = shard->begin_sending_at_once();
        shard->for_each([&](client_state& to) {
            if (options.except.contains(to.id())) return;
            const bool sent = at_once && to.send_past_outbox(message.plain(to.format()).view());
            const send_status status = sent ? send_status::queued : to.out().push(message.frame_for(to), policy);
            if (status == send_status::queued) {
                ++report.queued;
                return;
            }
            ++report.dropped;
            if (status == send_status::full && policy == overflow_policy::close) {
                to.fail(close_code::slow_consumer, "slow consumer");
            }
        });
    }
    if (report.dropped > 0) registry->dropped.fetch_add(report.dropped, std::memory_order_relaxed);
    return report;
}

std::optional<client> clients::find(const client_id& id) const {
    const auto registry = registry_.lock();
    if (!registry) return std::nullopt;
    for (const auto& shard : registry->shards) {
        if (auto state = shard->find(id)) return client{std::move(state)};
    }
    return std::nullopt;
}

asio::awaitable<void> clients::send(client_id id, command_id command, payload body) const {
    return send_to(*this, id, command, std::move(body));
}

std::vector<client> clients::all() const {
    std::vector<client> all;
    const auto registry = registry_.lock();
    if (!registry) return all;
    for (const auto& shard : registry->shards) {
        shard->for_each([&](client_state& state) { all.emplace_back(state.shared_from_this()); });
    }
    return all;
}

std::size_t clients::size() const {
    std::size_t count = 0;
    if (const auto registry = registry_.lock()) {
        for (const auto& shard : registry->shards) count += shard->size();
    }
    return count;
}

}  // namespace kephas
