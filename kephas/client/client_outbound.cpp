// What leaves a client: messages, calls, requests. Most of it runs on any thread.
#include <kephas/base/error.hpp>

#include <kephas/proto/jsonrpc/encode.hpp>

#include <kephas/client/client_core.hpp>

#include <asio/this_coro.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace kephas {

/// No error: `message` was taken. Otherwise it is as it was.
std::error_code client_core::push_locked(outgoing& message) {
    if (closing_ || order_ || state_ == link_state::closed) return errc::closed;
    // Over UDP nothing larger can be sent, and the text has an id there, too.
    static constexpr std::size_t largest_udp = 65'507;
    const bool udp = url_.speaks == client_url::protocol::datagram && !is_unix(url_.where.kind);
    if (udp && command_id_size + message.body.size() > largest_udp) return std::make_error_code(std::errc::message_size);
    const bool bound = message.generation != 0;
    if (bound && (!link_up_ || message.generation != generation_)) return errc::closed;
    if (!bound) {
        if (state_ == link_state::idle) return errc::not_connected;
        if (refusing_locked()) return errc::not_connected;
    }
    if (!queue_.push(std::move(message), bound && !lane_open_)) return errc::full;
    ++stats_.messages_taken;
    return {};
}

std::error_code client_core::try_send(outgoing message) {
    std::error_code refused;
    {
        const std::lock_guard lock{mutex_};
        refused = push_locked(message);
    }
    if (!refused) wake();
    return refused;
}

asio::awaitable<void> client_core::send(std::shared_ptr<client_core> self, outgoing message) {
    auto pushing = push_when_room(std::move(self), nullptr, std::move(message));
    co_await std::move(pushing);
}

/// If the answer is there while it waits for room (the deadline has passed), it is not sent.
asio::awaitable<void> client_core::push_when_room(std::shared_ptr<client_core> self, wait_for_answer also, outgoing message) {
    for (;;) {
        std::error_code refused;
        {
            const std::lock_guard lock{self->mutex_};
            refused = self->push_locked(message);
        }
        if (!refused) break;
        if (refused != errc::full) throw error{refused};
        if (also) self->wake();  // reading goes on for its answer's sake: the server may have stopped because we have
        std::error_code ec;
        bool answered = false;
        co_await park(
            [&](parked_ptr who) {
                const std::lock_guard lock{self->mutex_};
                answered = also && !also(who);
                if (answered || self->closing_ || self->order_ ||
                    self->has_room_locked(message.size(), message.generation != 0)) {
                    return false;
                }
                self->await_room_locked({std::move(who), message.size(), message.generation != 0});
                return true;
            },
            ec);
        if (ec) throw std::system_error{ec};
        if (answered) co_return;
    }
    self->wake();
}

asio::awaitable<void> client_core::drained(std::shared_ptr<client_core> self) {
    bool gone = false;
    std::error_code ec;
    co_await park(
        [&](parked_ptr who) {
            const std::lock_guard lock{self->mutex_};
            if (self->queue_.empty()) return false;
            gone = self->closing_;
            if (!gone) self->await_room_locked({std::move(who), std::nullopt, false});
            return !gone;
        },
        ec);
    if (ec == errc::closed) gone = true;
    else if (ec) throw std::system_error{ec};
    if (gone) throw error{errc::closed};
}

/// Those that were cancelled make room.
void client_core::await_room_locked(room_waiter waiter) {
    std::erase_if(room_waiters_, [](const room_waiter& each) { return each.who->resumed(); });
    room_waiters_.push_back(std::move(waiter));
}

/// Everybody for whom there is room now, or never will be; whoever finds it taken waits again.
void client_core::make_room_locked() {
    const bool over = closing_ || order_;
    const bool refused = refusing_locked();
    std::erase_if(room_waiters_, [&](const room_waiter& each) {
        if (!each.size) {
            if (queue_.empty()) each.who->resume();
            else if (closing_) each.who->resume(make_error_code(errc::closed));
            else return false;
        } else {
            if (!over && (!refused || each.bound) && !has_room_locked(*each.size, each.bound)) return false;
            each.who->resume();
        }
        return true;
    });
}

void client_core::end_waits_locked(std::error_code why) {
    calls_.end_all(why);
    for (auto& [id, waiting] : requests_) {
        for (const auto& each : waiting) {
            each->done = true;
            each->failure = why;
            if (each->waiter) std::exchange(each->waiter, nullptr)->resume();
        }
    }
    requests_.clear();
    requests_pending_ = 0;
    stats_.messages_dropped += queue_.withdraw_all();  // nobody waits for the answer
    make_room_locked();
}

std::optional<outgoing> client_core::take_outgoing() {
    const std::lock_guard lock{mutex_};
    auto next = queue_.take(!lane_open_);
    if (next && (next->waiter & 1U) != 0) note_sent_locked(*next->command, next->waiter >> 1U);
    return next;
}

/// The order in which they leave, and are answered, is not the one in which they were made: there is the lane of the hooks, and
/// who waits for room.
void client_core::note_sent_locked(command_id id, std::uint64_t number) {
    const auto found = requests_.find(static_cast<std::uint32_t>(id));
    if (found == requests_.end()) return;
    auto& waiting = found->second;
    const auto each = std::ranges::find(waiting, number, [](const auto& request) { return request->number; });
    if (each == waiting.end()) return;
    (*each)->sent = true;
    const auto unsent = std::find_if(waiting.begin(), each, [](const auto& request) { return !request->sent; });
    std::rotate(unsent, each, std::next(each));
}

void client_core::sent(outgoing&& message) {
    const std::lock_guard lock{mutex_};
    queue_.sent(message);
    ++stats_.messages_sent;
    if (!room_waiters_.empty()) make_room_locked();
}

void client_core::not_sent(outgoing&& message) {
    const std::lock_guard lock{mutex_};
    queue_.put_back(std::move(message));
}

/// Whoever waits for the answer is told why; of other messages there is a line in the log.
void client_core::dropped(outgoing&& message, std::error_code why) {
    options_.log.warning("a message of {} bytes was not sent: {}", message.size(), why.message());
    const std::lock_guard lock{mutex_};
    queue_.sent(message);
    ++stats_.messages_dropped;
    if ((message.waiter & 1U) != 0) end_request_locked(*message.command, message.waiter >> 1U, why);
    else if (message.waiter != 0) calls_.end(message.waiter >> 1U, why);
    make_room_locked();
}

void client_core::unreachable(std::error_code why) {
    const std::lock_guard lock{mutex_};
    end_waits_locked(why);
}

void client_core::count_bytes(std::size_t received, std::size_t sent) {
    const std::lock_guard lock{mutex_};
    stats_.bytes_received += received;
    stats_.bytes_sent += sent;
}

const close_order* client_core::close_ordered() {
    {
        const std::lock_guard lock{mutex_};
        obeyed_ = order_;
    }
    if (!obeyed_) obeyed_ = give_up_;
    return obeyed_ ? &*obeyed_ : nullptr;
}

void client_core::end_call(std::uint64_t id, std::error_code why) {
    const std::lock_guard lock{mutex_};
    if (!calls_.contains(id)) return;
    calls_.end(id, why);
    if (queue_.withdraw(waiter_of_call(id))) ++stats_.messages_dropped;
    make_room_locked();
}

void client_core::end_request(command_id id, std::uint64_t number, std::error_code why) {
    const std::lock_guard lock{mutex_};
    if (!end_request_locked(id, number, why)) return;
    if (queue_.withdraw(waiter_of_request(number))) ++stats_.messages_dropped;
    make_room_locked();
}

/// False if it has ended already.
bool client_core::end_request_locked(command_id id, std::uint64_t number, std::error_code why) {
    const auto found = requests_.find(static_cast<std::uint32_t>(id));
    if (found == requests_.end()) return false;
    auto& waiting = found->second;
    const auto each = std::ranges::find(waiting, number, [](const auto& request) { return request->number; });
    if (each == waiting.end()) return false;
    (*each)->done = true;
    (*each)->failure = why;
    if ((*each)->waiter) std::exchange((*each)->waiter, nullptr)->resume();
    waiting.erase(each);
    --requests_pending_;
    if (waiting.empty()) requests_.erase(found);
    return true;
}

/// Completes when it is answered, with a result.
asio::awaitable<void> client_core::send_and_wait(std::shared_ptr<client_core> self, std::shared_ptr<pending_call> pending,
                                                 outgoing message) {
    const wait_for_answer also = [pending](const parked_ptr& who) {
        return jsonrpc::pending_calls<parked_ptr>::wait(*pending, who);
    };
    auto pushing = push_when_room(self, also, std::move(message));
    co_await std::move(pushing);
    std::error_code ec;
    co_await park(
        [&](parked_ptr who) {
            const std::lock_guard lock{self->mutex_};
            return also(who);
        },
        ec);
    if (ec) throw std::system_error{ec};
    const std::lock_guard lock{self->mutex_};
    if (pending->failure) throw error{pending->failure};
    if (pending->refusal) {
        throw rpc_failure{pending->refusal->code, std::move(pending->refusal->message),
                          std::move(pending->refusal->data).value_or(json{})};
    }
}

asio::awaitable<json> client_core::call(std::shared_ptr<client_core> self, std::string method, json params, duration timeout,
                                        std::uint64_t generation) {
    std::uint64_t id = 0;
    std::shared_ptr<pending_call> pending;
    {
        const std::lock_guard lock{self->mutex_};
        if (!self->closing_) pending = self->calls_.open(self->options_.max_pending_calls, id);
        if (!pending) throw error{self->closing_ ? errc::closed : errc::overloaded};
    }
    struct ends_call {  // also when the coroutine is cancelled or destroyed
        client_core& core;
        std::uint64_t id;
        ~ends_call() { core.end_call(id, errc::timed_out); }
    };
    const ends_call guard{*self, id};
    steady_timer deadline{co_await asio::this_coro::executor};
    if (timeout > duration::zero()) {
        deadline.expires_after(timeout);
        deadline.async_wait([self, id](std::error_code ec) {
            if (!ec) self->end_call(id, errc::timed_out);
        });
    }
    outgoing message{.body = payload{jsonrpc::encode_request(jsonrpc::request_id{id}, method, params)},
                     .waiter = waiter_of_call(id),
                     .generation = generation};
    auto answered = send_and_wait(self, pending, std::move(message));
    co_await std::move(answered);
    co_return std::move(*pending->result);
}

asio::awaitable<client_message> client_core::request(std::shared_ptr<client_core> self, command_id id, payload body,
                                                     duration timeout, std::uint64_t generation) {
    const auto pending = std::make_shared<pending_request>();
    {
        const std::lock_guard lock{self->mutex_};
        if (self->closing_) throw error{errc::closed};
        if (self->requests_pending_ >= self->options_.max_pending_calls) throw error{errc::overloaded};
        pending->number = ++self->last_request_;
        self->requests_[static_cast<std::uint32_t>(id)].push_back(pending);
        ++self->requests_pending_;
    }
    struct ends_request {
        client_core& core;
        command_id id;
        std::uint64_t number;
        ~ends_request() { core.end_request(id, number, errc::timed_out); }
    };
    const ends_request guard{*self, id, pending->number};
    steady_timer deadline{co_await asio::this_coro::executor};
    if (timeout > duration::zero()) {
        deadline.expires_after(timeout);
        deadline.async_wait([self, id, number = pending->number](std::error_code ec) {
            if (!ec) self->end_request(id, number, errc::timed_out);
        });
    }
    outgoing message{.command = id,
                     .body = std::move(body),
                     .waiter = waiter_of_request(pending->number),
                     .generation = generation};
    auto answered = send_and_wait(self, pending, std::move(message));
    co_await std::move(answered);
    co_return std::move(pending->reply);
}

}  // namespace kephas
