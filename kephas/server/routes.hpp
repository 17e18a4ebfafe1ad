#pragma once

#include <kephas/base/payload.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/http/request.hpp>
#include <kephas/proto/http/response.hpp>
#include <kephas/proto/json/value.hpp>

#include <kephas/server/client.hpp>
#include <kephas/server/close_info.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/request.hpp>

#include <asio/awaitable.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace kephas {

/// What `authorize` answers: whom to let in, or the HTTP response that refuses.
class authorization {
public:
    /// Lets the client in under a name of the application's.
    [[nodiscard]] static authorization accept(std::string identity = {}) {
        return authorization{std::move(identity)};
    }
    /// Answers with that status and body instead of 101.
    [[nodiscard]] static authorization refuse(http::status_code status, std::string body = {}) {
        return authorization{http::text_response(status, std::move(body))};
    }
    [[nodiscard]] static authorization refuse(http::response response) { return authorization{std::move(response)}; }

    [[nodiscard]] const std::string* identity() const noexcept { return std::get_if<std::string>(&outcome_); }
    [[nodiscard]] const http::response* refusal() const noexcept { return std::get_if<http::response>(&outcome_); }

private:
    explicit authorization(std::variant<std::string, http::response> outcome) : outcome_{std::move(outcome)} {}
    std::variant<std::string, http::response> outcome_;
};

/// The rest of the way to the handler, as a middleware sees it.
using next_handler = std::function<asio::awaitable<void>()>;

using command_handler = std::function<asio::awaitable<std::optional<payload>>(request)>;
using rpc_handler = std::function<asio::awaitable<json>(rpc_request)>;
using middleware_handler = std::function<asio::awaitable<void>(request, next_handler)>;
using connect_handler = std::function<asio::awaitable<void>(client)>;
using disconnect_handler = std::function<asio::awaitable<void>(client, close_info)>;
using authorize_handler = std::function<asio::awaitable<authorization>(http::request)>;

/// Where one kind of message goes.
struct route {
    dispatch policy = dispatch::pool;
    command_handler handle{};  ///< One of the two is set.
    rpc_handler handle_rpc{};
};

/// Everything that a `router` was told, immutable, so that all threads may use it. Made by `router::freeze()`.
class routes {
public:
    routes() = default;
    routes(routes&&) = default;
    routes& operator=(routes&&) = default;

    [[nodiscard]] const route* command(command_id id) const noexcept {
        const auto number = static_cast<std::size_t>(id);
        return number < small_ids_.size() ? small_ids_[number] : other_command(id);
    }
    [[nodiscard]] const route* method(std::string_view name) const noexcept;
    [[nodiscard]] bool has_authorize() const noexcept { return static_cast<bool>(authorize_); }

private:
    friend class datagram_listener;
    friend class router;
    friend class runner;
    friend class session;

    struct text_hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
    };

    [[nodiscard]] const route* other_command(command_id id) const noexcept;
    /// The routes are complete: makes the table.
    void index_small_ids();

    std::unordered_map<command_id, route> commands_;
    std::vector<const route*> small_ids_;  // most applications number their commands from some small number on
    std::unordered_map<std::string, route, text_hash, std::equal_to<>> methods_;
    std::vector<middleware_handler> middleware_;
    std::optional<route> raw_;
    std::optional<route> fallback_command_;
    std::optional<route> fallback_text_;
    connect_handler on_connect_;
    disconnect_handler on_disconnect_;
    authorize_handler authorize_;
};

}  // namespace kephas
