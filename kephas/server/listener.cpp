#include <kephas/base/log_throttle.hpp>

#include <kephas/net/steady_timer.hpp>

#include <kephas/server/listener.hpp>

#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kephas {

namespace {

constexpr mode_t unix_socket_mode = 0770;

[[noreturn]] void refuse(const std::error_code& ec, const std::string& what) {
    if (ec == asio::error::address_in_use) throw error{errc::address_in_use, what};
    throw error{ec, what};
}

/// A socket file that nobody listens on any more may be replaced; anything else that has its name may not.
bool is_stale_socket(const std::string& file, const listener::protocol::endpoint& endpoint) {
    struct stat info{};
    if (::lstat(file.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) return false;
    const bool refused = ::connect(probe, endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0 &&
                         errno == ECONNREFUSED;
    ::close(probe);
    return refused;
}

/// `chmod` for a socket file and nothing else, in case that somebody has put a link in its place.
bool set_socket_mode(const std::string& file, mode_t mode) {
    const int fd = ::open(file.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return false;
    struct stat info{};
    const bool done = ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) &&
                      ::chmod(fmt::format("/proc/self/fd/{}", fd).c_str(), mode) == 0;
    const int failure = errno;
    ::close(fd);
    errno = failure;
    return done;
}

/// Whether it has befallen a connection that waited to be accepted, and says nothing about the listener: the errors that
/// accept(2) tells to treat like EAGAIN, and those of firewalls and signals.
bool concerns_one_connection(int failure) noexcept {
    switch (failure) {
        case ECONNABORTED:
        case ECONNRESET:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case EINTR:
        case ENETDOWN:
        case ENETUNREACH:
        case ENONET:
        case ENOPROTOOPT:
        case EOPNOTSUPP:
        case EPERM:
        case EPROTO:
        case ETIMEDOUT: return true;
        default: return false;
    }
}

}  // namespace

listener::listener(const asio::any_io_executor& executor, const listen_address& address, bool files)
    : acceptor_{executor},
      protocol_{address.endpoint.protocol().family(), address.what == listen_address::kind::unix_socket ? 0 : IPPROTO_TCP},
      kind_{address.what} {
    auto role = std::make_shared<listener_role>();
    role->path = address.path;
    role->files = files && address.what == listen_address::kind::http;
    role->tls = address.tls;
    role_ = std::move(role);

    std::error_code ec;
    const std::string where = to_string(address.endpoint);
    acceptor_.open(protocol_, ec);
    if (ec) refuse(ec, where);
    acceptor_.non_blocking(true, ec);
    if (address.what == listen_address::kind::unix_socket) {
        bind_unix(address);
    } else {
        acceptor_.set_option(asio::socket_base::reuse_address{true}, ec);
        acceptor_.bind(address.endpoint, ec);
        if (ec) refuse(ec, where);
    }
    acceptor_.listen(SOMAXCONN, ec);
    if (ec) refuse(ec, where);
    endpoint_ = acceptor_.local_endpoint();
}

void listener::bind_unix(const listen_address& address) {
    if (is_stale_socket(address.socket_file, address.endpoint)) ::unlink(address.socket_file.c_str());
    // The file gets the mode of the socket less the umask, so at no moment more than it should have ...
    ::fchmod(acceptor_.native_handle(), unix_socket_mode);
    std::error_code ec;
    acceptor_.bind(address.endpoint, ec);
    if (ec) refuse(ec, address.socket_file);
    socket_file_ = address.socket_file;
    // ... and then what the umask has taken from it, which is not ours to change: other threads see it too.
    if (!set_socket_mode(socket_file_, unix_socket_mode)) {
        ec = {errno, std::system_category()};
        close();
        refuse(ec, address.socket_file);
    }
}

listener::~listener() { close(); }

void listener::stop() {
    asio::dispatch(acceptor_.get_executor(), [this] { close(); });
}

void listener::close() noexcept {
    std::error_code ignored;
    acceptor_.close(ignored);
    if (!socket_file_.empty()) ::unlink(std::exchange(socket_file_, {}).c_str());
}

std::string listener::url() const {
    const char* secure = role_->tls ? "s" : "";
    switch (kind_) {
        case listen_address::kind::websocket: return fmt::format("ws{}://{}{}", secure, to_string(endpoint()), role_->path);
        case listen_address::kind::http: return fmt::format("http{}://{}", secure, to_string(endpoint()));
        case listen_address::kind::unix_socket: break;
    }
    return fmt::format("unix://{}", to_string(endpoint()));
}

int listener::accept_one(protocol::socket::native_handle_type listening) noexcept {
    return ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

asio::awaitable<void> listener::accept(accepted_handler accepted, logger log, accept_function take) {
    static constexpr int batch = 64;  // then other connections of this thread get their turn
    int lost = 0;       // connections, one after the other: a whole batch of them is not their fault
    bool told = false;  // that nothing can be accepted
    log_throttle throttle{std::chrono::seconds{10}, 1};
    steady_timer pause{acceptor_.get_executor()};
    while (acceptor_.is_open()) {
        std::error_code ec;
        co_await acceptor_.async_wait(asio::socket_base::wait_read, asio::redirect_error(asio::use_awaitable, ec));
        if (ec == asio::error::operation_aborted) co_return;
        int failure = ec.value();
        for (int i = 0; failure == 0 && i < batch && acceptor_.is_open(); ++i) {
            const int fd = take(acceptor_.native_handle());
            if (fd >= 0) {
                lost = 0;
                try {
                    accepted(fd, protocol_, role_);
                } catch (const std::exception& error) {  // one connection less, but not the last one
                    log.error("cannot take a connection: {}", error.what());
                }
                continue;
            }
            const int why = errno;
            if (!concerns_one_connection(why) || ++lost == batch) failure = why;
        }
        if (!acceptor_.is_open()) co_return;
        if (failure == 0) continue;
        lost = 0;
        if (failure == EAGAIN || failure == EWOULDBLOCK) {  // everybody who waited is in
            if (std::exchange(told, false)) log.info("accepting connections again");
            continue;
        }
        // Those who wait are kept waiting by the kernel. A descriptor that is freed and taken again is not worth two lines.
        if (!told && throttle.note(clock::now())) {
            told = true;
            log.error("cannot accept connections: {}; trying again", std::system_category().message(failure));
        }
        pause.expires_after(std::chrono::milliseconds{100});
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (ec) co_return;
    }
}

}  // namespace kephas
