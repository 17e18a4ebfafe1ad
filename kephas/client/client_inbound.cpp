// What reaches a client: answers, calls of the server's, messages. All of it runs on the executor.
#include <kephas/base/error.hpp>

#include <kephas/proto/jsonrpc/encode.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <kephas/client/client_core.hpp>

#include <asio/error.hpp>

#include <utility>
#include <variant>

namespace kephas {

namespace {

constexpr std::size_t cost_of_one = 256;  // of what waits: its coroutine, its place in a queue

/// What is less than half of its buffer is copied, so that it does not keep all of that.
slice compact(slice payload) {
    if (payload.block_size() <= 2 * payload.size() + 64) return payload;
    return slice::copy(payload.view());
}

}  // namespace

/// While somebody waits for an answer the number of messages does not stop reading, or that answer might never come. If the
/// bytes do, it cannot come any more.
bool client_core::has_room() {
    const std::lock_guard lock{mutex_};
    const bool waits = !calls_.empty() || requests_pending_ > 0;
    const bool bytes_full = received_bytes_ >= options_.max_received_bytes;
    if (bytes_full && waits) end_waits_locked(errc::overloaded);
    starved_ = bytes_full || (!waits && received_messages_ >= options_.max_received_messages);
    return !starved_;
}

void client_core::received(std::optional<command_id> command, slice payload) {
    {
        const std::lock_guard lock{mutex_};
        ++stats_.messages_received;
    }
    if (!command || is_reserved(*command)) {
        const jsonrpc::limits limits{.max_size = options_.max_message};
        client_message original{command, compact(payload)};
        if (command) {
            jsonrpc::document document = jsonrpc::parse(original.text(), limits);
            return take_document(std::move(document), true, std::move(original));
        }
        auto kind = jsonrpc::classify(original.text(), limits);
        if (auto* const document = std::get_if<jsonrpc::document>(&kind)) {
            return take_document(std::move(*document), false, std::move(original));
        }
        if (handlers_.text) return add_job(handlers_.text, std::move(original));
        return keep(std::move(original));
    }
    if (settle_request(*command, payload)) return;
    client_message message{command, compact(std::move(payload))};
    const auto handler = handlers_.commands.find(static_cast<std::uint32_t>(*command));
    if (handler == handlers_.commands.end()) keep(std::move(message));
    else add_job(handler->second, std::move(message));
}

std::shared_ptr<client_core::pending_request> client_core::take_oldest_locked(std::uint32_t id) {
    const auto found = requests_.find(id);
    if (found == requests_.end() || !found->second.front()->sent) return nullptr;
    auto oldest = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) requests_.erase(found);
    --requests_pending_;
    return oldest;
}

/// True if somebody waited for it.
bool client_core::settle_request(command_id id, slice& payload) {
    const std::lock_guard lock{mutex_};
    const auto oldest = take_oldest_locked(static_cast<std::uint32_t>(id));
    if (!oldest) return false;
    oldest->done = true;
    oldest->reply = {id, compact(std::move(payload))};
    if (oldest->waiter) std::exchange(oldest->waiter, nullptr)->resume();
    return true;
}

void client_core::take_document(jsonrpc::document document, bool binary, client_message original) {
    const std::size_t share = document.messages.empty() ? 0 : original.bytes.size() / document.messages.size();
    bool unasked = false;
    for (jsonrpc::message& each : document.messages) {
        if (auto* const request = std::get_if<jsonrpc::request>(&each)) {
            take_call(std::move(*request), binary, share);
        } else if (auto* const response = std::get_if<jsonrpc::response>(&each)) {
            unasked = !take_response(std::move(*response)) || unasked;
        } else if (const auto* const broken = std::get_if<jsonrpc::invalid_response_message>(&each)) {
            const std::lock_guard lock{mutex_};
            if (broken->id) calls_.refuse(broken->id->text(), errc::invalid_response);
        } else if (!document.batch && !binary && handlers_.text) {
            add_job(handlers_.text, std::move(original));  // it looked like JSON-RPC, no more
        } else if (!document.batch) {
            keep(std::move(original));
        } else {
            const auto& invalid = std::get<jsonrpc::invalid_request_message>(each);
            reply({.command = binary ? std::optional{command_jsonrpc_error} : std::nullopt,
                   .body = payload{jsonrpc::encode_error(invalid.id, invalid.error)},
                   .generation = generation_,
                   .is_error = true});
        }
    }
    if (!unasked) return;  // of a batch once, however many they are
    if (options_.log.enabled(log_level::warning)) {
        options_.log.warning("the server reports an error that nobody waits for: {}", escaped(original.text()));
    }
    keep(std::move(original));
}

bool client_core::take_response(jsonrpc::response&& response) {
    if (response.id.is_null() && !response.outcome) return settle_command_error(response.outcome.error());
    const std::string id = response.id.text();
    const std::lock_guard lock{mutex_};
    (void)calls_.answer(id, std::move(response));  // too late perhaps: then nobody waits
    return true;
}

/// `data` names the command (`encode_command_error`). False if nobody waits for its reply.
bool client_core::settle_command_error(const jsonrpc::error_object& error) {
    if (!error.data) return false;
    const auto command = error.data->at("command").as_uint64();
    if (!command || *command > 0xFFFFFFFF) return false;
    const std::lock_guard lock{mutex_};
    const auto oldest = take_oldest_locked(static_cast<std::uint32_t>(*command));
    if (!oldest) return false;
    oldest->done = true;
    oldest->refusal = error;
    if (oldest->waiter) std::exchange(oldest->waiter, nullptr)->resume();
    return true;
}

/// `size`: of the text that it was, which counts until the call has ended.
void client_core::take_call(jsonrpc::request&& request, bool binary, std::size_t size) {
    const auto method = handlers_.methods.find(request.method);
    if (method == handlers_.methods.end() || abandoned_) {
        if (request.is_notification()) return;
        return reply({.command = binary ? std::optional{command_jsonrpc_error} : std::nullopt,
                      .body = payload{jsonrpc::encode_error(*request.id, jsonrpc::method_not_found())},
                      .generation = generation_,
                      .is_error = true});
    }
    {
        const std::lock_guard lock{mutex_};
        hold_locked(size);
    }
    const auto ended = [self = shared_from_this(), size](const std::exception_ptr& failure) {
        if (failure) self->note_failure(failure, "the handler of a call");
        self->handled(size);
    };
    start_task(std::make_shared<task>(), run_call(&method->second, std::move(request), binary, generation_), ended);
}

asio::awaitable<void> client_core::run_call(const client_handlers::rpc_handler* handler, jsonrpc::request request, bool binary,
                                            std::uint64_t generation) {
    const auto self = shared_from_this();
    outgoing answer{.generation = generation};
    if (binary) answer.command = command_jsonrpc;
    const auto refuse = [&](const jsonrpc::error_object& error) {
        if (binary) answer.command = command_jsonrpc_error;
        answer.is_error = true;
        if (request.id) answer.body = payload{jsonrpc::encode_error(*request.id, error)};
    };
    try {
        auto running = (*handler)(std::move(request.params));
        const json result = co_await std::move(running);
        if (request.id) answer.body = payload{jsonrpc::encode_result(*request.id, result)};
    } catch (const request_error& error) {
        refuse({error.code(), error.what(), error.data()});
    } catch (...) {
        note_failure(std::current_exception(), "the handler of a call");
        refuse(jsonrpc::internal_error());
    }
    if (!request.id || ending()) co_return;
    try {
        auto pushing = push_when_room(self, nullptr, std::move(answer));
        co_await std::move(pushing);
    } catch (const error&) {  // NOLINT(bugprone-empty-catch): the connection that has asked is gone
    }
}

/// An answer of our own, which waits for nobody.
void client_core::reply(outgoing message) {
    const auto self = shared_from_this();
    if (try_send(message) != errc::full) return;
    const std::size_t size = message.size();
    {
        const std::lock_guard lock{mutex_};
        hold_locked(size);
    }
    start_task(std::make_shared<task>(), push_when_room(self, nullptr, std::move(message)),
               [self, size](const std::exception_ptr& /*it is gone*/) { self->handled(size); });
}

void client_core::add_job(const client_handlers::message_handler& handler, client_message message) {
    {
        const std::lock_guard lock{mutex_};
        hold_locked(message.bytes.size());
    }
    jobs_.push_back({&handler, std::move(message), generation_});
    if (std::exchange(jobs_running_, true)) return;
    start_task(std::make_shared<task>(), run_jobs(), [self = shared_from_this()](const std::exception_ptr& failure) {
        if (failure) self->note_failure(failure, "a handler");
    });
}

asio::awaitable<void> client_core::run_jobs() {
    const auto self = shared_from_this();
    struct running {
        bool& flag;
        ~running() { flag = false; }
    };
    const running until_the_end{jobs_running_};
    while (!jobs_.empty() && !abandoned_) {
        job next = std::move(jobs_.front());
        jobs_.pop_front();
        struct counted {
            client_core& core;
            std::size_t bytes;
            ~counted() { core.handled(bytes); }
        };
        const counted guard{*this, next.message.bytes.size()};
        outgoing answer{.command = next.message.command, .generation = next.generation};
        bool replies = false;
        try {
            auto running = (*next.handler)(std::move(next.message));
            std::optional<payload> returned = co_await std::move(running);
            replies = returned.has_value();
            if (replies) answer.body = std::move(*returned);
        } catch (...) {
            note_failure(std::current_exception(), "a handler");
        }
        if (!replies || ending()) continue;
        try {
            auto pushing = push_when_room(self, nullptr, std::move(answer));
        co_await std::move(pushing);
        } catch (const error&) {  // NOLINT(bugprone-empty-catch): the connection that has asked is gone
        }
    }
}

/// For `receive`.
void client_core::keep(client_message message) {
    const std::lock_guard lock{mutex_};
    if (options_.drop_unhandled || closing_) {
        ++stats_.messages_unhandled;
        return;
    }
    hold_locked(message.bytes.size());
    inbox_.push_back(std::move(message));
    while (!receivers_.empty()) {
        const parked_ptr first = std::move(receivers_.front());
        receivers_.pop_front();
        if (first->resumed()) continue;  // it was cancelled
        first->resume();
        break;
    }
}

void client_core::hold_locked(std::size_t bytes) noexcept {
    ++received_messages_;
    received_bytes_ += bytes + cost_of_one;
}

void client_core::let_go_locked(std::size_t bytes) noexcept {
    --received_messages_;
    received_bytes_ -= bytes + cost_of_one;
}

void client_core::handled(std::size_t bytes) {
    bool hungry = false;
    {
        const std::lock_guard lock{mutex_};
        let_go_locked(bytes);
        hungry = starved_;
    }
    if (hungry) wake();
}

asio::awaitable<std::optional<client_message>> client_core::receive(std::shared_ptr<client_core> self) {
    for (;;) {
        std::optional<client_message> first;
        bool over = false;
        {
            const std::lock_guard lock{self->mutex_};
            if (!self->inbox_.empty()) {
                first = std::move(self->inbox_.front());
                self->inbox_.pop_front();
            }
            over = self->state_ == link_state::closed || self->abandoned_;
        }
        if (first) {
            self->handled(first->bytes.size());
            co_return first;
        }
        if (over) co_return std::nullopt;
        std::error_code ec;
        co_await park(
            [&](parked_ptr who) {
                const std::lock_guard lock{self->mutex_};
                if (!self->inbox_.empty() || self->state_ == link_state::closed || self->abandoned_) return false;
                add_waiter(self->receivers_, std::move(who));
                return true;
            },
            ec);
        if (ec == errc::closed) co_return std::nullopt;
        if (ec) throw std::system_error{ec};
    }
}

}  // namespace kephas
