#include <kephas/server/client_state.hpp>

#include <kephas/base/prefetch.hpp>

#include <kephas/proto/session/close_message.hpp>

#include <kephas/server/options.hpp>
#include <kephas/server/session.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace kephas {

client_state::client_state(client_facts facts, std::shared_ptr<shard> home, const asio::any_io_executor& strand)
    : id_{facts.id},
      format_{facts.format},
      listener_{facts.listener},
      home_{std::move(home)},
      outbox_{home_->options().outbox, home_->outbox_budget(), *this},
      work_{home_->options().in_flight},
      remote_address_{std::move(facts.remote_address)} {
    if (!home_->single_threaded()) strand_ = std::make_unique<asio::any_io_executor>(strand);
    if (!facts.identity.empty() || !facts.subprotocol.empty() || !facts.query_string.empty() || facts.credentials) {
        rare_ = std::make_unique<rare_facts>(rare_facts{std::move(facts.identity), std::move(facts.subprotocol),
                                                        std::move(facts.query_string), facts.credentials});
    }
    if (!facts.headers.empty()) extras_locked().headers = std::move(facts.headers);  // nobody else knows it yet
}

const client_state::rare_facts& client_state::rare() const noexcept {
    static const rare_facts none;
    return rare_ ? *rare_ : none;
}

void client_state::set_identity(std::string identity) {
    if (!rare_) rare_ = std::make_unique<rare_facts>();
    rare_->identity = std::move(identity);
}

client_state::extras& client_state::extras_locked() {
    if (!extras_) extras_ = std::make_unique<extras>();
    return *extras_;
}

void client_state::close(close_code code, std::string_view reason) {
    std::array<std::byte, max_close_message> frame;
    const std::size_t size = encode_close_message(frame, format_, code, reason);
    // Requested before it is queued: whoever sees the queue closed also finds out why.
    request_end({{code, std::string{fitting_reason(reason)}, close_initiator::server, false}}, false);
    outbox_.close(bytes_view{frame}.first(size));
}

void client_state::fail(close_code code, std::string_view reason) {
    request_end({{code, std::string{fitting_reason(reason)}, close_initiator::server, false}, true}, true);
}

void client_state::abort() {
    request_end({{close_code::abnormal, "aborted", close_initiator::server, false}, true, true}, true);
}

std::optional<close_info> client_state::closed_with() const {
    const std::lock_guard lock{mutex_};
    return closed_locked() ? std::optional{*extras_->closed} : std::nullopt;
}

bool client_state::wait_closed(parked_ptr who) {
    const std::lock_guard lock{mutex_};
    if (closed_locked()) return false;
    std::vector<parked_ptr>& waiters = extras_locked().close_waiters;
    if (waiters.size() == waiters.capacity()) {  // before it grows: the cancelled ones make room
        std::erase_if(waiters, [](const parked_ptr& waiter) { return waiter->resumed(); });
    }
    waiters.push_back(std::move(who));
    return true;
}

std::optional<std::string> client_state::header(std::string_view name) const {
    const std::lock_guard lock{mutex_};
    if (!extras_) return std::nullopt;
    const auto value = http::find_header(extras_->headers, name);
    return value ? std::optional{std::string{*value}} : std::nullopt;
}

void client_state::attach(std::any value) {
    const std::lock_guard lock{mutex_};
    extras_locked().attachment.swap(value);
}

std::any client_state::attachment() const {
    const std::lock_guard lock{mutex_};
    return extras_ ? extras_->attachment : std::any{};
}

void client_state::prefetch_session() const noexcept {
    if (session_ != nullptr) prefetch(*session_);
}

void client_state::on_wake() {
    if (session_ != nullptr) session_->on_wake();
}

bool client_state::send_past_outbox(bytes_view frame) noexcept {
    return session_ != nullptr && session_->send_past_outbox(frame);
}

std::optional<client_state::request_to_end> client_state::end_requested() const {
    if (!has_end_request_.load(std::memory_order_acquire)) return std::nullopt;
    const std::lock_guard lock{mutex_};
    return extras_ && extras_->end_requested ? std::optional{*extras_->end_requested} : std::nullopt;
}

void client_state::request_end(request_to_end request, bool wake_session) {
    const std::lock_guard lock{mutex_};
    if (closed_locked()) return;  // and its executor may be gone with the server: the lock is held until it has the wake
    // A close may still become a failure or a reset, but nothing becomes milder.
    std::unique_ptr<request_to_end>& wanted = extras_locked().end_requested;
    const bool stronger = !wanted || (request.now && !wanted->now) || (request.reset && !wanted->reset);
    if (stronger) wanted = std::make_unique<request_to_end>(std::move(request));
    has_end_request_.store(true, std::memory_order_release);
    if (wake_session) wake();
}

void client_state::left() {
    alive_.store(false, std::memory_order_release);
    calls_.close();
}

void client_state::finished(close_info info) {
    home_->forget(*this);
    outbox_.discard();  // also of a client that never was in the registry
    std::vector<parked_ptr> waiters;
    {
        const std::lock_guard lock{mutex_};
        extras& own = extras_locked();
        own.closed = std::make_unique<close_info>(std::move(info));
        own.closed_at = clock::now();
        waiters.swap(own.close_waiters);
        strand_.reset();  // a handle may outlive the context that it belongs to
    }
    for (const auto& waiter : waiters) waiter->resume();
}

connection_stats client_state::stats() const {
    connection_stats stats;
    stats.id = id_;
    stats.remote_address = remote_address_;
    stats.identity = identity();
    stats.traffic = traffic();
    const std::lock_guard lock{mutex_};
    stats.age = (closed_locked() ? extras_->closed_at : clock::now()) - since_;
    return stats;
}

void client_state::start_leaving(close_code code) {
    leaving_.store(static_cast<std::uint16_t>(code), std::memory_order_release);
    wake_unless_finished();
}

std::optional<close_code> client_state::leaving() const noexcept {
    const auto code = leaving_.load(std::memory_order_acquire);
    return code == 0 ? std::nullopt : std::optional{close_code{code}};
}

void client_state::trim_headers() {
    const std::lock_guard lock{mutex_};
    if (!extras_) return;
    const auto& keep = options().keep_headers;
    std::vector<http::header>& headers = extras_->headers;
    std::erase_if(headers, [&](const http::header& header) {
        return std::ranges::none_of(keep, [&](const std::string& name) {
            return http::equal_ignoring_case(name, header.name);
        });
    });
    headers.shrink_to_fit();
    const bool nothing_left = headers.empty() && !extras_->end_requested && !extras_->closed &&
                              extras_->close_waiters.empty() && !extras_->attachment.has_value();
    if (nothing_left) extras_.reset();
}

void client_state::wake_unless_finished() {
    const std::lock_guard lock{mutex_};
    if (!closed_locked()) wake();
}

void client_state::wake() noexcept { home_->wake(shared_from_this()); }

}  // namespace kephas
