#pragma once

#include <kephas/base/block_cache.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <utility>

namespace kephas {

namespace detail {

template <class Function>
struct handed_over {
    using allocator_type = block_allocator<void>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }
    void operator()() { function(); }

    Function function;
};

}  // namespace detail

/// As `asio::post`, for what another thread will run: its memory is not allocated anew each time. (An `any_io_executor` does
/// not ask a handler for its allocator, so this works only where it holds that of an `io_context`.)
template <class Function>
void hand_over(const asio::any_io_executor& to, Function function) {
    if (const auto* context = to.target<asio::io_context::executor_type>()) {
        asio::post(*context, detail::handed_over<Function>{std::move(function)});
    } else {
        asio::post(to, std::move(function));
    }
}

}  // namespace kephas
