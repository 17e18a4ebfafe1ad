#include <kephas/net/socket_calls.hpp>
#include <kephas/net/socket_stream.hpp>

#include <asio/error.hpp>

#include <functional>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace kephas {

namespace {

using socket_type = asio::generic::stream_protocol::socket;

class socket_stream final : public stream {
public:
    explicit socket_stream(socket_type socket) : socket_{std::move(socket)} {
        asio::error_code ignored;
        socket_.non_blocking(true, ignored);
        socket_calls::send_at_once(fd());
    }
    ~socket_stream() override {
        if (reader_) *reader_ = nullptr;
    }

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override {
        return socket_calls::read_some(fd(), buffer, ec);
    }

    void wait_readable(read_waiter& who) override {
        if (!reader_) reader_ = std::make_shared<read_waiter*>(nullptr);
        socket_.async_wait(socket_type::wait_read, [reader = reader_](std::error_code /*reading tells*/) {
            if (read_waiter* waiting = std::exchange(*reader, nullptr)) waiting->readable();
        });
        *reader_ = &who;  // only once nothing can throw
    }

    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        return socket_calls::write_some(fd(), buffers, ec);
    }
    void wait_writable(std::function<void(std::error_code)> ready) override {
        socket_.async_wait(socket_type::wait_write, std::move(ready));
    }

    void shutdown_send() noexcept override { (void)::shutdown(fd(), SHUT_WR); }
    void close() noexcept override {
        asio::error_code ignored;
        socket_.close(ignored);
    }
    void abort() noexcept override {
        if (socket_.is_open()) socket_calls::reset_on_close(fd());
        close();
    }
    bool peer_gone() const noexcept override { return socket_calls::peer_gone(fd()); }
    std::size_t unacknowledged() const noexcept override { return socket_calls::unacknowledged(fd()); }
    std::string remote_address() const override { return socket_calls::remote_address(fd()); }
    int native_handle() const noexcept override { return fd(); }

private:
    [[nodiscard]] int fd() const noexcept { return const_cast<socket_type&>(socket_).native_handle(); }  // -1 once closed

    socket_type socket_;
    std::shared_ptr<read_waiter*> reader_;  // a wait may complete after the stream is gone
};

/// It is watched from its first wait on, and for reading ever after, unless it has something to read and nobody waits for
/// that: then, being level-triggered, it would be told of again and again.
class polled_stream final : public stream, public poller::target {
public:
    polled_stream(owned_fd socket, poller& home) : home_{home}, fd_{socket.release()} { socket_calls::send_at_once(fd_); }
    ~polled_stream() override {
        reader_ = nullptr;
        writer_.reset();
        close();
        leave();
    }

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override {
        return socket_calls::read_some(fd_, buffer, ec);
    }

    void wait_readable(read_waiter& who) override {
        if (!std::exchange(watch_read_, true) || fd_ < 0) watch();  // if it throws, the connection ends
        reader_ = &who;
    }
    bool wait_turn(read_waiter& who) override {
        if (!added_) {
            watch_read_ = true;
            watch();
        }
        reader_ = &who;
        tell_soon();
        return true;
    }

    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        return socket_calls::write_some(fd_, buffers, ec);
    }
    void wait_writable(std::function<void(std::error_code)> ready) override {
        writer_ = std::make_unique<std::function<void(std::error_code)>>(std::move(ready));
        try {
            watch();
        } catch (...) {
            writer_.reset();
            throw;
        }
    }

    void shutdown_send() noexcept override { (void)::shutdown(fd_, SHUT_WR); }
    void close() noexcept override {
        if (fd_ < 0) return;
        if (added_) home_.remove(fd_, *this);
        (void)::close(std::exchange(fd_, -1));
        if (added_ && (reader_ != nullptr || writer_)) tell_soon();
        else leave();
    }
    void abort() noexcept override {
        if (fd_ >= 0) socket_calls::reset_on_close(fd_);
        close();
    }
    bool peer_gone() const noexcept override { return socket_calls::peer_gone(fd_); }
    std::size_t unacknowledged() const noexcept override { return socket_calls::unacknowledged(fd_); }
    std::string remote_address() const override { return socket_calls::remote_address(fd_); }
    int native_handle() const noexcept override { return fd_; }

    void ready(std::uint32_t events) noexcept override {
        static constexpr std::uint32_t failed = EPOLLERR | EPOLLHUP;
        if (events == 0) soon_ = false;
        // Whoever is told may destroy the stream: that is the last thing that happens here.
        if (fd_ < 0) {
            if (writer_ && reader_ != nullptr) tell_soon();
            else leave();
            if (writer_) (*std::exchange(writer_, nullptr))(asio::error::operation_aborted);
            else if (reader_ != nullptr) std::exchange(reader_, nullptr)->readable();
        } else if (writer_ && (events & (EPOLLOUT | failed)) != 0) {
            const auto tell = std::exchange(writer_, nullptr);
            change();
            if ((events & EPOLLIN) != 0 && reader_ != nullptr) tell_soon();
            (*tell)({});
        } else if (reader_ != nullptr) {
            if (!soon_) std::exchange(reader_, nullptr)->readable();  // otherwise it has its turn later in this round
        } else if (watch_read_ && events != 0) {
            watch_read_ = false;
            change();
        }
    }

private:
    /// Errors are told whatever is asked for, but edge-triggered only once.
    [[nodiscard]] std::uint32_t interest() const noexcept {
        std::uint32_t events = 0;
        if (watch_read_) events |= EPOLLIN;
        if (writer_) events |= EPOLLOUT;
        return events != 0 ? events : EPOLLET;
    }
    void change() noexcept { home_.change(fd_, *this, interest()); }
    void watch() {
        if (added_ && fd_ >= 0) return change();
        if (!added_) home_.add(fd_, *this, interest());
        added_ = true;
        if (fd_ < 0) tell_soon();
    }
    void tell_soon() noexcept {
        if (!std::exchange(soon_, true)) home_.tell_soon(*this);
    }
    /// Once it is closed and nobody is to be told: whoever destroys it may be on another thread.
    void leave() noexcept {
        if (std::exchange(added_, false)) home_.forget(*this, std::exchange(soon_, false));
    }

    poller& home_;
    int fd_;
    bool added_ = false;
    bool soon_ = false;  // it will be told
    bool watch_read_ = false;
    read_waiter* reader_ = nullptr;
    std::unique_ptr<std::function<void(std::error_code)>> writer_;
};

}  // namespace

std::unique_ptr<stream> make_socket_stream(socket_type socket) { return std::make_unique<socket_stream>(std::move(socket)); }

std::unique_ptr<stream> make_polled_stream(owned_fd socket, poller& home) {
    return std::make_unique<polled_stream>(std::move(socket), home);
}

}  // namespace kephas
