#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/clock.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/datagram_batches.hpp>
#include <kephas/net/datagram_counters.hpp>
#include <kephas/net/datagram_view.hpp>
#include <kephas/net/resumer.hpp>
#include <kephas/net/socket_address.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/unix_socket_file.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/generic/datagram_protocol.hpp>

#include <chrono>
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

/// What a `datagram_socket` may be told.
struct datagram_socket_options {
    /// Bytes of a datagram; what is longer arrives cut off, and says so. 0: all that can come, 65,507 over UDP and what a
    /// socket's send buffer takes over Unix sockets. It also bounds what `try_send` copies, but 64 KiB always fit.
    std::size_t max_size = 0;
    /// How many are received or sent by one system call, at most 1,024. Their memory is `batch` times `max_size`, of which
    /// only what datagrams have really filled is ever used.
    std::size_t batch = 32;
    /// How long replies wait for a Unix peer with a full queue; those behind them wait too. A peer that lets this pass costs
    /// the socket's others no second wait soon: for fifty times as long, what finds a queue full is dropped. Zero: always.
    duration send_patience = std::chrono::milliseconds{20};
    std::size_t receive_buffer = 0;  ///< Bytes in the kernel (SO_RCVBUF), which has a limit of its own; 0: as the system has it.
    std::size_t send_buffer = 0;     ///< SO_SNDBUF, likewise.
    /// Each queued datagram that could not be sent, and to whom; the counters know how many. It must not use the socket, and
    /// what it throws is lost.
    std::function<void(std::error_code, const socket_address&)> on_send_error{};

    /// Throws `std::invalid_argument` naming the option that cannot be.
    void validate() const;
};

/// A UDP or Unix datagram socket for coroutines. One that is bound hears everybody, and answers each:
///
///     while (const auto datagram = co_await socket.receive()) co_await socket.send(datagram->bytes, datagram->sender());
///
/// Datagrams are taken in batches (recvmmsg), and what is sent to somebody is queued and leaves in batches (sendmmsg): before
/// the next wait, when the queue is full, or with `flush`. One that is connected (`connect_datagram`) has a single peer.
/// Bound to all addresses it answers a sender from the address that was asked, also later, with a copy of `sender()`.
/// Memory is constant, whatever comes from however many.
/// Errors: `error` (a `std::system_error`) with the system's code; `operation_aborted` after `close()` or a cancellation.
/// Cancellation: `operation_aborted`; what has come and was not returned stays, and so does what was queued.
/// Concurrency: everything on its executor; one receive and one send or flush at a time.
/// Lifetime: it must stay until what was begun on it has completed.
class datagram_socket {
public:
    using protocol = asio::generic::datagram_protocol;

    /// Bound to `where`, `udp://` or `unixgram://`; `access` is for the file of a Unix socket. Throws `error`,
    /// `errc::address_in_use` and `errc::invalid_address` among others, and `std::invalid_argument`.
    datagram_socket(const asio::any_io_executor& executor, const address& where, datagram_socket_options options = {},
                    const unix_socket_access& access = {});
    /// One that somebody else has bound, or connected. Throws as the other.
    explicit datagram_socket(protocol::socket socket, datagram_socket_options options = {});
    datagram_socket(const datagram_socket&) = delete;
    datagram_socket& operator=(const datagram_socket&) = delete;
    ~datagram_socket();

    /// The next datagram; nothing after `stop_receiving()`. Errors: `errc::timed_out` once `deadline` has passed and nothing
    /// is there; of a connected socket `std::errc::connection_refused`, if nobody was there for what it had sent.
    /// Lifetime: the view is valid until the next `receive` or `receive_batch`.
    [[nodiscard]] asio::awaitable<std::optional<datagram_view>> receive(time_point deadline = time_point::max());
    /// All that have come, at least one and at most `batch`; none after `stop_receiving()`. Otherwise as `receive`.
    [[nodiscard]] asio::awaitable<std::span<const datagram_view>> receive_batch(time_point deadline = time_point::max());

    /// Queues `bytes` for `to`, and sends if there is no room or somebody waits in `receive`. What cannot be sent then is
    /// counted, and told to `on_send_error`; over Unix sockets that it could be means that it is in the peer's queue.
    /// Errors: `std::errc::message_size` if nothing as large can be sent, `std::errc::destination_address_required` for a
    /// sender without a name. Lifetime: `bytes` until it completes, and what was received until the next `receive`.
    [[nodiscard]] asio::awaitable<void> send(bytes_view bytes, const socket_address& to);
    [[nodiscard]] asio::awaitable<void> send(std::string_view text, const socket_address& to) { return send(as_bytes(text), to); }
    /// The same without waiting, for a `flush` or `receive` that follows; false if there is no room before that.
    [[nodiscard]] bool try_send(bytes_view bytes, const socket_address& to);
    /// Completes when nothing is queued any more.
    [[nodiscard]] asio::awaitable<void> flush();

    /// To the peer of a connected socket, at once; while its queue is full it waits. Errors: `std::errc::message_size`;
    /// `std::errc::connection_refused` if nobody was there for an earlier one (UDP), in place of which nothing was sent now, or is
    /// there any more (Unix); `std::errc::not_connected`.
    [[nodiscard]] asio::awaitable<void> send(bytes_view bytes);
    [[nodiscard]] asio::awaitable<void> send(std::string_view text) { return send(as_bytes(text)); }
    /// Queued, for the peer of a connected socket.
    [[nodiscard]] bool try_send(bytes_view bytes);

    /// From now on `receive` returns nothing, but what was taken already; sending goes on.
    void stop_receiving();
    /// At once: pending operations end with `operation_aborted`, what is queued is not sent, the file is removed.
    void close();

    [[nodiscard]] bool is_open() const noexcept { return open_; }
    [[nodiscard]] bool is_connected() const noexcept { return !remote_.empty(); }
    /// Where it is bound; of a client what its peer sees.
    [[nodiscard]] const socket_address& local() const noexcept { return local_; }
    [[nodiscard]] const socket_address& remote() const noexcept { return remote_; }  ///< Of a connected socket.
    /// "127.0.0.1:8125", "[::]:8125", the file or `@name` of a Unix socket.
    [[nodiscard]] std::string local_address() const { return to_string(local_); }
    [[nodiscard]] std::string remote_address() const { return to_string(remote_); }
    /// Bytes of the longest datagram that arrives whole.
    [[nodiscard]] std::size_t max_size() const noexcept { return max_size_; }
    [[nodiscard]] const datagram_counters& counters() const noexcept { return counters_; }
    /// How many were received and not returned yet.
    [[nodiscard]] std::size_t pending() const noexcept { return ready_.size(); }
    /// Datagrams that the kernel has thrown away because nobody took them in time. 0 once it is closed.
    [[nodiscard]] std::uint64_t overflows() const noexcept;
    [[nodiscard]] asio::any_io_executor get_executor() { return socket_.get_executor(); }

private:
    class sending;  // by one coroutine at a time
    void start();
    [[nodiscard]] int fd() const noexcept { return const_cast<protocol::socket&>(socket_).native_handle(); }  // -1 once closed
    [[nodiscard]] std::span<const datagram_view> receive_now(std::error_code& ec);
    [[nodiscard]] asio::awaitable<void> take(time_point deadline);
    [[nodiscard]] asio::awaitable<void> wait_for_turn();
    [[nodiscard]] asio::awaitable<void> flush_queued();
    [[nodiscard]] asio::awaitable<void> wait_readable(time_point deadline);
    [[nodiscard]] asio::awaitable<void> wait_writable();
    [[nodiscard]] asio::awaitable<void> pause(duration time);
    [[noreturn]] void refuse(const std::error_code& why);
    void check_size(std::size_t size, bool copied);
    [[nodiscard]] bool queue(bytes_view bytes, const socket_address& to);

    protocol::socket socket_;
    datagram_socket_options options_;
    unix_socket_file file_;
    socket_address local_;
    socket_address remote_;
    std::size_t max_size_ = 0;
    std::size_t copies_ = 0;  // bytes that are copied until they are sent
    std::optional<incoming_datagrams> in_;
    std::optional<outgoing_datagrams> out_;
    datagram_counters counters_;
    std::span<const datagram_view> ready_;  // taken, and not returned
    time_point no_patience_until_{};
    bool open_ = true;
    bool stopped_ = false;
    bool drained_ = true;    // the last call took less than it might have, and no burst: the next one would find nothing
    bool read_armed_ = false;  // a wait is under way, whether a coroutine waits for it or not
    bool sending_ = false;
    bool in_burst_ = false;  // more is about to come
    unsigned turns_ = 0;     // batches in a row, without a wait
    std::uint64_t waits_ = 0;  // of the reader, so far
    resumer reader_;
    resumer writer_;
    resumer behind_sending_;  // whoever wants to send while somebody does
    steady_timer deadline_;  // of the reader
    steady_timer pause_;     // of the writer
    std::shared_ptr<datagram_socket*> self_;  // for waits that may end after this
};

}  // namespace kephas
