#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/net/stream.hpp>

#include <kephas/client/wake_signal.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>

namespace kephas {

/// A stream and everything else that one coroutine waits for: that it can be read or written, a deadline, a signal.
/// Concurrency: everything on its executor.
class event_stream final : public std::enable_shared_from_this<event_stream>, private read_waiter {
public:
    event_stream(const asio::any_io_executor& executor, std::unique_ptr<stream> transport)
        : stream_{std::move(transport)}, signal_{executor} {}
    ~event_stream();

    /// As those of `stream`. What would block is remembered, and waited for.
    [[nodiscard]] std::size_t read_some(read_buffer& buffer, std::error_code& ec);
    [[nodiscard]] std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec);
    [[nodiscard]] bool may_read() const noexcept { return readable_; }
    [[nodiscard]] bool may_write() const noexcept { return writable_; }

    /// Waits until what would have blocked does not any more, somebody signals, or `deadline` has come.
    /// Cancellation: all types, `operation_aborted` is thrown.
    [[nodiscard]] asio::awaitable<void> wait(bool for_reading, time_point deadline);
    /// Waits until the TLS handshake is done, if there is one. Returns what came right behind it.
    /// Errors: as those of `connect`. Cancellation: all types.
    [[nodiscard]] asio::awaitable<slice> finish_handshake();
    /// Ends a wait, or the next one.
    void signal() { signal_.signal(); }

    [[nodiscard]] stream& transport() noexcept { return *stream_; }

private:
    void readable() noexcept override;

    std::unique_ptr<stream> stream_;
    wake_signal signal_;
    bool readable_ = true;
    bool writable_ = true;
    bool reading_awaited_ = false;
};

}  // namespace kephas
