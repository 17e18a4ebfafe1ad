// The reference for broadcasts: one buffer, sent to everybody. What any connection sends goes to all others, as the
// same bytes in an unmasked frame and with one send() for each of them: no list of members to copy, no queue, no lock.
// What a socket does not take waits for it in memory of its own, without a limit for those who never read. Frames have
// to fit the buffer for reading.
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
#include <vector>

namespace bare {

namespace {

constexpr std::size_t shared_size = 256 * 1024;

struct connection {
    plain_channel channel;
    std::size_t index;  ///< Among all connections.
    bool open = false;  ///< After the handshake.
    bool closing = false;
    byte_buffer kept{};    ///< The start of a request or a frame that has not arrived whole.
    byte_buffer unsent{};  ///< What the socket did not take.
};

class send_server : public epoll_server<send_server, connection> {
public:
    explicit send_server(std::uint16_t port) : epoll_server{port} {}

    void on_accept(int fd) {
        plain_channel::settings none;
        auto* const c = new connection{plain_channel{fd, none}, all_.size()};
        all_.push_back(c);
        watch(fd, *c);
    }
    void on_event(connection& c) {
        if (c.unsent.size > 0) write_unsent(c);
        if (c.kept.size > 0) std::memcpy(shared_.data(), c.kept.data.get(), c.kept.size);
        const ssize_t got = c.channel.read(shared_.data() + c.kept.size, shared_size - c.kept.size);
        if (got == would_block) return;
        if (got == ended) return drop(c);
        if (c.closing) return;
        std::uint8_t* const end = shared_.data() + c.kept.size + got;
        const std::uint8_t* rest = c.open ? on_frames(c, shared_.data(), end) : on_request(c, end);
        if (rest == nullptr) return drop(c);
        c.kept.assign(rest, static_cast<std::size_t>(end - rest));
        if (c.kept.size == 0) c.kept = {};
    }

private:
    void drop(connection& c) {
        all_[c.index] = all_.back();
        all_[c.index]->index = c.index;
        all_.pop_back();
        ::close(c.channel.fd());
        delete &c;
    }

    /// What is left of the input, or null.
    const std::uint8_t* on_request(connection& c, std::uint8_t* end) {
        const std::string_view head{reinterpret_cast<const char*>(shared_.data()),
                                    static_cast<std::size_t>(end - shared_.data())};
        const std::size_t blank = head.find("\r\n\r\n");
        if (blank == std::string_view::npos) return head.size() < max_request_head ? shared_.data() : nullptr;
        const std::string answer = handshake_answer(head.substr(0, blank + 2));
        if (answer.empty()) return nullptr;
        send_to(c, reinterpret_cast<const std::uint8_t*>(answer.data()), answer.size());
        c.open = true;
        return on_frames(c, shared_.data() + blank + 4, end);
    }

    /// Messages go to the others, with those that came behind them in the same read; pongs and close frames go back.
    const std::uint8_t* on_frames(connection& c, std::uint8_t* in, const std::uint8_t* end) {
        std::uint8_t* const first = in;
        std::uint8_t* out = first;
        std::array<std::uint8_t, 2 + 125> answer;
        while (!c.closing) {
            const frame_header h = parse_header(in, static_cast<std::size_t>(end - in));
            if (h.size == 0) break;
            const bool control = h.opcode() >= 8;
            const bool too_big = h.objection == 0 && h.size + h.length > shared_size;
            if (h.objection != 0 || too_big) {
                const std::uint16_t code = too_big ? 1009 : h.objection;
                send_to(c, answer.data(), static_cast<std::size_t>(put_close(answer.data(), code) - answer.data()));
                c.closing = true;
                break;
            }
            if (static_cast<std::size_t>(end - in) < h.size + h.length) break;
            in += h.size;
            if (control && h.opcode() != 10) {
                std::uint8_t* const payload =
                    put_header(answer.data(), h.opcode() == 9 ? std::uint8_t{0x8A} : h.first, h.length);
                unmask(payload, in, h.length, h.key);
                send_to(c, answer.data(), static_cast<std::size_t>(payload - answer.data()) + h.length);
                c.closing = h.opcode() == 8;
            } else if (!control) {
                out = put_header(out, h.first, h.length);
                unmask(out, in, h.length, h.key);
                out += h.length;
            }
            in += h.length;
        }
        if (c.closing && c.unsent.size == 0) c.channel.end_writing();
        if (out != first) broadcast(c, first, static_cast<std::size_t>(out - first));
        return c.closing ? end : in;
    }

    void broadcast(const connection& from, const std::uint8_t* bytes, std::size_t size) {
        for (connection* const each : all_)
            if (each != &from && each->open && !each->closing) send_to(*each, bytes, size);
    }

    /// A socket that has ended is dropped when its turn comes: epoll announces it.
    void send_to(connection& c, const std::uint8_t* bytes, std::size_t size) {
        std::size_t left = size;
        if (c.unsent.size == 0) {
            const ssize_t sent = c.channel.write(bytes, size);
            if (sent == ended) return;
            left -= static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
            if (left == 0) return;
            wait_for(EPOLLIN | EPOLLOUT, c.channel.fd(), c);
        }
        const std::size_t needed = c.unsent.size + left;
        if (needed > c.unsent.capacity) c.unsent.reserve(2 * needed);
        std::memcpy(c.unsent.data.get() + c.unsent.size, bytes + (size - left), left);
        c.unsent.size = needed;
    }

    void write_unsent(connection& c) {
        const ssize_t sent = c.channel.write(c.unsent.data.get(), c.unsent.size);
        if (sent <= 0) return;
        c.unsent.size -= static_cast<std::size_t>(sent);
        std::memmove(c.unsent.data.get(), c.unsent.data.get() + sent, c.unsent.size);
        if (c.unsent.size > 0) return;
        c.unsent = {};
        if (c.closing) c.channel.end_writing();
        wait_for(EPOLLIN, c.channel.fd(), c);
    }

    std::vector<connection*> all_;
    std::array<std::uint8_t, shared_size> shared_{};
};

}  // namespace

}  // namespace bare

int main(int argc, char** argv) {
    CLI::App app{"bare_send_loop: sends each message to all other connections; the reference for broadcasts"};
    std::uint16_t port = 0;
    app.add_option("--port", port, "port on 127.0.0.1; 0 lets the system choose")->required();
    CLI11_PARSE(app, argc, argv);
    try {
        bare::prepare_process();
        std::make_unique<bare::send_server>(port)->run();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "bare_send_loop: %s\n", e.what());
        return 1;
    }
}
