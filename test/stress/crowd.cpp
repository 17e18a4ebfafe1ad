#include "crowd.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace stress {

namespace {

constexpr std::size_t clients_per_address = 2'000;
constexpr std::size_t most_opening = 1'000;  // below the system's usual limit for connections that nobody accepted yet
constexpr int patience_ms = 10'000;
constexpr unsigned close_opcode = 8;
constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";          // RFC 6455 1.3
constexpr std::string_view accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";  // the answer to it
constexpr std::uint32_t welcome_command = 0x0001;
constexpr std::uint32_t broadcast_command = 0x0201;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void fail_with_errno(const char* what) {
    throw std::system_error{errno, std::generic_category(), what};
}

[[noreturn]] void fault(std::size_t index, const std::string& what) {
    throw std::runtime_error{"client " + std::to_string(index) + ": " + what};
}

std::uint32_t load32(const char* from) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<unsigned char>(from[i]);
    return value;
}

}  // namespace

struct crowd::member {
    enum class state : std::uint8_t { connecting, opening, open, leaving, ended };

    std::size_t index = 0;
    int fd = -1;
    state where = state::connecting;
    bool blocked = false;  // the kernel took a part of `out`
    bool got_close = false;
    std::size_t broadcasts = 0;
    std::size_t sent = 0;        // of this exchange
    std::size_t next_reply = 0;  // the number of the earliest message without an answer
    std::vector<double> sent_at{};  // by number; negative: answered
    std::string in{};
    std::string out{};

    ~member() {
        if (fd >= 0) ::close(fd);
    }
};

crowd::crowd(std::uint16_t port) : port_{port}, epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
    if (epoll_ < 0) fail_with_errno("epoll_create1");
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
}

crowd::~crowd() {
    members_.clear();
    ::close(epoll_);
}

double crowd::join(std::size_t count) {
    const double begin = now();
    const std::size_t wanted = members_.size() + count;
    while (welcomed_ < wanted) {
        while (members_.size() < wanted && opening_ < most_opening) {
            members_.push_back(std::make_unique<member>());
            open(*members_.back());
        }
        turn();
    }
    return now() - begin;
}

exchange_result crowd::exchange(std::uint32_t command, std::size_t messages, std::size_t in_flight, bool ordered) {
    echo_command_ = command;
    messages_ = messages;
    ordered_ = ordered;
    answered_ = 0;
    latency_sum_ = 0;
    const double begin = now();
    for (const auto& each : members_) {
        each->sent = each->next_reply = 0;
        each->sent_at.assign(messages, 0);
        for (std::size_t i = 0; i < std::min(in_flight, messages); ++i) send_next(*each);
        flush(*each);
    }
    turn_until([&] { return answered_ == messages * members_.size(); });
    return {answered_, now() - begin, latency_sum_ / static_cast<double>(answered_) * 1000};
}

std::string crowd::ask(std::uint32_t command, std::string_view payload) {
    has_answer_ = false;
    echo_command_ = command;
    messages_ = 0;
    std::string message(4, '\0');
    for (std::size_t i = 0; i < 4; ++i) message[i] = static_cast<char>(command >> (24 - 8 * i));
    message += payload;
    send(*members_.front(), 2, message);
    flush(*members_.front());
    turn_until([&] { return has_answer_; });
    return answer_;
}

std::string crowd::broadcast(const std::string& text) {
    broadcast_ = text;
    broadcasts_ = 0;
    for (const auto& each : members_) each->broadcasts = 0;
    const std::string queued = ask(0x0200, text);
    turn_until([&] { return broadcasts_ == members_.size(); });
    (void)exchange(0x0102, 1, 1, true);
    return queued;
}

void crowd::leave(std::size_t staying) {
    ended_ = 0;
    const std::size_t leaving = members_.size() - staying;
    for (std::size_t i = staying; i < members_.size(); ++i) {
        member& m = *members_[i];
        m.where = member::state::leaving;
        send(m, close_opcode, {"\x03\xE8", 2});
        flush(m);
    }
    turn_until([&] { return ended_ == leaving; });
    for (std::size_t i = staying; i < members_.size(); ++i) {
        if (!members_[i]->got_close) fault(i, "its close frame was not answered");
    }
    members_.resize(staying);
    welcomed_ = staying;
}

void crowd::vanish(std::size_t staying) {
    for (std::size_t i = staying; i < members_.size(); ++i) {
        const linger reset{1, 0};
        ::setsockopt(members_[i]->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    members_.resize(staying);
    welcomed_ = staying;
}

void crowd::expect_close(std::uint16_t code) {
    close_code_ = code;
    ended_ = 0;
    turn_until([&] { return ended_ == members_.size(); });
    for (const auto& each : members_) {
        if (!each->got_close) fault(each->index, "the server ended the connection without a close frame");
    }
    members_.clear();
    welcomed_ = 0;
    close_code_ = 0;
}

void crowd::open(member& m) {
    m.index = members_.size() - 1;
    ++opening_;
    m.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m.fd < 0) fail_with_errno("socket");
    const int on = 1;
    ::setsockopt(m.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(m.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + static_cast<std::uint32_t>(m.index / clients_per_address));
    if (::bind(m.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail_with_errno("bind");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    if (::connect(m.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno != EINPROGRESS) {
        fail_with_errno("connect");
    }
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.ptr = &m;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, m.fd, &event) != 0) fail_with_errno("epoll_ctl");
}

void crowd::start_handshake(member& m) {
    int failure = 0;
    socklen_t size = sizeof(failure);
    ::getsockopt(m.fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure != 0) fault(m.index, std::string{"cannot connect: "} + std::strerror(failure));
    m.where = member::state::opening;
    m.blocked = true;  // so that flush() asks for input only
    m.out = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + std::string{key} + "\r\n\r\n";
    flush(m);
}

void crowd::turn() {
    std::array<epoll_event, 256> events;
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), patience_ms);
    if (count < 0 && errno != EINTR) fail_with_errno("epoll_wait");
    if (count == 0) {
        throw std::runtime_error{"nothing for ten seconds: " + std::to_string(welcomed_) + " clients joined, " +
                                 std::to_string(answered_) + " messages answered, " + std::to_string(broadcasts_) +
                                 " broadcasts received, " + std::to_string(ended_) + " clients left"};
    }
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        auto& m = *static_cast<member*>(event.data.ptr);
        if (m.where == member::state::connecting) {
            start_handshake(m);
            continue;
        }
        if ((event.events & ~std::uint32_t{EPOLLOUT}) != 0) receive(m);
        if (m.where != member::state::ended) flush(m);
    }
}

void crowd::turn_until(const std::function<bool()>& done) {
    while (!done()) turn();
}

void crowd::receive(member& m) {
    std::array<char, 64 * 1024> buffer;
    const ssize_t got = ::recv(m.fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) fault(m.index, std::string{"cannot read: "} + std::strerror(errno));
    if (got == 0) return ended(m);
    m.in.append(buffer.data(), static_cast<std::size_t>(got));
    if (m.where == member::state::opening) take_handshake(m);
    std::size_t used = 0;
    while (m.where != member::state::opening) {
        const std::string_view rest = std::string_view{m.in}.substr(used);
        if (rest.size() < 2) break;
        std::size_t head = 2;
        std::size_t size = static_cast<unsigned char>(rest[1]);
        if (size > 126) fault(m.index, "got a frame that is masked or larger than any that was sent");
        if (size == 126) {
            head = 4;
            if (rest.size() < head) break;
            size = static_cast<std::size_t>(static_cast<unsigned char>(rest[2])) << 8U | static_cast<unsigned char>(rest[3]);
        }
        if (rest.size() < head + size) break;
        const auto first = static_cast<unsigned char>(rest[0]);
        if ((first & 0xF0U) != 0x80) fault(m.index, "got a fragment, or reserved bits");
        take_frame(m, first & 0x0FU, rest.substr(head, size));
        used += head + size;
    }
    m.in.erase(0, used);
}

void crowd::take_handshake(member& m) {
    const std::size_t end = m.in.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::string_view head = std::string_view{m.in}.substr(0, end);
    if (!head.starts_with("HTTP/1.1 101 ") || head.find(accepted) == std::string_view::npos) {
        fault(m.index, "was not let in: " + std::string{head.substr(0, head.find('\r'))});
    }
    m.in.erase(0, end + 4);
    m.where = member::state::open;
}

void crowd::take_frame(member& m, unsigned opcode, std::string_view payload) {
    if (m.got_close) fault(m.index, "got a frame after a close frame");
    if (opcode == 2) {
        if (payload.size() < 4) fault(m.index, "got a message without a command");
        return take_message(m, load32(payload.data()), payload.substr(4));
    }
    if (opcode != close_opcode) fault(m.index, "got a frame with opcode " + std::to_string(opcode));
    m.got_close = true;
    const unsigned code = payload.size() < 2 ? 1005 : static_cast<unsigned>(static_cast<unsigned char>(payload[0])) << 8U |
                                                       static_cast<unsigned char>(payload[1]);
    if (m.where == member::state::leaving) {
        if (code != 1000) fault(m.index, "its close frame was answered with " + std::to_string(code));
        return;
    }
    if (code != close_code_) fault(m.index, "was closed with " + std::to_string(code));
    send(m, close_opcode, payload);
}

void crowd::take_message(member& m, std::uint32_t command, std::string_view body) {
    if (m.where == member::state::leaving) fault(m.index, "got a message that nobody asked for");
    if (command == welcome_command) {
        if (body != "welcome" || !m.sent_at.empty()) fault(m.index, "got a wrong welcome");
        ++welcomed_;
        --opening_;
    } else if (command == broadcast_command) {
        if (body != broadcast_) fault(m.index, "got a broadcast with another content");
        if (++m.broadcasts != 1) fault(m.index, "got a broadcast twice");
        ++broadcasts_;
    } else if (command != echo_command_) {
        fault(m.index, "got command " + std::to_string(command));
    } else if (messages_ > 0) {
        take_echo(m, body);
    } else {
        if (m.index != 0 || has_answer_) fault(m.index, "got an answer that nobody asked for");
        answer_ = body;
        has_answer_ = true;
    }
}

void crowd::take_echo(member& m, std::string_view body) {
    std::size_t number = messages_;
    (void)std::from_chars(body.data(), body.data() + body.size(), number);
    if (number >= m.sent || m.sent_at[number] < 0) fault(m.index, "got an echo that nobody asked for");
    if (ordered_ && number != m.next_reply) fault(m.index, "got an echo out of order");
    if (body != text_of(m, number)) fault(m.index, "got an echo with another content");
    latency_sum_ += now() - m.sent_at[number];
    m.sent_at[number] = -1;
    ++m.next_reply;
    ++answered_;
    if (m.sent < messages_) send_next(m);
}

// Differs by client, by message and in length: up to 600 bytes, most of them short.
std::string crowd::text_of(const member& m, std::size_t number) const {
    std::string text = std::to_string(number) + " of " + std::to_string(m.index) + ' ';
    const std::size_t mixed = (m.index * 31 + number * 7) % 97;
    text.append(mixed < 90 ? mixed : mixed * 6, static_cast<char>('a' + mixed % 26));
    return text;
}

void crowd::send(member& m, unsigned opcode, std::string_view payload) {
    m.out += static_cast<char>(0x80U | opcode);
    if (payload.size() < 126) {
        m.out += static_cast<char>(0x80U | payload.size());
    } else {
        m.out += static_cast<char>(0x80U | 126U);
        m.out += static_cast<char>(payload.size() >> 8U);
        m.out += static_cast<char>(payload.size() & 0xFFU);
    }
    const std::array<char, 4> mask{static_cast<char>(m.index), '\x5A', '\x17', static_cast<char>(m.sent)};
    m.out.append(mask.data(), mask.size());
    for (std::size_t i = 0; i < payload.size(); ++i) m.out += static_cast<char>(payload[i] ^ mask[i % 4]);
}

void crowd::send_next(member& m) {
    const std::size_t number = m.sent++;
    m.sent_at[number] = now();
    std::string message(4, '\0');
    for (std::size_t i = 0; i < 4; ++i) message[i] = static_cast<char>(echo_command_ >> (24 - 8 * i));
    send(m, 2, message + text_of(m, number));
}

void crowd::flush(member& m) {
    if (!m.out.empty()) {
        const ssize_t size = ::send(m.fd, m.out.data(), m.out.size(), MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN) fault(m.index, std::string{"cannot write: "} + std::strerror(errno));
        m.out.erase(0, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    }
    if (m.blocked == !m.out.empty()) return;
    m.blocked = !m.out.empty();
    epoll_event event{};
    event.events = m.blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &m;
    if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, m.fd, &event) != 0) fail_with_errno("epoll_ctl");
}

void crowd::ended(member& m) {
    if (!m.got_close) fault(m.index, "the stream ended without a close frame");
    m.where = member::state::ended;
    ::close(m.fd);
    m.fd = -1;
    ++ended_;
}

}  // namespace stress
