#pragma once

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/use_future.hpp>

#include <chrono>
#include <future>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kephas::test {

/// How a coroutine ended: a value, or the code of the `std::system_error` that it threw. No exception object ever passes
/// from one thread to another: the last two holders of one are ordered by a reference count inside libstdc++ that
/// ThreadSanitizer cannot see.
template <class T>
struct settled {
    std::error_code failure;
    std::optional<T> value;
};
struct nothing {};

template <class T>
using settled_of = settled<std::conditional_t<std::is_void_v<T>, nothing, T>>;

template <class T>
asio::awaitable<settled_of<T>> settle(asio::awaitable<T> work) {
    settled_of<T> result;
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(work);
            result.value.emplace();
        } else {
            result.value.emplace(co_await std::move(work));
        }
    } catch (const std::system_error& error) {
        result.failure = error.code();
    }
    co_return result;
}

/// The future of a coroutine on another thread. `get` throws what the coroutine threw, as an exception of its own.
template <class T>
class settled_future {
public:
    settled_future() = default;
    explicit settled_future(std::future<settled_of<T>> future) : future_{std::move(future)} {}

    [[nodiscard]] std::future_status wait_for(std::chrono::milliseconds patience) const {
        return future_.wait_for(patience);
    }
    T get() {
        settled_of<T> result = future_.get();
        if (result.failure) throw std::system_error{result.failure};
        if constexpr (!std::is_void_v<T>) return std::move(*result.value);
    }

private:
    std::future<settled_of<T>> future_;
};

/// Starts `work` on `context`.
template <class Context, class T>
[[nodiscard]] settled_future<T> start_on(Context& context, asio::awaitable<T> work) {
    return settled_future<T>{asio::co_spawn(context, settle(std::move(work)), asio::use_future)};
}

}  // namespace kephas::test
