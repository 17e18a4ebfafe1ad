#include <kephas/base/error.hpp>
#include <kephas/base/log_throttle.hpp>

#include <kephas/net/acceptor.hpp>
#include <kephas/net/address.hpp>
#include <kephas/net/error_codes.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/steady_timer.hpp>

#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <cerrno>
#include <chrono>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

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

acceptor::acceptor(const asio::any_io_executor& executor, const protocol::endpoint& endpoint, const unix_socket_access& access,
                   bool only_v6)
    : acceptor_{executor} {
    const bool local = endpoint.protocol().family() == AF_UNIX;
    const std::string where = to_string(endpoint.data(), endpoint.size());
    const auto check = [&where](const std::error_code& ec) {
        if (ec == asio::error::address_in_use) throw error{errc::address_in_use, where};
        if (ec) throw error{unified(ec), where};
    };
    std::error_code ec;
    const protocol kind{endpoint.protocol().family(), local ? 0 : IPPROTO_TCP};
    owned_fd made = socket_calls::make_socket(kind.family(), SOCK_STREAM, kind.protocol(), ec);
    check(ec);
    acceptor_.assign(kind, made.get(), ec);
    check(ec);
    (void)made.release();
    acceptor_.non_blocking(true, ec);
    if (local) {
        file_ = unix_socket_file{acceptor_.native_handle(), where, access};
    } else {
        acceptor_.set_option(asio::socket_base::reuse_address{true}, ec);
        if (endpoint.protocol().family() == AF_INET6) acceptor_.set_option(asio::ip::v6_only{only_v6}, ec);
        acceptor_.bind(endpoint, ec);
        check(ec);
    }
    acceptor_.listen(SOMAXCONN, ec);
    check(ec);
    endpoint_ = acceptor_.local_endpoint();
}

acceptor::~acceptor() { close(); }

void acceptor::stop() {
    asio::dispatch(acceptor_.get_executor(), [this] { close(); });
}

void acceptor::close() noexcept {
    std::error_code ignored;
    acceptor_.close(ignored);
    file_.remove();
}

int acceptor::accept_one(int listening) noexcept {
    return ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

asio::awaitable<void> acceptor::accept(accepted_handler accepted, logger log, accept_function take) {
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
                    accepted(fd);
                } catch (const std::exception& error) {  // one connection less, but not the last one
                    log.error("cannot take a connection: {}", error.what());
                } catch (...) {
                    log.error("cannot take a connection: something was thrown that is no std::exception");
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
