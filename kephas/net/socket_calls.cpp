#include <kephas/net/socket_calls.hpp>

#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace kephas::socket_calls {

namespace {

/// What `call` returns, or -1 and the reason, for which `would_block` has one value only.
template <class Call>
ssize_t attempt(Call call, std::error_code& ec, int no_room = ENOBUFS) noexcept {
    ssize_t result = 0;
    do {
        result = call();
    } while (result < 0 && errno == EINTR);
    if (result >= 0) ec.clear();
    else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == no_room) ec = asio::error::would_block;
    else ec = {errno, std::system_category()};
    return result;
}

}  // namespace

owned_fd make_socket(int family, int type, int transport, std::error_code& ec) noexcept {
    owned_fd made{::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, transport)};
    if (made.get() >= 0) ec.clear();
    else ec = {errno, std::system_category()};
    return made;
}

void send_at_once(int fd) noexcept {
    const int on = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void keep_alive(int fd, duration idle) noexcept {
    static constexpr int probes = 4;
    static constexpr std::int64_t longest = 32'767;  // MAX_TCP_KEEPIDLE
    const auto seconds = std::clamp<std::int64_t>(std::chrono::ceil<std::chrono::seconds>(idle).count(), 1, longest);
    const int after = static_cast<int>(seconds);
    const int interval = std::max(1, after / probes);
    const int on = 1;
    // The times first: on a socket that is no TCP they fail, and so does nothing else.
    if (::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after)) != 0) return;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    // Nobody is asked while what was sent is not acknowledged: it would be sent again and again, for a quarter of an hour.
    // This ends it after as long as asking takes.
    const unsigned patience = static_cast<unsigned>(after + interval * probes) * 1000U;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
}

std::size_t read_some(int fd, read_buffer& buffer, std::error_code& ec) {
    mutable_bytes memory = buffer.direct;
    slice slab;
    if (memory.empty()) {
        slab = buffer.lender->borrow_slab();
        memory = slab.bytes();
    }
    const ssize_t size = attempt([&] { return ::recv(fd, memory.data(), memory.size(), MSG_DONTWAIT); }, ec);
    if (size == 0) ec = asio::error::eof;
    if (!slab.empty()) {
        if (size > 0) buffer.slab = std::move(slab);
        else buffer.lender->give_back_slab(std::move(slab));
    }
    return size > 0 ? static_cast<std::size_t>(size) : 0;
}

std::size_t write_some(int fd, std::span<const bytes_view> buffers, std::error_code& ec) noexcept {
    ssize_t size = 0;
    if (buffers.size() == 1) {
        const bytes_view only = buffers.front();
        size = attempt([&] { return ::send(fd, only.data(), only.size(), MSG_NOSIGNAL | MSG_DONTWAIT); }, ec);
    } else {
        std::array<iovec, 64> parts;
        const std::size_t count = std::min(buffers.size(), parts.size());
        for (std::size_t i = 0; i < count; ++i) {
            parts[i] = {const_cast<std::byte*>(buffers[i].data()), buffers[i].size()};  // sendmsg does not write to it
        }
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = count;
        size = attempt([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); }, ec);
    }
    return size > 0 ? static_cast<std::size_t>(size) : 0;
}

std::size_t receive_many(int fd, mmsghdr* first, std::size_t count, std::error_code& ec) noexcept {
    const auto many = static_cast<unsigned>(count);
    const ssize_t taken = attempt([&] { return ::recvmmsg(fd, first, many, MSG_DONTWAIT | MSG_TRUNC, nullptr); }, ec, EAGAIN);
    return taken > 0 ? static_cast<std::size_t>(taken) : 0;
}

std::size_t send_many(int fd, mmsghdr* first, std::size_t count, std::error_code& ec) noexcept {
    static constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (count == 1) {  // it costs the system less
        return attempt([&] { return ::sendmsg(fd, &first->msg_hdr, flags); }, ec, EAGAIN) >= 0 ? 1 : 0;
    }
    const auto many = static_cast<unsigned>(count);
    const ssize_t sent = attempt([&] { return ::sendmmsg(fd, first, many, flags); }, ec, EAGAIN);
    return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

void reset_on_close(int fd) noexcept {
    const linger at_once{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

bool peer_gone(int fd) noexcept {
    if (fd < 0) return true;
    pollfd state{fd, POLLRDHUP, 0};
    return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

std::size_t unacknowledged(int fd) noexcept {
    int bytes = 0;
    if (fd < 0 || ::ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes <= 0) return 0;
    // What was under way when the connection was reset counts for ever, and nobody will acknowledge it.
    tcp_info info{};
    socklen_t size = sizeof(info);
    const bool tcp = ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
    return tcp && info.tcpi_state == TCP_CLOSE ? 0 : static_cast<std::size_t>(bytes);
}

std::string remote_address(int fd) {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return "unknown";
    asio::ip::tcp::endpoint tcp;
    if ((peer.ss_family != AF_INET && peer.ss_family != AF_INET6) || size > tcp.capacity()) return "unix";
    std::memcpy(tcp.data(), &peer, size);
    tcp.resize(size);
    const std::string host = tcp.address().to_string();
    const std::string port = std::to_string(tcp.port());
    return tcp.address().is_v6() ? "[" + host + "]:" + port : host + ":" + port;
}

std::optional<peer_credentials> credentials_of(int fd) noexcept {
    int family = 0;
    socklen_t size = sizeof(family);
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || family != AF_UNIX) return std::nullopt;
    ucred peer{};
    size = sizeof(peer);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
    return peer_credentials{peer.pid, peer.uid, peer.gid};
}

}  // namespace kephas::socket_calls
