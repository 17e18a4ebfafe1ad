#pragma once

#include <kephas/base/error.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

namespace kephas::test {

/// Runs the coroutine to its end. What it throws is thrown here.
inline void run(asio::io_context& context, asio::awaitable<void> task) {
    std::exception_ptr failure;
    bool done = false;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr thrown) {
        failure = std::move(thrown);
        done = true;
        context.stop();
    });
    context.restart();
    context.run_for(std::chrono::seconds{20});
    if (failure) std::rethrow_exception(failure);
    REQUIRE(done);
}

/// What `task` throws; an error that is none if it throws nothing.
inline error failure_of(asio::io_context& context, asio::awaitable<void> task) {
    try {
        run(context, std::move(task));
    } catch (const error& failure) {
        return failure;
    }
    return error{std::error_code{}};
}

}  // namespace kephas::test
