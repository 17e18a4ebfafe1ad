#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/clock.hpp>
#include <kephas/base/peer_credentials.hpp>
#include <kephas/base/tls_info.hpp>

#include <kephas/net/resumer.hpp>
#include <kephas/net/stream.hpp>

#include <asio/awaitable.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace kephas {

/// What a connection is doing, as it is told to `connection_observer`.
enum class connection_state : std::uint8_t { dial, opened, read, close_read, handler, write, close_write, closed };
/// "dial connection", "new connection", "read incoming stream", ...
[[nodiscard]] std::string_view to_string(connection_state state) noexcept;

class connection;
/// Runs on the executor of the connection, and must not block; what it throws is lost.
using connection_observer = std::function<void(const connection& which, connection_state now)>;

/// A connected TCP, TLS or Unix socket, to be read and written by coroutines:
///
///     std::array<std::byte, 4096> buffer;
///     while (const std::size_t size = co_await client.read_some(buffer)) co_await client.write(bytes_view{buffer}.first(size));
///
/// Errors: `error` (a `std::system_error`) with the system's code, to be compared with `std::errc`; `operation_aborted` after
/// `close()` or a cancellation, `asio::error::eof` where the end of the stream comes too early, `errc::truncated` where TLS has
/// not said that it is the end.
/// Cancellation: reads and writes end with `operation_aborted`; what has been read stays, a write may have sent a part.
/// Concurrency: everything on its executor; one read and one write at a time.
/// Lifetime: a connection must stay until what was begun on it has completed, and a coroutine that waits on it must have ended
/// before its context is destroyed: `close()` ends it.
class connection final : private read_waiter {
public:
    /// Who has it when it begins: a server, a client, or a test with a `memory_link`.
    explicit connection(std::unique_ptr<stream> transport, std::shared_ptr<const connection_observer> observer = nullptr);
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    /// As `close()`.
    ~connection();

    /// Tells `observer` of an attempt to connect, of which only the address is known.
    static void announce(std::unique_ptr<stream> nowhere, std::shared_ptr<const connection_observer> observer);

    /// Waits until the TLS handshake is done, if there is one: servers and `connect` do, before anybody reads or writes.
    /// Errors: `errc::timed_out` at `deadline`; those of `make_tls_client_stream`, or the reason of OpenSSL's.
    [[nodiscard]] asio::awaitable<void> handshake(time_point deadline = time_point::max());

    /// What has arrived, at least one byte and at most `to.size()`; 0 when the peer has ended its side.
    [[nodiscard]] asio::awaitable<std::size_t> read_some(mutable_bytes to) { return read(to, from::anywhere); }
    /// As many bytes as there is room for. Errors: `eof` when the stream ends before that.
    [[nodiscard]] asio::awaitable<void> read_exactly(mutable_bytes to);
    /// All up to `delimiter`, with it; what came behind it is read next. At the end of the stream what is left without it, which
    /// may be nothing. Errors: `condition::too_big` if `most` bytes are there without it; they can still be read.
    [[nodiscard]] asio::awaitable<std::string> read_until(std::string_view delimiter, std::size_t most = 64 * 1024);

    /// Completes when the kernel has taken all of it. Lifetime: the bytes stay until then.
    [[nodiscard]] asio::awaitable<void> write(bytes_view bytes);
    [[nodiscard]] asio::awaitable<void> write(std::string_view text) { return write(as_bytes(text)); }
    /// One after the other, with as few system calls as there can be. Lifetime: the array of parts stays, too.
    [[nodiscard]] asio::awaitable<void> write(std::span<const bytes_view> parts);

    /// Nothing more will be written: the peer sees the end of the stream (FIN), and may still send.
    void shutdown_write();
    /// Throws away what a peer is still sending that does not expect the end, until that is over, 1 MiB or `limit` at most: TCP
    /// answers input after the close with a reset, which takes along what is on its way to the peer. At once if it is silent.
    [[nodiscard]] asio::awaitable<void> linger(duration limit);
    /// Ends it at once. What was written is still sent, unless the peer goes on sending (`linger`), as a TLS 1.3 server does with
    /// the session tickets after the handshake; pending operations end with `operation_aborted`.
    void close() noexcept;
    /// The same with a reset: what was not sent is lost.
    void abort() noexcept;

    /// Tells the observer, whose exceptions go no further: for whoever has made the connection.
    void tell(connection_state now) const noexcept;

    [[nodiscard]] bool is_open() const noexcept { return open_; }
    /// Whether an error has ended reading or writing; whoever reads gets it again.
    [[nodiscard]] bool has_failed() const noexcept { return failed_; }
    /// Whether all that the peer has sent was read, and that it has ended its side.
    [[nodiscard]] bool at_end() const noexcept { return ended_ && ahead_.empty(); }
    /// "127.0.0.1:8080", "[::1]:8080"; of a Unix socket the file or `@name`, empty if it has none. A Unix peer's name is its own
    /// text: `escaped` before it is shown.
    [[nodiscard]] const std::string& local_address() const noexcept { return local_; }
    [[nodiscard]] const std::string& remote_address() const noexcept { return remote_; }
    /// The socket, for its options; -1 if there is none, and once it is closed.
    [[nodiscard]] int native_handle() const noexcept { return stream_->native_handle(); }
    /// Of a Unix socket.
    [[nodiscard]] const std::optional<kephas::peer_credentials>& peer_credentials() const noexcept { return credentials_; }
    /// What the TLS handshake has agreed on; nothing without TLS.
    [[nodiscard]] std::optional<tls_info> tls() const { return stream_->tls(); }
    /// Since something was read or written, or about `clock::tick` more; any thread.
    [[nodiscard]] duration idle_time() const noexcept { return clock::now() - active_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_; }
    [[nodiscard]] std::uint64_t bytes_written() const noexcept { return bytes_written_; }

private:
    void readable() noexcept override;
    void discard_input() noexcept;
    [[nodiscard]] std::size_t take_ahead(mutable_bytes to) noexcept;
    [[nodiscard]] std::size_t read_now(mutable_bytes to);
    enum class from : bool { stream, anywhere };  // `anywhere`: what was read ahead comes first
    [[nodiscard]] asio::awaitable<std::size_t> read(mutable_bytes to, from where);
    [[nodiscard]] asio::awaitable<std::size_t> read_at_once(mutable_bytes to, from where);
    [[nodiscard]] asio::awaitable<std::size_t> read_when_readable(mutable_bytes to, from where);
    [[nodiscard]] bool has_something(from where) const noexcept;
    [[nodiscard]] std::size_t take(mutable_bytes to, from where);
    template <class Handler>
    class arrival;
    void begin_wait();
    [[nodiscard]] std::size_t write_now(std::span<const bytes_view> parts, std::error_code& ec);
    [[nodiscard]] asio::awaitable<void> wait_writable();

    std::unique_ptr<stream> stream_;
    const std::shared_ptr<const connection_observer> observer_;  // null: nobody
    std::string local_;
    std::string remote_;
    std::optional<kephas::peer_credentials> credentials_;
    std::atomic<time_point> active_{clock::coarse_now()};
    std::uint64_t bytes_read_ = 0;
    std::uint64_t bytes_written_ = 0;
    std::string ahead_;             // read by `read_until`, and behind what that has returned
    std::size_t ahead_taken_ = 0;   // of it
    bool open_ = true;
    bool drained_ = true;           // the last read took less than it might have: the next one would find nothing
    bool stream_waits_ = false;     // it will call `readable`, whether a coroutine waits for that or not
    bool ended_ = false;            // by the peer
    bool write_ended_ = false;      // by us
    bool failed_ = false;
    std::error_code read_failure_;
    resumer reader_;
    resumer writer_;
    std::shared_ptr<connection*> self_;  // for waits that may end after this
};

}  // namespace kephas
