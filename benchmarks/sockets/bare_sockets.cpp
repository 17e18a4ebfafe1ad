// The reference for sockets without WebSocket: an epoll loop for each role and nothing else, over OpenSSL where there is a certificate.
//   bare_sockets sink|echo ADDRESS        takes what comes, or returns it; says "listening on ADDRESS"
//   bare_sockets send|ping ADDRESS        for --seconds; prints what was delivered, or the round trips, as JSON
//                                         --connections have a round trip under way at once; it says "ready" and waits for a line
//   bare_sockets hold ADDRESS             opens --connections, sends something on each whenever a line comes, until the input ends
#include <CLI/CLI.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;

int checked(int result, const char* what) {
    if (result < 0) throw std::system_error{errno, std::generic_category(), what};
    return result;
}

struct options {
    std::string role;
    std::string where;
    double seconds = 1;
    std::size_t size = 64;
    std::size_t batch = 32;
    std::size_t connections = 1;
    std::string certificate;
    std::string key;
};

/// An address of the forms that `bare_sockets` prints itself.
struct place {
    bool datagrams = false;
    bool tls = false;
    std::string scheme;
    sockaddr_storage end{};
    socklen_t size = 0;

    explicit place(const std::string& text) {
        const std::size_t mark = text.find("://");
        if (mark == std::string::npos) throw std::runtime_error{"expected SCHEME://ADDRESS"};
        scheme = text.substr(0, mark);
        const std::string rest = text.substr(mark + 3);
        tls = scheme == "tls";
        datagrams = scheme == "udp" || scheme == "unixgram";
        if (scheme.starts_with("unix")) {
            sockaddr_un name{};
            name.sun_family = AF_UNIX;
            if (rest.size() >= sizeof(name.sun_path)) throw std::runtime_error{"the path is too long"};
            std::memcpy(name.sun_path, rest.data(), rest.size());
            size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + rest.size() + 1);
            std::memcpy(&end, &name, sizeof(name));
        } else {
            sockaddr_in v4{};
            v4.sin_family = AF_INET;
            const std::size_t colon = rest.rfind(':');
            if (::inet_pton(AF_INET, rest.substr(0, colon).c_str(), &v4.sin_addr) != 1) throw std::runtime_error{"not an IPv4 address"};
            v4.sin_port = htons(static_cast<std::uint16_t>(std::stoi(rest.substr(colon + 1))));
            size = sizeof(v4);
            std::memcpy(&end, &v4, sizeof(v4));
        }
    }
    [[nodiscard]] const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&end); }
    [[nodiscard]] int open() const {
        return checked(::socket(end.ss_family, (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
    }
    /// Where `fd` is bound.
    [[nodiscard]] std::string text(int fd) const {
        if (end.ss_family == AF_UNIX) return scheme + "://" + reinterpret_cast<const sockaddr_un*>(&end)->sun_path;
        sockaddr_in bound{};
        socklen_t length = sizeof(bound);
        checked(::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length), "getsockname");
        std::array<char, INET_ADDRSTRLEN> host{};
        ::inet_ntop(AF_INET, &bound.sin_addr, host.data(), host.size());
        return scheme + "://" + host.data() + ":" + std::to_string(ntohs(bound.sin_port));
    }
};

void say_listening(const place& where, int fd) {
    std::printf("listening on %s\n", where.text(fd).c_str());
    std::fflush(stdout);
}

int bound_socket(const place& where) {
    const int fd = where.open();
    const int on = 1;
    if (where.end.ss_family == AF_INET && !where.datagrams) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    checked(::bind(fd, where.data(), where.size), "bind");
    return fd;
}

void wait_for(int fd, short events) {
    pollfd wait{fd, events, 0};
    checked(::poll(&wait, 1, -1), "poll");
}

struct free_context {
    void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
};
using context_ptr = std::unique_ptr<SSL_CTX, free_context>;

[[noreturn]] void fail_tls(const char* what) {
    std::array<char, 256> text{};
    ::ERR_error_string_n(::ERR_get_error(), text.data(), text.size());
    throw std::runtime_error{std::string{what} + ": " + text.data()};
}

context_ptr server_context(const options& chosen) {
    context_ptr context{::SSL_CTX_new(::TLS_server_method())};
    if (::SSL_CTX_use_certificate_chain_file(context.get(), chosen.certificate.c_str()) != 1 ||
        ::SSL_CTX_use_PrivateKey_file(context.get(), chosen.key.c_str(), SSL_FILETYPE_PEM) != 1) {
        fail_tls("certificate");
    }
    ::SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return context;
}

/// A connected stream, encrypted or not. As recv(2) and send(2), but -1 with EAGAIN for all that is not possible now.
struct channel {
    int fd = -1;
    SSL* ssl = nullptr;

    ssize_t read(std::byte* to, std::size_t size) const {
        if (ssl == nullptr) return ::recv(fd, to, size, 0);
        return result(::SSL_read(ssl, to, static_cast<int>(size)));
    }
    ssize_t write(const std::byte* from, std::size_t size) const {
        if (ssl == nullptr) return ::send(fd, from, size, MSG_NOSIGNAL);
        return result(::SSL_write(ssl, from, static_cast<int>(size)));
    }
    void end() const {
        if (ssl != nullptr) ::SSL_shutdown(ssl);
        ::shutdown(fd, SHUT_WR);
    }
    void close() {
        if (ssl != nullptr) {
            ::SSL_shutdown(ssl);
            ::SSL_free(ssl);
        }
        ::close(fd);
    }

private:
    [[nodiscard]] ssize_t result(int done) const {
        if (done > 0) return done;
        switch (::SSL_get_error(ssl, done)) {
            case SSL_ERROR_WANT_READ:
            case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
            case SSL_ERROR_ZERO_RETURN: return 0;
            default: errno = EIO; return -1;
        }
    }
};

void write_all(const channel& to, const std::byte* from, std::size_t size) {
    while (size > 0) {
        const ssize_t written = to.write(from, size);
        if (written > 0) {
            from += written;
            size -= static_cast<std::size_t>(written);
        } else if (errno == EAGAIN) {
            wait_for(to.fd, POLLOUT);
        } else {
            checked(-1, "write");
        }
    }
}

void serve_streams(const options& chosen, const place& where) {
    const bool echo = chosen.role == "echo";
    const context_ptr context = where.tls ? server_context(chosen) : nullptr;
    const int listener = bound_socket(where);
    checked(::listen(listener, SOMAXCONN), "listen");
    const int poller = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    epoll_event interest{EPOLLIN, {.ptr = nullptr}};
    checked(::epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest), "epoll_ctl");
    say_listening(where, listener);
    std::vector<std::byte> buffer(64 * 1024);
    std::array<epoll_event, 128> events;
    for (;;) {
        const int ready = ::epoll_wait(poller, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < ready; ++i) {
            auto* const one = static_cast<channel*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (one == nullptr) {
                const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) continue;
                const int on = 1;
                if (where.end.ss_family == AF_INET) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                auto* const fresh = new channel{fd, nullptr};
                if (context) {
                    fresh->ssl = ::SSL_new(context.get());
                    ::SSL_set_fd(fresh->ssl, fd);
                    ::SSL_set_accept_state(fresh->ssl);
                }
                epoll_event wanted{EPOLLIN, {.ptr = fresh}};
                checked(::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted), "epoll_ctl");
                continue;
            }
            do {
                const ssize_t size = one->read(buffer.data(), buffer.size());
                if (size > 0) {
                    if (echo) write_all(*one, buffer.data(), static_cast<std::size_t>(size));
                } else if (size == 0 || errno != EAGAIN) {
                    one->close();
                    delete one;
                    break;
                }
            } while (one->ssl != nullptr && ::SSL_pending(one->ssl) > 0);
        }
    }
}

/// Of datagrams, as recvmmsg(2) and sendmmsg(2) want them.
struct batch {
    batch(std::size_t count, std::size_t size) : block(count * size), parts(count), names(count), headers(count) {
        for (std::size_t i = 0; i < count; ++i) {
            parts[i] = {block.data() + i * size, size};
            headers[i].msg_hdr.msg_iov = &parts[i];
            headers[i].msg_hdr.msg_iovlen = 1;
        }
    }
    void named() {
        for (std::size_t i = 0; i < headers.size(); ++i) {
            headers[i].msg_hdr.msg_name = &names[i];
            headers[i].msg_hdr.msg_namelen = sizeof(sockaddr_un);
        }
    }
    std::vector<std::byte> block;
    std::vector<iovec> parts;
    std::vector<sockaddr_storage> names;
    std::vector<mmsghdr> headers;
};

void serve_datagrams(const options& chosen, const place& where) {
    const bool echo = chosen.role == "echo";
    const int fd = bound_socket(where);
    const int poller = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    epoll_event interest{EPOLLIN, {}};
    checked(::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest), "epoll_ctl");
    say_listening(where, fd);
    static constexpr std::size_t largest = 65'536;
    batch in{chosen.batch, largest};
    std::uint64_t received = 0;
    for (;;) {
        epoll_event event{};
        if (::epoll_wait(poller, &event, 1, -1) <= 0) continue;
        for (int count = static_cast<int>(chosen.batch); count == static_cast<int>(chosen.batch);) {
            in.named();
            for (iovec& part : in.parts) part.iov_len = largest;
            count = ::recvmmsg(fd, in.headers.data(), static_cast<unsigned>(chosen.batch), MSG_DONTWAIT, nullptr);
            if (count <= 0) break;
            for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
                if (echo) {
                    in.parts[i].iov_len = in.headers[i].msg_len;
                } else if (in.headers[i].msg_len == 1) {  // a question
                    const std::string answer = std::to_string(received);
                    ::sendto(fd, answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&in.names[i]),
                             in.headers[i].msg_hdr.msg_namelen);
                } else {
                    received += in.headers[i].msg_len;
                }
            }
            for (int sent = 0; echo && sent < count;) {
                const int done = ::sendmmsg(fd, in.headers.data() + sent, static_cast<unsigned>(count - sent), MSG_DONTWAIT);
                if (done > 0) sent += done;
                else if (errno == EAGAIN) wait_for(fd, POLLOUT);
                else ++sent;
            }
        }
    }
}

channel connected(const place& where, SSL_CTX* context) {
    channel to{where.open(), nullptr};
    if (where.datagrams && where.end.ss_family == AF_UNIX) {
        const sockaddr unnamed{AF_UNIX, {}};
        checked(::bind(to.fd, &unnamed, sizeof(sa_family_t)), "bind");
    }
    if (::connect(to.fd, where.data(), where.size) != 0) {
        if (errno != EINPROGRESS && errno != EAGAIN) checked(-1, "connect");
        while (errno == EAGAIN) {  // the queue of a Unix socket's listener is full
            ::usleep(200);
            if (::connect(to.fd, where.data(), where.size) == 0) break;
            if (errno != EAGAIN) checked(-1, "connect");
        }
        wait_for(to.fd, POLLOUT);
        int failure = 0;
        socklen_t size = sizeof(failure);
        ::getsockopt(to.fd, SOL_SOCKET, SO_ERROR, &failure, &size);
        errno = failure;
        if (failure != 0) checked(-1, "connect");
    }
    const int on = 1;
    if (where.end.ss_family == AF_INET && !where.datagrams) ::setsockopt(to.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (context == nullptr) return to;
    to.ssl = ::SSL_new(context);
    ::SSL_set_fd(to.ssl, to.fd);
    for (;;) {
        const int done = ::SSL_connect(to.ssl);
        if (done == 1) return to;
        const int why = ::SSL_get_error(to.ssl, done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) fail_tls("TLS handshake");
        wait_for(to.fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT);
    }
}

context_ptr client_context(const place& where) {
    if (!where.tls) return nullptr;
    context_ptr context{::SSL_CTX_new(::TLS_client_method())};
    ::SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

double seconds_since(steady::time_point begin) { return std::chrono::duration<double>(steady::now() - begin).count(); }

void print_delivered(std::uint64_t bytes, double seconds) {
    std::printf("{\"bytes\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(bytes), seconds);
}

void send_stream(const options& chosen, const place& where) {
    const context_ptr context = client_context(where);
    channel to = connected(where, context.get());
    const std::vector<std::byte> block(chosen.size, std::byte{'x'});
    const auto begin = steady::now();
    const auto end = begin + std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(chosen.seconds));
    std::uint64_t bytes = 0;
    while (steady::now() < end) {
        write_all(to, block.data(), block.size());
        bytes += block.size();
    }
    to.end();
    std::array<std::byte, 64> rest;
    while (to.read(rest.data(), rest.size()) != 0) {
        if (errno != EAGAIN) break;  // a peer that ends without close_notify
        wait_for(to.fd, POLLIN);
    }
    print_delivered(bytes, seconds_since(begin));
    to.close();
}

/// How many bytes a sink has received.
std::uint64_t ask(int fd) {
    for (;;) {
        if (::send(fd, "?", 1, MSG_DONTWAIT) != 1) {
            wait_for(fd, POLLOUT);
            continue;
        }
        pollfd wait{fd, POLLIN, 0};
        if (::poll(&wait, 1, 100) <= 0) continue;
        std::array<char, 64> text{};
        const ssize_t size = ::recv(fd, text.data(), text.size() - 1, MSG_DONTWAIT);
        if (size > 0) return std::stoull(text.data());
    }
}

void send_datagrams(const options& chosen, const place& where) {
    channel to = connected(where, nullptr);
    batch out{chosen.batch, chosen.size};
    const std::uint64_t before = ask(to.fd);
    const auto begin = steady::now();
    const auto end = begin + std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(chosen.seconds));
    while (steady::now() < end) {
        for (std::size_t sent = 0; sent < chosen.batch;) {
            const int done = ::sendmmsg(to.fd, &out.headers[sent], static_cast<unsigned>(chosen.batch - sent), MSG_DONTWAIT);
            if (done > 0) sent += static_cast<std::size_t>(done);
            else if (errno == EAGAIN) wait_for(to.fd, POLLOUT);
            else checked(-1, "sendmmsg");
        }
    }
    const double seconds = seconds_since(begin);
    print_delivered(ask(to.fd) - before, seconds);
    to.close();
}

void read_answer(const channel& from, std::vector<std::byte>& block) {
    for (std::size_t left = block.size(); left > 0;) {
        const ssize_t size = from.read(block.data(), left);
        if (size > 0) {
            left -= static_cast<std::size_t>(size);
        } else if (size < 0 && errno == EAGAIN) {
            pollfd wait{from.fd, POLLIN, 0};
            if (::poll(&wait, 1, 2000) == 0) throw std::runtime_error{"an answer was lost"};
        } else {
            throw std::runtime_error{"the server has left"};
        }
    }
}

void ping(const options& chosen, const place& where) {
    const context_ptr context = client_context(where);
    std::vector<channel> all;
    for (std::size_t i = 0; i < chosen.connections; ++i) all.push_back(connected(where, context.get()));
    std::vector<std::byte> block(chosen.size, std::byte{'x'});
    std::vector<double> times;
    times.reserve(1 << 20);
    const auto round_trips = [&](double limit) {
        const auto begin = steady::now();
        std::uint64_t trips = 0;
        while (seconds_since(begin) < limit) {
            const auto sent = steady::now();
            for (const channel& each : all) write_all(each, block.data(), block.size());
            for (const channel& each : all) read_answer(each, block);
            if (times.size() < times.capacity()) times.push_back(seconds_since(sent));
            trips += all.size();
        }
        return trips;
    };
    (void)round_trips(0.03);
    std::printf("ready\n");
    std::fflush(stdout);
    std::string line;
    std::getline(std::cin, line);
    times.clear();
    const auto begin = steady::now();
    const std::uint64_t trips = round_trips(chosen.seconds);
    const double seconds = seconds_since(begin);
    std::sort(times.begin(), times.end());
    std::printf("{\"round_trips\":%llu,\"seconds\":%.6f,\"p50\":%.9f,\"p99\":%.9f}\n", static_cast<unsigned long long>(trips), seconds,
                times[times.size() / 2], times[times.size() * 99 / 100]);
}

void hold(const place& where) {
    std::vector<channel> all;
    std::string line;
    while (std::getline(std::cin, line)) {  // how many there shall be
        for (std::size_t wanted = std::stoul(line); all.size() < wanted;) all.push_back(connected(where, nullptr));
        const auto begin = steady::now();
        std::array<std::byte, 64> block{};
        for (const channel& each : all) write_all(each, block.data(), block.size());
        for (const channel& each : all) {
            for (std::size_t left = block.size(); left > 0;) {
                const ssize_t size = each.read(block.data(), left);
                if (size > 0) left -= static_cast<std::size_t>(size);
                else if (size < 0 && errno == EAGAIN) wait_for(each.fd, POLLIN);
                else throw std::runtime_error{"the server has left"};
            }
        }
        std::printf("{\"connections\":%zu,\"answered\":%zu,\"seconds\":%.6f}\n", all.size(), all.size(), seconds_since(begin));
        std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    options chosen;
    CLI::App app{"Sockets with nothing but system calls"};
    app.add_option("role", chosen.role)->required()->check(CLI::IsMember({"sink", "echo", "send", "ping", "hold"}));
    app.add_option("address", chosen.where)->required();
    app.add_option("--seconds", chosen.seconds);
    app.add_option("--size", chosen.size, "bytes of each write or datagram")->check(CLI::Range(2, 1 << 20));
    app.add_option("--batch", chosen.batch, "datagrams for each system call")->check(CLI::Range(1, 1024));
    app.add_option("--connections", chosen.connections)->check(CLI::Range(1, 20000));
    app.add_option("--tls-cert", chosen.certificate);
    app.add_option("--tls-key", chosen.key);
    CLI11_PARSE(app, argc, argv);
    try {
        const place where{chosen.where};
        if (chosen.role == "ping") ping(chosen, where);
        else if (chosen.role == "hold") hold(where);
        else if (chosen.role == "send") where.datagrams ? send_datagrams(chosen, where) : send_stream(chosen, where);
        else where.datagrams ? serve_datagrams(chosen, where) : serve_streams(chosen, where);
        return 0;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "bare_sockets: %s\n", failure.what());
        return 1;
    }
}
