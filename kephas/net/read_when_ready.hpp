#pragma once

#include <kephas/net/resumer.hpp>
#include <kephas/net/stream.hpp>

#include <asio/awaitable.hpp>
#include <asio/error.hpp>

#include <cstddef>
#include <system_error>

namespace kephas {

/// Resumes a coroutine of Asio's that waits for a stream: `wait_readable`, then `co_await waiter.coroutine.suspend()`.
struct resuming_waiter final : read_waiter {
    resumer coroutine;
    void readable() noexcept override { coroutine.resume(); }
};

/// Waits until a read takes something, or fails: `stream::read_some` for a coroutine of Asio's.
/// Lifetime: all three stay until it has completed. Cancellation: none; close the stream.
[[nodiscard]] inline asio::awaitable<std::size_t> read_when_ready(stream& from, read_buffer& buffer, std::error_code& ec) {
    resuming_waiter waiter;
    for (;;) {
        if (!from.pending()) {
            from.wait_readable(waiter);
            co_await waiter.coroutine.suspend();
        }
        const std::size_t size = from.read_some(buffer, ec);
        if (ec != asio::error::would_block) co_return size;
    }
}

}  // namespace kephas
