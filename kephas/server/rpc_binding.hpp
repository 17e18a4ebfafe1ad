#pragma once

#include <kephas/proto/json/convert.hpp>
#include <kephas/proto/jsonrpc/params.hpp>

#include <kephas/server/request.hpp>

#include <asio/awaitable.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace kephas::detail {

template <class F>
struct callable : callable<decltype(&F::operator())> {};
template <class R, class... Args>
struct callable<R (*)(Args...)> {
    using result = R;
    using arguments = std::tuple<std::decay_t<Args>...>;
};
template <class C, class R, class... Args>
struct callable<R (C::*)(Args...)> : callable<R (*)(Args...)> {};
template <class C, class R, class... Args>
struct callable<R (C::*)(Args...) const> : callable<R (*)(Args...)> {};

template <class T>
struct awaited {
    static constexpr bool is_awaitable = false;
};
template <class T>
struct awaited<asio::awaitable<T>> {
    static constexpr bool is_awaitable = true;
    using type = T;
};

template <class T>
inline constexpr bool may_be_missing = false;
template <class T>
inline constexpr bool may_be_missing<std::optional<T>> = true;

[[noreturn]] void refuse_parameter(const std::string& name, std::string_view expected);
void find_parameters(const json& params, const std::vector<std::string>& names, std::span<const json*> found);
void check_parameter_count(std::size_t named, std::size_t taken);

template <class T>
[[nodiscard]] T convert_parameter(const json* value, const std::string& name) {
    if (value == nullptr) {
        if constexpr (may_be_missing<T>) return std::nullopt;
        else refuse_parameter(name, json_type_name<T>());
    }
    auto converted = from_json<T>(*value);
    if (!converted) refuse_parameter(name, json_type_name<T>());
    return std::move(*converted);
}

/// A handler with typed parameters as one that takes the request. The first argument may be the request itself.
template <class F>
auto bind_rpc(std::vector<std::string> names, F handler) {
    using traits = callable<F>;
    using arguments = typename traits::arguments;
    using outcome = awaited<typename traits::result>;
    static_assert(outcome::is_awaitable,
                  "a typed JSON-RPC handler looks like [](double a, double b) -> asio::awaitable<double>");
    constexpr std::size_t count = std::tuple_size_v<arguments>;
    constexpr bool takes_request = [] {
        if constexpr (count == 0) return false;
        else return std::is_same_v<std::tuple_element_t<0, arguments>, rpc_request>;
    }();
    constexpr std::size_t first = takes_request ? 1 : 0;
    check_parameter_count(names.size(), count - first);

    return [names = std::move(names), handler = std::move(handler)](rpc_request request) -> asio::awaitable<json> {
        std::array<const json*, count - first> values;
        find_parameters(request.params(), names, values);
        auto convert = [&]<std::size_t... I>(std::index_sequence<I...>) {
            if constexpr (takes_request) {
                return std::tuple<rpc_request, std::tuple_element_t<I + first, arguments>...>{
                    request, convert_parameter<std::tuple_element_t<I + first, arguments>>(values[I], names[I])...};
            } else {
                return std::tuple<std::tuple_element_t<I, arguments>...>{
                    convert_parameter<std::tuple_element_t<I, arguments>>(values[I], names[I])...};
            }
        };
        auto converted = convert(std::make_index_sequence<count - first>{});
        auto running = std::apply(handler, std::move(converted));
        if constexpr (std::is_void_v<typename outcome::type>) {
            co_await std::move(running);
            co_return json{};
        } else {
            auto value = co_await std::move(running);
            co_return to_json(value);
        }
    };
}

}  // namespace kephas::detail
