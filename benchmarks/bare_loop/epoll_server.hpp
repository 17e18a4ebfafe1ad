#pragma once

// What the bare loops have in common with every server: a listening socket, an epoll set, and an end on SIGTERM.

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>

namespace bare {

inline constexpr int on = 1;

inline int checked(int result, const char* what) {
    if (result < 0) throw std::system_error{errno, std::generic_category(), what};
    return result;
}

/// Bytes that outlive a read. Grows without clearing what it gains, which std::vector would.
struct byte_buffer {
    struct freer {
        void operator()(std::uint8_t* bytes) const noexcept { std::free(bytes); }
    };
    std::unique_ptr<std::uint8_t, freer> data;
    std::size_t size = 0;
    std::size_t capacity = 0;

    void reserve(std::size_t wanted) {
        void* grown = std::realloc(data.get(), wanted);
        if (grown == nullptr) throw std::bad_alloc{};
        static_cast<void>(data.release());
        data.reset(static_cast<std::uint8_t*>(grown));
        capacity = wanted;
    }
    void assign(const std::uint8_t* from, std::size_t count) {
        if (count > capacity) reserve(count);
        if (count > 0) std::memcpy(data.get(), from, count);
        size = count;
    }
};

/// Settings of the process: as many descriptors as it may have, and the memory of a large frame, which is wanted again
/// soon, is not given back to the system.
inline void prepare_process() {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    for (const int threshold : {M_MMAP_THRESHOLD, M_TRIM_THRESHOLD}) mallopt(threshold, 32 * 1024 * 1024);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

/// Level-triggered epoll on one thread. `Server` is the class that derives from it; it has
///     void on_accept(int fd);
///     void on_event(connection&);
/// with a `connection` of its own, and drops connections as it likes in either.
template <class Server, class Connection>
class epoll_server {
public:
    explicit epoll_server(std::uint16_t port)
        : epoll_{checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")},
          listener_{checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket")} {
        sigset_t endings;
        sigemptyset(&endings);
        for (const int signal : {SIGTERM, SIGINT}) sigaddset(&endings, signal);
        sigprocmask(SIG_BLOCK, &endings, nullptr);
        control(EPOLL_CTL_ADD, checked(signalfd(-1, &endings, SFD_CLOEXEC), "signalfd"), EPOLLIN, nullptr);

        checked(setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        checked(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
        checked(listen(listener_, 4096), "listen");
        control(EPOLL_CTL_ADD, listener_, EPOLLIN, &listener_);
        socklen_t size = sizeof address;
        checked(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
        std::printf("listening on 127.0.0.1:%u\n", unsigned{ntohs(address.sin_port)});
        std::fflush(stdout);
    }
    epoll_server(const epoll_server&) = delete;
    epoll_server& operator=(const epoll_server&) = delete;

    /// Until SIGTERM or SIGINT.
    void run() {
        std::array<epoll_event, 256> events;
        for (;;) {
            const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
            if (count < 0 && errno != EINTR) checked(count, "epoll_wait");
            for (int i = 0; i < count; ++i) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                if (event.data.ptr == nullptr) return;
                if (event.data.ptr == &listener_) {
                    accept_all();
                } else {
                    static_cast<Server*>(this)->on_event(*static_cast<Connection*>(event.data.ptr));
                }
            }
        }
    }

protected:
    ~epoll_server() = default;

    void watch(int fd, Connection& c) const { control(EPOLL_CTL_ADD, fd, EPOLLIN, &c); }
    void wait_for(std::uint32_t what, int fd, Connection& c) const { control(EPOLL_CTL_MOD, fd, what, &c); }

private:
    void control(int operation, int fd, std::uint32_t what, void* who) const {
        epoll_event event{};
        event.events = what;
        event.data.ptr = who;
        checked(epoll_ctl(epoll_, operation, fd, &event), "epoll_ctl");
    }

    void accept_all() {
        for (;;) {
            const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)) return;
            checked(fd, "accept4");
            checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
            static_cast<Server*>(this)->on_accept(fd);
        }
    }

    int epoll_;
    int listener_;
};

}  // namespace bare
