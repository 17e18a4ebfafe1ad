#include <kephas/net/lazy_buffer.hpp>
#include <kephas/net/socket_stream.hpp>

#include <asio/async_result.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace kephas {

namespace {

using socket_type = asio::generic::stream_protocol::socket;

std::string address_of(const asio::generic::stream_protocol::endpoint& endpoint) {
    asio::ip::tcp::endpoint tcp;
    const int family = endpoint.data()->sa_family;
    if ((family != AF_INET && family != AF_INET6) || endpoint.size() > tcp.capacity()) return "unix";
    std::memcpy(tcp.data(), endpoint.data(), endpoint.size());
    tcp.resize(endpoint.size());
    const std::string host = tcp.address().to_string();
    const std::string port = std::to_string(tcp.port());
    return tcp.address().is_v6() ? "[" + host + "]:" + port : host + ":" + port;
}

/// Starts a read whose slab, borrowed by an attempt that found nothing, goes back before the connection falls idle.
struct initiate_lazy_read {
    socket_type* socket;
    read_buffer* buffer;

    template <class Handler>
    void operator()(Handler&& handler) const {
        // Asio tries to read at once. If that fails, errno says so, and the slab has not been written to; if it
        // succeeds, the completion is posted and the slab must stay.
        errno = 0;
        socket->async_read_some(detail::lazy_buffer{buffer}, std::forward<Handler>(handler));
        if ((errno == EAGAIN || errno == EWOULDBLOCK) && buffer->direct.empty()) {
            buffer->lender->give_back_slab(std::exchange(buffer->slab, slice{}));
        }
    }
};

class socket_stream final : public stream {
public:
    socket_stream(socket_type socket, read_mode mode) : socket_{std::move(socket)}, mode_{mode} {
        asio::error_code ignored;
        socket_.non_blocking(true, ignored);
        const int on = 1;
        ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // fails on Unix sockets: fine
    }

    asio::awaitable<std::size_t> read_some(read_buffer& buffer, std::error_code& ec) override {
        if (mode_ == read_mode::readiness) return read_when_ready(buffer, ec);
        auto token = asio::redirect_error(asio::use_awaitable, ec);
        return asio::async_initiate<decltype(token), void(std::error_code, std::size_t)>(
            initiate_lazy_read{&socket_, &buffer}, token);
    }

    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        std::array<iovec, 64> parts;
        const std::size_t count = std::min(buffers.size(), parts.size());
        for (std::size_t i = 0; i < count; ++i) {
            parts[i] = {const_cast<std::byte*>(buffers[i].data()), buffers[i].size()};  // sendmsg does not write to it
        }
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = count;
        ssize_t written = 0;
        do {
            written = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (written < 0 && errno == EINTR);
        if (written >= 0) {
            ec.clear();
            return static_cast<std::size_t>(written);
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) ec = asio::error::would_block;
        else ec = {errno, std::system_category()};
        return 0;
    }

    void wait_writable(std::function<void(std::error_code)> ready) override {
        socket_.async_wait(socket_type::wait_write, std::move(ready));
    }

    void shutdown_send() noexcept override {
        asio::error_code ignored;
        socket_.shutdown(socket_type::shutdown_send, ignored);
    }

    void close() noexcept override {
        asio::error_code ignored;
        socket_.close(ignored);
    }

    void abort() noexcept override {
        asio::error_code ignored;
        socket_.set_option(asio::socket_base::linger{true, 0}, ignored);
        socket_.close(ignored);
    }

    bool peer_gone() const noexcept override {
        if (!socket_.is_open()) return true;
        pollfd state{const_cast<socket_type&>(socket_).native_handle(), POLLRDHUP, 0};
        return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    }

    std::size_t unacknowledged() const noexcept override {
        int bytes = 0;
        if (!socket_.is_open() || ::ioctl(const_cast<socket_type&>(socket_).native_handle(), SIOCOUTQ, &bytes) != 0) return 0;
        if (bytes <= 0) return 0;
        // What was under way when the connection was reset counts for ever, and nobody will acknowledge it.
        tcp_info info{};
        socklen_t size = sizeof(info);
        const int fd = const_cast<socket_type&>(socket_).native_handle();
        const bool tcp = ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
        return tcp && info.tcpi_state == TCP_CLOSE ? 0 : static_cast<std::size_t>(bytes);
    }

    std::string remote_address() const override {
        asio::error_code ec;
        const auto endpoint = socket_.remote_endpoint(ec);
        return ec ? std::string{"unknown"} : address_of(endpoint);
    }

private:
    asio::awaitable<std::size_t> read_when_ready(read_buffer& buffer, std::error_code& ec) {
        for (;;) {
            co_await socket_.async_wait(socket_type::wait_read, asio::redirect_error(asio::use_awaitable, ec));
            if (ec) co_return 0;
            const asio::mutable_buffer memory = detail::memory_for({&buffer});
            const std::size_t size = socket_.read_some(memory, ec);
            if (ec != asio::error::would_block) co_return size;
        }
    }

    socket_type socket_;
    read_mode mode_;
};

}  // namespace

std::unique_ptr<stream> make_socket_stream(asio::generic::stream_protocol::socket socket, read_mode mode) {
    return std::make_unique<socket_stream>(std::move(socket), mode);
}

}  // namespace kephas
