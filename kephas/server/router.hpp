#pragma once

#include <kephas/server/routes.hpp>
#include <kephas/server/rpc_binding.hpp>

#include <concepts>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace kephas {

/// All user code of a server: what runs for which message. It is filled first and then handed to a server, which
/// freezes it; registering something later does not compile. Handlers may be called from many threads at once.
///
/// Errors: registering a command or a method twice, a reserved id, or a callback twice throws `std::invalid_argument`.
class router {
public:
    /// A command. The handler's reply goes out under the same id; `nullopt` is no reply.
    template <class F>
    void on(command_id id, F handler) {
        on(id, dispatch::pool, std::move(handler));
    }
    template <class F>
    void on(command_id id, dispatch policy, F handler) {
        check_handler<F>();
        add_command(id, {policy, std::move(handler), {}});
    }

    /// A JSON-RPC method with the raw parameters.
    template <class F>
    void rpc(std::string name, F handler) {
        rpc(std::move(name), dispatch::pool, std::move(handler));
    }
    template <class F>
    void rpc(std::string name, dispatch policy, F handler) {
        static_assert(std::is_invocable_r_v<asio::awaitable<json>, F&, rpc_request>,
                      "the handler of a JSON-RPC method looks like "
                      "[](kephas::rpc_request) -> asio::awaitable<kephas::json>; "
                      "for typed parameters name them: rpc(\"method\", {\"a\", \"b\"}, handler)");
        add_method(std::move(name), {policy, {}, std::move(handler)});
    }

    /// A JSON-RPC method with typed parameters, found by name or by position and converted; one that does not fit is
    /// answered by -32602, naming it. A parameter of type `std::optional<T>` may be missing. The handler may take an
    /// `rpc_request` first.
    template <class F>
    void rpc(std::string name, std::initializer_list<const char*> parameters, F handler) {
        rpc(std::move(name), parameters, dispatch::pool, std::move(handler));
    }
    template <class F>
    void rpc(std::string name, std::initializer_list<const char*> parameters, dispatch policy, F handler) {
        auto bound = detail::bind_rpc({parameters.begin(), parameters.end()}, std::move(handler));
        add_method(std::move(name), {policy, {}, std::move(bound)});
    }

    /// Runs once for each client, before its first message is read. Refuse with `client.close(code, reason)`.
    template <class F>
    void on_connect(F handler) {
        static_assert(std::is_invocable_r_v<asio::awaitable<void>, F&, client>,
                      "on_connect looks like [](kephas::client) -> asio::awaitable<void>");
        set_once(frozen_.on_connect_, connect_handler{std::move(handler)}, "on_connect");
    }
    /// Runs once for each client for which on_connect ran, after its handlers have ended.
    template <class F>
    void on_disconnect(F handler) {
        static_assert(std::is_invocable_r_v<asio::awaitable<void>, F&, client, close_info>,
                      "on_disconnect looks like [](kephas::client, kephas::close_info) -> asio::awaitable<void>");
        set_once(frozen_.on_disconnect_, disconnect_handler{std::move(handler)}, "on_disconnect");
    }
    /// Decides before the 101 whether a request is let in, and under which identity.
    template <class F>
    void authorize(F handler) {
        static_assert(std::is_invocable_r_v<asio::awaitable<authorization>, F&, http::request>,
                      "authorize looks like [](kephas::http::request) -> asio::awaitable<kephas::authorization>");
        set_once(frozen_.authorize_, authorize_handler{std::move(handler)}, "authorize");
    }
    /// Wraps every handler, the first one registered outermost. Go on with `co_await next()`, or refuse by throwing a
    /// `request_error`; without either there is no reply, or a result of null for a JSON-RPC request that wants one.
    template <class F>
    void use(F middleware) {
        static_assert(std::is_invocable_r_v<asio::awaitable<void>, F&, request, next_handler>,
                      "middleware looks like [](kephas::request, kephas::next_handler next) -> asio::awaitable<void>");
        frozen_.middleware_.emplace_back(std::move(middleware));
    }

    /// Takes every message as it came, instead of all other routes; the reply has the same opcode.
    template <class F>
    void raw(dispatch policy, F handler) {
        check_handler<F>();
        set_once(frozen_.raw_, route{policy, std::move(handler), {}}, "raw");
    }
    /// Commands that no route takes.
    template <class F>
    void fallback_command(F handler, dispatch policy = dispatch::pool) {
        check_handler<F>();
        set_once(frozen_.fallback_command_, route{policy, std::move(handler), {}}, "fallback_command");
    }
    /// Text that is not JSON-RPC.
    template <class F>
    void fallback_text(F handler, dispatch policy = dispatch::serial) {
        check_handler<F>();
        set_once(frozen_.fallback_text_, route{policy, std::move(handler), {}}, "fallback_text");
    }

    /// No more can be registered: `std::move(router).freeze()`.
    [[nodiscard]] std::shared_ptr<const routes> freeze() && {
        auto frozen = std::make_shared<routes>(std::move(frozen_));
        frozen->index_small_ids();
        return frozen;
    }

private:
    template <class F>
    static void check_handler() {
        static_assert(std::is_invocable_v<F&, request>, "a handler takes a kephas::request");
        if constexpr (std::is_invocable_v<F&, request>) {
            static_assert(
                std::same_as<std::invoke_result_t<F&, request>, asio::awaitable<std::optional<payload>>>,
                "a handler looks like [](kephas::request) -> asio::awaitable<std::optional<kephas::payload>>");
        }
    }
    template <class Slot, class Value>
    void set_once(Slot& slot, Value value, const char* name) {
        if (slot) refuse_second(name);
        slot = std::move(value);
    }
    [[noreturn]] static void refuse_second(const char* name);
    void add_command(command_id id, route target);
    void add_method(std::string name, route target);

    routes frozen_;
};

}  // namespace kephas
