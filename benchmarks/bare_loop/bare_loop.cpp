// The reference that every other server is measured against: a WebSocket echo (RFC 6455) that is nothing but a
// level-triggered epoll loop on one thread. All connections share one read buffer; frames are parsed in it, and
// unmasking moves each payload to its place behind the reply header, so that all replies of one read leave in one
// write and nothing is copied. An idle connection owns no buffer. It checks what it has to in order to find the frames,
// and neither UTF-8 nor the order of fragments. With a certificate the same loop reads and writes through OpenSSL.
#include "channel.hpp"
#include "epoll_server.hpp"
#include "frames.hpp"
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace bare {

namespace {

constexpr std::size_t shared_size = 256 * 1024;

enum class phase : std::uint8_t { handshake, open, closing };

template <class Channel>
struct connection {
    Channel channel;
    phase state = phase::handshake;
    std::size_t wanted = 0;  ///< Size of the frame whose start is in `kept`; 0: its header is not whole yet.
    byte_buffer kept{};      ///< The start of a request or a frame that has not arrived whole.
    byte_buffer unsent{};    ///< Replies that the socket did not take. Nothing is read while there are any.
    std::size_t sent = 0;    ///< How much of `unsent` has left since.
};

template <class Channel>
class echo_server : public epoll_server<echo_server<Channel>, connection<Channel>> {
    using client = connection<Channel>;
    using base = epoll_server<echo_server, client>;

public:
    echo_server(std::uint16_t port, typename Channel::settings& s) : base{port}, settings_{s} {}

    void on_accept(int fd) {
        auto* const c = new client{Channel{fd, settings_}};
        this->watch(fd, *c);
    }
    void on_event(client& c) {
        if (c.unsent.size > 0 && !write_unsent(c)) return;
        do {
            if (!read_once(c)) return;
        } while (c.unsent.size == 0 && c.channel.has_more());
    }

private:
    static bool drop(client& c) {
        const int fd = c.channel.fd();
        delete &c;
        ::close(fd);  // takes it out of the epoll set, too
        return false;
    }

    /// False if there is nothing more to read now, or the connection is no more.
    bool read_once(client& c) {
        // A frame that fits into the shared buffer is completed there; a larger one is read into memory of its own,
        // which grows with what has arrived and takes no byte more than the frame.
        const bool own = c.wanted > shared_size;
        if (own && (c.kept.size == c.kept.capacity || c.kept.capacity < shared_size))
            c.kept.reserve(std::min(c.wanted, std::max(2 * c.kept.size, shared_size)));
        const std::size_t room = own ? c.kept.capacity : shared_size;
        std::uint8_t* const begin = own ? c.kept.data.get() : shared_.data();
        const std::size_t had = c.kept.size;
        if (!own && had > 0) std::memcpy(begin, c.kept.data.get(), had);
        const ssize_t got = c.channel.read(begin + had, room - had);
        if (got == would_block) return false;
        if (got == ended) return drop(c);
        if (c.state == phase::closing) return true;  // only waiting for the peer to close
        const std::uint8_t* const end = begin + had + got;
        if (own && (c.kept.size += static_cast<std::size_t>(got)) < c.wanted) return true;

        std::uint8_t* frames = begin;
        if (c.state == phase::handshake) {
            const std::string_view head{reinterpret_cast<const char*>(begin), static_cast<std::size_t>(end - begin)};
            const std::size_t blank = head.find("\r\n\r\n");
            if (blank == std::string_view::npos) {
                if (head.size() >= max_request_head) return drop(c);
                c.kept.assign(begin, head.size());
                return true;
            }
            const std::string answer = handshake_answer(head.substr(0, blank + 2));
            if (answer.empty()) return drop(c);
            if (c.channel.write(reinterpret_cast<const std::uint8_t*>(answer.data()), answer.size()) <= 0)
                return drop(c);
            c.state = phase::open;
            frames += blank + 4;
        }
        return reply(c, frames, end);
    }

    bool reply(client& c, std::uint8_t* frames, const std::uint8_t* end) {
        const echoed result = echo_frames(frames, end);
        c.wanted = result.wanted;
        if (result.closing) c.state = phase::closing;
        const auto size = static_cast<std::size_t>(result.replies_end - frames);
        std::size_t left = size;
        if (size > 0) {
            const ssize_t sent = c.channel.write(frames, size);
            if (sent == ended) return drop(c);
            left -= static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
        }
        if (left > 0) {
            c.unsent.assign(result.replies_end - left, left);
            c.sent = 0;
            this->wait_for(EPOLLOUT, c.channel.fd(), c);
        }
        if (result.rest == end || result.closing) {
            c.kept = {};
            if (result.closing && left == 0) c.channel.end_writing();
        } else {
            c.kept.assign(result.rest, static_cast<std::size_t>(end - result.rest));
        }
        return true;
    }

    /// Whether all has left.
    bool write_unsent(client& c) {
        const ssize_t sent = c.channel.write(c.unsent.data.get() + c.sent, c.unsent.size - c.sent);
        if (sent == would_block) return false;
        if (sent == ended) return drop(c);
        c.sent += static_cast<std::size_t>(sent);
        if (c.sent < c.unsent.size) return false;
        c.unsent = {};
        if (c.state == phase::closing) c.channel.end_writing();
        this->wait_for(EPOLLIN, c.channel.fd(), c);
        return c.channel.has_more();
    }

    typename Channel::settings& settings_;
    std::array<std::uint8_t, shared_size + close_frame_size> shared_{};
};

template <class Channel>
void serve(std::uint16_t port, typename Channel::settings settings) {
    std::make_unique<echo_server<Channel>>(port, settings)->run();
}

}  // namespace

}  // namespace bare

int main(int argc, char** argv) {
    CLI::App app{"bare_loop: the WebSocket echo that other servers are measured against"};
    std::uint16_t port = 0;
    std::string certificate;
    std::string key;
    app.add_option("--port", port, "port on 127.0.0.1; 0 lets the system choose")->required();
    auto* with_certificate =
        app.add_option("--tls-cert", certificate, "PEM file of a certificate and its chain: wss instead of ws");
    auto* with_key = app.add_option("--tls-key", key, "PEM file of its private key");
    with_certificate->needs(with_key);
    with_key->needs(with_certificate);
    CLI11_PARSE(app, argc, argv);
    try {
        bare::prepare_process();
        if (certificate.empty())
            bare::serve<bare::plain_channel>(port, {});
        else
            bare::serve<bare::tls_channel>(port, {certificate, key});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bare_loop: %s\n", e.what());
        return 1;
    }
}
