#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>
#include <kephas/base/tls_info.hpp>

#include <kephas/net/slab_cache.hpp>

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <system_error>

namespace kephas {

/// Where the bytes of a read go: to `direct` if it is not empty, otherwise to a slab that the read borrows.
struct read_buffer {
    mutable_bytes direct;
    slab_lender* lender = nullptr;
    slice slab;  ///< Set by a read that got something while `direct` was empty; give it back to `lender`.
};

/// Whoever waits until a stream can be read.
class read_waiter {
public:
    /// Reading may succeed now, or fail. On the executor of the stream.
    virtual void readable() noexcept = 0;

protected:
    ~read_waiter() = default;
};

/// A connected byte stream: the one interface between the sessions and TCP, Unix sockets, TLS.
/// Concurrency: one wait for each direction at a time, all calls on the executor of the stream.
class stream {
public:
    stream() = default;
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    virtual ~stream() = default;

    /// Takes what has arrived, or a part of it, and never waits; 0 with `would_block` when nothing has, and at the end of
    /// the stream or on an error. At the end `ec` is `asio::error::eof`, or `errc::truncated` where it may be too early;
    /// the peer may still read.
    [[nodiscard]] virtual std::size_t read_some(read_buffer& buffer, std::error_code& ec) = 0;
    /// Calls `who` once, later, when something has arrived that was not taken, or the stream has ended, or is closed.
    /// Lifetime: `who` stays until it was called, or the stream is destroyed.
    virtual void wait_readable(read_waiter& who) = 0;
    /// Calls `who` once, later, when others of this thread that have something to read now have been told of it. False if the
    /// stream knows nothing of others, and will not call. Lifetime: as for `wait_readable`, which is not asked meanwhile.
    [[nodiscard]] virtual bool wait_turn(read_waiter& /*who*/) { return false; }
    /// Whether reading would not block for what the stream holds itself: `wait_readable` knows nothing of that.
    [[nodiscard]] virtual bool pending() const noexcept { return false; }
    /// Hands to the kernel what it takes at once and never waits; `would_block` when it takes nothing.
    [[nodiscard]] virtual std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) = 0;
    /// Whether something that `write_some` took is still here, because the kernel did not take it: `wait_writable` waits for
    /// that, and to close the stream before is to lose it.
    [[nodiscard]] virtual bool holds_output() const noexcept { return false; }
    /// Calls `ready` on the stream's executor once writing may succeed, or with the error that ended the wait.
    virtual void wait_writable(std::function<void(std::error_code)> ready) = 0;

    /// No more bytes will be written; the peer sees the end of the stream.
    virtual void shutdown_send() noexcept = 0;
    /// Closes at once; pending operations end with `operation_aborted`.
    virtual void close() noexcept = 0;
    /// Closes with a reset, discarding what the kernel has not sent.
    virtual void abort() noexcept = 0;
    /// Whether the peer has ended its side or reset the connection, seen without reading (unread data may lie before it).
    [[nodiscard]] virtual bool peer_gone() const noexcept = 0;

    /// Bytes that were written and the peer has not acknowledged yet. 0 where that is not known, and once it is closed.
    [[nodiscard]] virtual std::size_t unacknowledged() const noexcept { return 0; }

    [[nodiscard]] virtual std::string remote_address() const = 0;
    /// The descriptor below, for what it is and its options; -1 if there is none, and once it is closed.
    [[nodiscard]] virtual int native_handle() const noexcept { return -1; }
    /// Whether nothing can be written yet, because a handshake goes on: reading does that, and gives nothing meanwhile.
    [[nodiscard]] virtual bool handshaking() const noexcept { return false; }
    /// What the TLS handshake has agreed on; nothing before it is done, and for a stream without TLS.
    [[nodiscard]] virtual std::optional<tls_info> tls() const { return std::nullopt; }
};

}  // namespace kephas
