// The reference that every other server is measured against: a WebSocket echo (RFC 6455) that is nothing but a
// level-triggered epoll loop on one thread. All connections share one read buffer; frames are parsed in it, and
// unmasking moves each payload to its place behind the reply header, so that all replies of one read leave in one
// write and nothing is copied. An idle connection owns no buffer. It checks what it has to in order to find the frames,
// and neither UTF-8 nor the order of fragments.
#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

namespace {

constexpr std::size_t shared_size = 256 * 1024;
constexpr std::size_t close_frame_size = 4;  // may be written over a shorter broken frame: room past the shared buffer
constexpr std::size_t max_head = 8 * 1024;
constexpr int on = 1;
constexpr std::uint64_t max_payload = 64 * 1024 * 1024;

int checked(int result, const char* what) {
    if (result < 0) throw std::system_error{errno, std::generic_category(), what};
    return result;
}

/// Bytes that outlive a read. Grows without clearing what it gains, which std::vector would.
struct byte_buffer {
    std::unique_ptr<std::uint8_t, decltype([](std::uint8_t* bytes) { std::free(bytes); })> data;
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

enum class phase : std::uint8_t { handshake, open, closing };

struct connection {
    int fd = -1;
    phase state = phase::handshake;
    std::size_t wanted = 0;  ///< Size of the frame whose start is in `kept`; 0: its header is not whole yet.
    byte_buffer kept;        ///< The start of a request or a frame that has not arrived whole.
    byte_buffer unsent;      ///< Replies that the socket did not take. Nothing is read while there are any.
    std::size_t sent = 0;    ///< How much of `unsent` has left since.
};

/// Moves `size` bytes from `from` to `to`, unmasking them (section 5.3). They may overlap if `to <= from`: every step
/// loads all that it stores.
void unmask(std::uint8_t* to, const std::uint8_t* from, std::size_t size, std::uint32_t key) noexcept {
    using block = std::uint32_t __attribute__((vector_size(16)));
    const block keys{key, key, key, key};
    std::size_t i = 0;
    for (; i + 16 <= size; i += 16) {
        block part;
        std::memcpy(&part, from + i, 16);
        part ^= keys;
        std::memcpy(to + i, &part, 16);
    }
    for (; i + 4 <= size; i += 4) {
        std::uint32_t word;
        std::memcpy(&word, from + i, 4);
        word ^= key;
        std::memcpy(to + i, &word, 4);
    }
    std::array<std::uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &key, 4);
    for (; i < size; ++i) to[i] = static_cast<std::uint8_t>(from[i] ^ bytes[i % 4]);
}

std::uint64_t big_endian(const std::uint8_t* from, std::size_t size) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8U | from[i];
    return value;
}

/// Copies the two bytes and the length field of a frame, without the mask bit and the key.
std::uint8_t* put_header(std::uint8_t* to, std::uint8_t first, std::uint64_t length) noexcept {
    const std::size_t extra = length < 126 ? 0 : length <= 0xFFFF ? 2 : 8;
    *to++ = first;
    *to++ = static_cast<std::uint8_t>(extra == 0 ? length : extra == 2 ? 126 : 127);
    for (std::size_t i = extra; i > 0; --i) *to++ = static_cast<std::uint8_t>(length >> 8U * (i - 1));
    return to;
}

std::uint8_t* put_close(std::uint8_t* to, std::uint16_t code) noexcept {
    to = put_header(to, 0x88, 2);
    for (const unsigned shift : {8U, 0U}) *to++ = static_cast<std::uint8_t>(code >> shift);
    return to;
}

/// 0, or the close code that a frame with this header deserves (section 7.4.1).
std::uint16_t objection(std::uint8_t first, std::uint8_t second, std::uint64_t length) noexcept {
    const unsigned opcode = first & 0x0FU;
    const bool control = opcode >= 8;
    const bool unknown = control ? opcode > 10 : opcode > 2;
    if ((first & 0x70U) != 0 || unknown || (second & 0x80U) == 0) return 1002;  // the last: not masked
    if (control && (length > 125 || (first & 0x80U) == 0 || (opcode == 8 && length == 1))) return 1002;
    return length > max_payload ? 1009 : 0;
}

struct echoed {
    std::uint8_t* rest;         ///< The first byte that belongs to no whole frame.
    std::uint8_t* replies_end;  ///< The replies begin where the frames began.
};

/// Turns the whole frames of [in, end) into their replies, in the same memory. Fragments are echoed as fragments, which
/// makes the same message.
echoed echo_frames(connection& c, std::uint8_t* in, const std::uint8_t* end) noexcept {
    std::uint8_t* out = in;
    c.wanted = 0;
    while (c.state == phase::open) {
        const auto available = static_cast<std::size_t>(end - in);
        if (available < 2) break;
        std::uint64_t length = in[1] & 0x7FU;
        const std::size_t extra = length < 126 ? 0 : length == 126 ? 2 : 8;
        if (available < 2 + extra) break;
        if (extra > 0) length = big_endian(in + 2, extra);
        if (const std::uint16_t code = objection(in[0], in[1], length); code != 0) {
            c.state = phase::closing;
            out = put_close(out, code);
            break;
        }
        const std::size_t header_size = 2 + extra + 4;
        c.wanted = header_size + length;
        if (available < c.wanted) break;
        c.wanted = 0;
        const std::uint8_t first = in[0];
        const unsigned opcode = first & 0x0FU;
        std::uint32_t key;
        std::memcpy(&key, in + 2 + extra, 4);
        in += header_size;
        if (opcode != 10) {
            out = put_header(out, opcode == 9 ? std::uint8_t{0x8A} : first, length);
            unmask(out, in, length, key);
            out += length;
        }
        in += length;
        if (opcode == 8) c.state = phase::closing;
    }
    return {in, out};
}

/// The value of a header field in the head of a request, or nothing.
std::string_view header_value(std::string_view head, std::string_view name) noexcept {
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
        at += 2;
        if (head.size() - at <= name.size() || head[at + name.size()] != ':') continue;
        if (strncasecmp(head.data() + at, name.data(), name.size()) != 0) continue;
        std::string_view value = head.substr(at + name.size() + 1);
        value = value.substr(0, value.find("\r\n"));
        value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
        return value.substr(0, value.find_last_not_of(" \t") + 1);
    }
    return {};
}

/// The answer to a request for a WebSocket (section 4.2.2), or nothing if it is none.
std::string handshake_answer(std::string_view head) {
    const std::string_view key = header_value(head, "Sec-WebSocket-Key");
    if (!head.starts_with("GET ") || key.empty()) return {};
    const std::string salted = std::string{key} + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
    SHA1(reinterpret_cast<const unsigned char*>(salted.data()), salted.size(), digest.data());
    std::array<unsigned char, 4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1> accept;
    const int size = EVP_EncodeBlock(accept.data(), digest.data(), static_cast<int>(digest.size()));
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
           std::string{accept.begin(), accept.begin() + size} + "\r\n\r\n";
}

class loop {
public:
    explicit loop(std::uint16_t port)
        : epoll_{checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")},
          listener_{checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket")} {
        sigset_t endings;
        sigemptyset(&endings);
        for (const int signal : {SIGTERM, SIGINT}) sigaddset(&endings, signal);
        sigprocmask(SIG_BLOCK, &endings, nullptr);
        watch(EPOLL_CTL_ADD, checked(signalfd(-1, &endings, SFD_CLOEXEC), "signalfd"), EPOLLIN, nullptr);

        checked(setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        checked(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
        checked(listen(listener_, 4096), "listen");
        watch(EPOLL_CTL_ADD, listener_, EPOLLIN, &listener_);
        socklen_t size = sizeof address;
        checked(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
        std::printf("listening on 127.0.0.1:%u\n", unsigned{ntohs(address.sin_port)});
        std::fflush(stdout);
    }

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
                    continue;
                }
                auto& c = *static_cast<connection*>(event.data.ptr);
                c.unsent.size > 0 ? on_writable(c) : on_readable(c);
            }
        }
    }

private:
    void watch(int operation, int fd, std::uint32_t what, void* who) const {
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
            auto c = std::make_unique<connection>();
            c->fd = fd;
            watch(EPOLL_CTL_ADD, fd, EPOLLIN, c.release());
        }
    }

    static void drop(connection& c) {
        ::close(c.fd);  // takes it out of the epoll set, too
        delete &c;
    }

    void on_readable(connection& c) {
        // A frame that fits into the shared buffer is completed there; a larger one is read into memory of its own,
        // which grows with what has arrived and takes no byte more than the frame.
        const bool own = c.wanted > shared_size;
        if (own && (c.kept.size == c.kept.capacity || c.kept.capacity < shared_size))
            c.kept.reserve(std::min(c.wanted, std::max(2 * c.kept.size, shared_size)));
        const std::size_t room = own ? c.kept.capacity : shared_size;
        std::uint8_t* const begin = own ? c.kept.data.get() : shared_.data();
        const std::size_t had = c.kept.size;
        if (!own && had > 0) std::memcpy(begin, c.kept.data.get(), had);
        const ssize_t got = recv(c.fd, begin + had, room - had, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return drop(c);
        if (c.state == phase::closing) return;  // only waiting for the peer to close
        const std::uint8_t* const end = begin + had + got;
        if (own && (c.kept.size += static_cast<std::size_t>(got)) < c.wanted) return;

        std::uint8_t* frames = begin;
        if (c.state == phase::handshake) {
            const std::string_view head{reinterpret_cast<const char*>(begin), static_cast<std::size_t>(end - begin)};
            const std::size_t blank = head.find("\r\n\r\n");
            if (blank == std::string_view::npos)
                return head.size() < max_head ? c.kept.assign(begin, head.size()) : drop(c);
            const std::string answer = handshake_answer(head.substr(0, blank + 2));
            if (answer.empty() || send(c.fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return drop(c);
            c.state = phase::open;
            frames += blank + 4;
        }

        const echoed result = echo_frames(c, frames, end);
        const auto size = static_cast<std::size_t>(result.replies_end - frames);
        const ssize_t sent = size == 0 ? 0 : send(c.fd, frames, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return drop(c);
        const std::size_t left = size - static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
        if (left > 0) {
            c.unsent.assign(result.replies_end - left, left);
            c.sent = 0;
            watch(EPOLL_CTL_MOD, c.fd, EPOLLOUT, &c);
        }
        if (result.rest == end || c.state == phase::closing) {
            c.kept = {};
            if (c.state == phase::closing && left == 0) shutdown(c.fd, SHUT_WR);
        } else {
            c.kept.assign(result.rest, static_cast<std::size_t>(end - result.rest));
        }
    }

    void on_writable(connection& c) {
        const ssize_t sent = send(c.fd, c.unsent.data.get() + c.sent, c.unsent.size - c.sent, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN ? void() : drop(c);
        c.sent += static_cast<std::size_t>(sent);
        if (c.sent < c.unsent.size) return;
        c.unsent = {};
        if (c.state == phase::closing) shutdown(c.fd, SHUT_WR);
        watch(EPOLL_CTL_MOD, c.fd, EPOLLIN, &c);
    }

    int epoll_;
    int listener_;
    std::array<std::uint8_t, shared_size + close_frame_size> shared_{};
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"The bare epoll WebSocket echo that other servers are measured against"};
    std::uint16_t port = 0;
    app.add_option("--port", port, "port on 127.0.0.1; 0 lets the system choose")->required();
    CLI11_PARSE(app, argc, argv);
    // the memory of a large frame is wanted again soon: do not give it back to the system
    for (const int threshold : {M_MMAP_THRESHOLD, M_TRIM_THRESHOLD}) mallopt(threshold, 32 * 1024 * 1024);
    try {
        rlimit files{};
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        std::make_unique<loop>(port)->run();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bare_loop: %s\n", e.what());
        return 1;
    }
}
