#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/net/stream.hpp>

#include <asio/any_io_executor.hpp>

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>

namespace kephas {

/// One direction of a connection in memory: what one end has written and the other has not read yet. A test holds it
/// to play the wire, or one of the ends. Concurrency: any thread.
class memory_pipe {
public:
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    explicit memory_pipe(std::size_t capacity) noexcept : capacity_{capacity} {}
    memory_pipe(const memory_pipe&) = delete;
    memory_pipe& operator=(const memory_pipe&) = delete;

    // The wire.
    /// How many bytes may lie between the ends; what is there already stays.
    void set_capacity(std::size_t size);
    /// How many bytes one read and one write move at most.
    void set_step(std::size_t size);
    /// From now on nothing arrives, not even the end of the stream, ...
    void hold();
    /// ... but the next `size` bytes, ...
    void deliver(std::size_t size);
    /// ... or until everything does again.
    void release();
    /// The connection is lost: what has not been read is gone, and both ends get `connection_reset`.
    void reset();

    // The writing end.
    /// Takes as much as there is room for; 0 with `would_block` when it is full, with `connection_reset` or
    /// `broken_pipe` when nobody will read it.
    std::size_t write(bytes_view bytes, std::error_code& ec);
    /// The same, for all of it or nothing. Errors: `std::length_error` if it has no room.
    void write(std::string_view text);
    /// No more will be written.
    void end();
    /// False if writing may succeed, or fail, at once; otherwise `notify` is called when that is so.
    [[nodiscard]] bool wait_writable(std::function<void()> notify);

    // The reading end.
    /// Takes what has arrived; 0 with `would_block`, or at the end with `eof` or `connection_reset`.
    std::size_t read(mutable_bytes to, std::error_code& ec);
    /// Everything that has arrived.
    [[nodiscard]] std::string take();
    /// False if reading would not block; otherwise `notify` is called when that is so.
    [[nodiscard]] bool wait_readable(std::function<void()> notify);
    /// Nothing will be read any more. True if something is left unread, which TCP answers with a reset.
    bool stop_reading();

    [[nodiscard]] std::size_t unread() const;    ///< Written and not read.
    [[nodiscard]] std::size_t arrived() const;   ///< The part of it that could be read now.
    [[nodiscard]] bool at_end() const;           ///< The end has arrived, and nothing is left to be read before it.
    [[nodiscard]] bool was_ended() const;        ///< By `end` or `reset`, whether that has arrived or not.
    [[nodiscard]] bool was_reset() const;

private:
    [[nodiscard]] std::size_t arrived_locked() const noexcept;
    [[nodiscard]] bool readable_locked() const noexcept;
    [[nodiscard]] bool writable_locked() const noexcept;
    std::size_t read_locked(mutable_bytes to, std::error_code& ec);
    template <class Change>
    void change(Change what);

    mutable std::mutex mutex_;
    std::string bytes_;
    std::size_t taken_ = 0;  // of bytes_
    std::size_t capacity_;
    std::size_t step_ = unlimited;
    std::size_t deliverable_ = unlimited;
    bool ended_ = false;
    bool reset_ = false;
    bool reader_gone_ = false;
    std::function<void()> on_readable_;
    std::function<void()> on_writable_;
};

/// A connection in memory. Each end is a `stream`, or is played by a test on the two pipes:
///
///     kephas::memory_link link;
///     server.attach([&](const auto& executor) { return link.server_end(executor); });
///     link.to_server().write("GET /ws HTTP/1.1\r\n...");
///     context.poll();
///     std::string answer = link.to_client().take();
///
/// It behaves as TCP does: closing with unread input resets the connection, a reset discards what is under way, the end of
/// the stream is `eof`. What has arrived counts as acknowledged, whether it has been read or not.
/// Lifetime: the streams may outlive it.
class memory_link {
public:
    explicit memory_link(std::size_t capacity = 64 * 1024)
        : to_server_{std::make_shared<memory_pipe>(capacity)}, to_client_{std::make_shared<memory_pipe>(capacity)} {}

    /// The two ends, each to be asked for once.
    [[nodiscard]] std::unique_ptr<stream> server_end(const asio::any_io_executor& executor) const;
    [[nodiscard]] std::unique_ptr<stream> client_end(const asio::any_io_executor& executor) const;

    [[nodiscard]] memory_pipe& to_server() const noexcept { return *to_server_; }
    [[nodiscard]] memory_pipe& to_client() const noexcept { return *to_client_; }

    /// Cuts the wire.
    void reset() const {
        to_server_->reset();
        to_client_->reset();
    }

private:
    std::shared_ptr<memory_pipe> to_server_;
    std::shared_ptr<memory_pipe> to_client_;
};

}  // namespace kephas
