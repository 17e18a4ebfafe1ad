// What a connection answers that stays HTTP.
#include <kephas/proto/http/metrics_text.hpp>

#include <kephas/server/session.hpp>
#include <kephas/server/static_files.hpp>

#include <algorithm>
#include <utility>

namespace kephas {

asio::awaitable<void> session::serve_http(const http::request& request) {
    const bool is_head = request.method == "HEAD";
    if (!is_head && request.method != "GET") {
        http::response refusal = http::text_response(http::status_code::method_not_allowed, "GET or HEAD only\n");
        refusal.headers.push_back({"Allow", "GET, HEAD"});
        co_await respond(refusal);
    } else if (request.path == "/health") {
        co_await respond(http::json_response(http::status_code::ok, R"({"status":"ok"})"), is_head);
    } else if (request.path == "/ready") {
        const bool draining = context_.draining.load(std::memory_order_acquire);
        const std::size_t most = context_.options->max_clients;
        const bool full = (most != 0 && context_.clients.load() >= most) || context_.gate->full();
        const auto status = draining || full ? http::status_code::service_unavailable : http::status_code::ok;
        const char* body = draining ? R"({"status":"draining"})" : full ? R"({"status":"full"})" : R"({"status":"ready"})";
        const http::response response = http::json_response(status, body);
        co_await respond(response, is_head);
    } else if (serves_metrics(request)) {
        http::response response = http::text_response(http::status_code::ok, context_.metrics());
        response.headers = {{"Content-Type", std::string{http::metrics_text::content_type}}, {"Cache-Control", "no-store"}};
        co_await respond(response, is_head);
    } else if (opening_->role->files && !context_.options->files.empty()) {
        co_await respond_file(request, is_head);
    } else {
        co_await respond(http::text_response(http::status_code::not_found, "not found\n"), is_head);
    }
}

asio::awaitable<void> session::respond_file(const http::request& request, bool head_only) {
    http::response response = http::text_response(http::status_code::not_found, "not found\n");
    struct share_of_memory {  // what the file takes of the memory for responses, until it is sent
        connection_gate& gate;
        std::size_t bytes = 0;
        bool refused = false;
        ~share_of_memory() { gate.end_response(bytes); }
    } share{*context_.gate};
    // On the handler pool: a disk may be slow, and this thread has other connections.
    client_facts facts;  // for what is logged of it
    facts.id = id();
    facts.remote_address = remote_address();
    state_ = std::make_shared<client_state>(std::move(facts), home_, strand());
    co_await run_callback([this, &request, &response, &share]() -> asio::awaitable<void> {
        const auto has_room = [&share](std::size_t size) {
            share.refused = !share.gate.begin_response(size);
            if (!share.refused) share.bytes = size;
            return !share.refused;
        };
        if (auto found = load_file(context_.options->files, request.target, has_room)) response = std::move(*found);
        co_return;
    });
    if (share.refused) {
        co_await refuse(refusal_reason::responses);
        co_return;
    }
    std::string head = http::serialize_head(response);
    if (head_only) response.body.clear();
    co_await send_response(response.status, std::move(head), std::move(response.body));
}

bool session::serves_metrics(const http::request& request) const {
    const std::string& path = context_.options->metrics_path;
    if (path.empty() || request.path != path || !opening_->role->path.empty()) return false;
    std::string address = remote_address();
    if (address == "unix") return context_.metrics_peers.contains(std::nullopt);
    // Of a link-local peer it has a zone, "[fe80::1%eth0]:80", by which nobody is told from anybody else.
    const auto zone = std::min(address.find('%'), address.size());
    address.erase(zone, std::min(address.find(']', zone), address.size()) - zone);
    const auto peer = http::forwarded_for(address, {});  // reads an address with a port
    return peer && context_.metrics_peers.contains(peer);
}

bool session::begin_response(http::status_code status) {
    if (std::exchange(responding_, true)) return false;
    const auto number = static_cast<std::size_t>(status);
    if (number >= 400) context_.counters.refused.fetch_add(1, std::memory_order_relaxed);
    if (number < 600 && !is_stream()) context_.counters.http_responses[number / 100].fetch_add(1, std::memory_order_relaxed);
    return true;
}

asio::awaitable<void> session::respond(const http::response& response, bool head_only) {
    if (is_stream()) {
        co_await say_refused(response);
        co_return;
    }
    std::string text = head_only ? http::serialize_head(response) : http::serialize(response);
    co_await send_response(response.status, std::move(text), std::string{});
}

asio::awaitable<void> session::send_response(http::status_code status, std::string head, std::string body) {
    if (!begin_response(status)) co_return;
    // Whoever is refused takes no place from those who are let in while it reads the answer.
    if (std::exchange(counted_, false)) context_.clients.fetch_sub(1);
    const bool written = co_await write_all(std::move(head));
    if (written) (void)co_await write_all(std::move(body));
}

}  // namespace kephas
