// How a message finds its handler.
#include <kephas/proto/jsonrpc/encode.hpp>

#include <kephas/server/burst.hpp>
#include <kephas/server/outbound_frames.hpp>
#include <kephas/server/rpc_batch.hpp>
#include <kephas/server/session.hpp>

#include <algorithm>
#include <utility>

namespace kephas {

namespace {

/// Small payloads that outlive the read are copied, so that they do not keep the whole slab from its next reader.
constexpr std::size_t worth_pinning = 4 * 1024;

/// `storage` is reused when nobody reads from it any more.
void leave_slab(std::span<job> jobs, slice& storage) {
    std::size_t total = 0;
    const auto is_small = [](const job& work) {
        return work.payload.size() <= worth_pinning && work.payload.block_size() == slab_cache::slab_size;
    };
    for (const job& work : jobs) total += is_small(work) ? work.payload.size() : 0;
    if (total == 0) return;
    if (!storage.unique() || storage.size() < total) storage = slice::allocate(std::max(total, storage.size()));
    std::size_t used = 0;
    for (job& work : jobs) {
        if (!is_small(work)) continue;
        slice copy = storage.sub(used, work.payload.size());
        if (!copy.empty()) std::memcpy(copy.data(), work.payload.data(), copy.size());
        used += copy.size();
        work.payload = std::move(copy);
    }
}

}  // namespace

/// A job at the end of the queue for `target`; the caller fills it, and begins it.
inline job& session::add_job(const route& target) {
    job& work = target.policy == dispatch::on_strand ? strand_jobs_.add() : add_shared_job(target.policy);
    work.target = &target;
    ++jobs_;
    return work;
}

inline void session::submit(const route& target, websocket::opcode op, std::optional<command_id> command, slice&& payload) {
    job& work = add_job(target);
    work.opcode = op;
    work.command = command;
    work.counted_bytes = payload.size();
    work.payload = std::move(payload);
    state_->work().begin(work.counted_bytes, target.policy == dispatch::on_strand);
}

void session::dispatch_binary(slice&& message) {
    const routes& table = *context_.routes;
    if (table.raw_) return submit(*table.raw_, websocket::opcode::binary, std::nullopt, std::move(message));
    const auto command = decode_command(message.view());
    if (!command) {
        answer_earlier();
        return fail(close_code::protocol_error, "Invalid message format", close_initiator::server, true);
    }
    message.remove_prefix(command_id_size);
    if (is_reserved(command->id)) {
        return dispatch_document(jsonrpc::parse(as_text(message.view()), context_.json), websocket::opcode::binary, message);
    }
    const route* target = table.command(command->id);
    if (target == nullptr && table.fallback_command_) target = &*table.fallback_command_;
    if (target == nullptr) {
        const auto id = static_cast<std::uint32_t>(command->id);
        const jsonrpc::error_object error{jsonrpc::method_not_found_code, "unknown command", {}};
        if (context_.options->command_errors == error_replies::same_channel) {
            return send_now(make_command(state_->format(), command->id, payload{error.message}));
        }
        return send_now(make_command(state_->format(), command_jsonrpc_error, payload{jsonrpc::encode_command_error(id, error)}));
    }
    submit(*target, websocket::opcode::binary, command->id, std::move(message));
}

void session::dispatch_text(slice&& message) {
    const routes& table = *context_.routes;
    const auto hand_over = [&](const route& target) {
        submit(target, websocket::opcode::text, std::nullopt, std::move(message));
    };
    if (table.raw_) return hand_over(*table.raw_);

    auto kind = jsonrpc::classify(as_text(message.view()), context_.json);
    if (auto* document = std::get_if<jsonrpc::document>(&kind)) {
        return dispatch_document(std::move(*document), websocket::opcode::text, message);
    }
    if (table.fallback_text_) return hand_over(*table.fallback_text_);
    if (const auto* unknown = std::get_if<jsonrpc::unknown_text>(&kind)) {
        return send_now(make_text(state_->format(), payload{jsonrpc::encode_error_event(unknown->code, unknown->message)}));
    }
    send_now(make_text(state_->format(), payload{jsonrpc::encode_error_event("unknown_event", "nothing here handles events")}));
}

void session::dispatch_document(jsonrpc::document document, websocket::opcode op, const slice& message) {
    // The message itself has paid for its first element.
    if (document.messages.size() > 1 && !machine_->charge(document.messages.size() - 1, clock::now())) return;

    std::shared_ptr<rpc_batch> batch;
    if (document.batch) {
        batch = std::make_shared<rpc_batch>(document, op, state_->format());
        // Nothing in it waits for an answer of ours, but there may be notifications and answers to our own calls.
        if (auto frame = batch->answered_from_the_start()) send_now(std::move(*frame));
    } else if (const auto* const invalid = std::get_if<jsonrpc::invalid_request_message>(&document.messages.front())) {
        send_now(make_rpc_error(state_->format(), op, invalid->id, invalid->error, *context_.options));
    }
    std::size_t cost = message.size();  // held once for the whole text
    for (std::size_t slot = 0; slot < document.messages.size(); ++slot) {
        jsonrpc::message& element = document.messages[slot];
        settle_call(element);
        auto* const request = std::get_if<jsonrpc::request>(&element);
        if (request == nullptr) continue;
        const route* target = context_.routes->method(request->method);
        if (target == nullptr) {
            const jsonrpc::error_object error = jsonrpc::method_not_found();
            if (batch) {
                if (auto frame = batch->set_error(slot, error)) send_now(std::move(*frame));
            } else if (request->id) {
                send_now(make_rpc_error(state_->format(), op, *request->id, error, *context_.options));
            }
            continue;
        }
        auto call = std::make_unique<rpc_call>(std::move(*request), batch, slot);
        job& work = add_job(*target);
        work.opcode = op;
        if (op == websocket::opcode::binary) work.command = command_jsonrpc;
        work.payload = message;
        work.rpc = std::move(call);
        work.counted_bytes = std::exchange(cost, 0);
        state_->work().begin(work.counted_bytes, target->policy == dispatch::on_strand);
    }
}

void session::settle_call(jsonrpc::message& element) {
    if (auto* response = std::get_if<jsonrpc::response>(&element)) {
        const std::string id = response->id.text();
        (void)state_->calls().answer(id, std::move(*response));
    } else if (const auto* broken = std::get_if<jsonrpc::invalid_response_message>(&element)) {
        if (broken->id) state_->calls().refuse(broken->id->text(), errc::invalid_response);
    }
}

void session::settle_calls(const message_received& message) {
    if (context_.routes->raw_ || !state_->calls().any_pending()) return;
    bytes_view text = message.payload.view();
    if (message.opcode == websocket::opcode::binary) {
        const auto command = decode_command(text);
        if (!command || !is_reserved(command->id)) return;
        text = command->payload;
    }
    jsonrpc::document document = jsonrpc::parse(as_text(text), context_.json);
    for (jsonrpc::message& element : document.messages) settle_call(element);
}

job& session::add_shared_job(dispatch policy) {
    state_->work().share();
    if (policy == dispatch::serial) {
        if (!serial_batch_) serial_batch_ = std::make_unique<serial_jobs>();
        return serial_batch_->jobs.emplace_back();
    }
    if (!pool_batch_) pool_batch_ = context_.handlers->take_burst();
    return pool_batch_->add();
}

/// Once for a read, not once for a message.
void session::count_messages() noexcept {
    if (messages_ != 0) {
        state_->counted().received_messages(messages_);
        home_->count(&traffic_counters::messages_received, std::exchange(messages_, 0));
    }
    if (jobs_ != 0) home_->count(&traffic_counters::jobs, std::exchange(jobs_, 0));
}

void session::start_handlers() {
    count_messages();  // before anybody can see what the handlers do
    const auto assign = [this](std::shared_ptr<job_source> source) {
        return assignment{state_, std::move(source)};
    };
    // If there is no memory for one of these steps the connection ends, and what is left is handed over before that.
    if (pool_batch_) {
        leave_slab(pool_batch_->jobs(), pool_batch_->storage());
        context_.handlers->submit(assign(pool_batch_));
        pool_batch_ = nullptr;
    }
    if (serial_batch_ && (!serial_batch_->jobs.empty() || serial_batch_->needs_worker)) {
        static constexpr std::size_t most_kept = 16 * 1024;
        auto& [jobs, storage, handed_over, needs_worker] = *serial_batch_;
        leave_slab(std::span{jobs}.subspan(handed_over), storage);
        for (; handed_over < jobs.size(); ++handed_over) {
            if (state_->work().push_serial(std::move(jobs[handed_over]))) needs_worker = true;
        }
        jobs.clear();
        handed_over = 0;
        if (storage.size() > most_kept) storage = slice{};
        if (needs_worker) context_.handlers->submit(assign(state_));
        needs_worker = false;
    }
    const auto leave_for_the_strand = [this] {
        for (const std::span<job> jobs : {strand_jobs_.waiting(), strand_jobs_.waiting_behind()}) {
            slice storage;
            leave_slab(jobs, storage);
        }
    };
    // A client that does not read would pin one slab with each message that is echoed to it.
    if (write_blocked_) leave_for_the_strand();
    if (!strand_jobs_.empty() && !strand_active_) {
        assignment work = assign(shared_from_this());
        strand_active_ = true;
        try {
            if (handler_pool* here = home_->strand_handlers()) here->work_here(std::move(work));
            else context_.handlers->work_once(strand(), std::move(work));
        } catch (...) {
            strand_active_ = false;
            throw;
        }
    }
    leave_for_the_strand();  // nothing is left unless a handler has suspended, now or earlier
}

}  // namespace kephas
