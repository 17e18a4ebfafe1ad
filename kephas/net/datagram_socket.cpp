#include <kephas/base/error.hpp>

#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/error_codes.hpp>
#include <kephas/net/resolve.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/way_back.hpp>

#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace kephas {

namespace {

constexpr std::size_t max_udp4 = 65'507;  // 65,535 less the headers of IP and UDP
constexpr std::size_t max_udp6 = 65'527;
constexpr std::size_t least_copies = 64 * 1024;
constexpr std::size_t burst = 10;  // by default the queue of a Unix socket was full (net.unix.max_dgram_qlen)
constexpr int looks = 32;          // for what comes behind it
constexpr unsigned max_turns = 8;  // then others of this thread get theirs
constexpr int impatience = 50;     // times the patience

[[noreturn]] void fail(const std::error_code& ec) { throw error{unified(ec)}; }

using name_call = int (*)(int, sockaddr*, socklen_t*);

socket_address name_of(int fd, name_call get) {
    socket_address end;
    socklen_t size = socket_address::capacity;
    if (get(fd, end.data(), &size) == 0) end.resize(size);
    return end;
}

void set_buffer(int fd, int option, std::size_t bytes) {
    if (bytes == 0) return;
    const int value = static_cast<int>(std::min<std::size_t>(bytes, 1U << 30));
    (void)::setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value));  // the system takes what it allows
}

/// What a Unix socket with the send buffer that this one has can send.
std::size_t send_buffer_of(int fd) {
    int bytes = 0;
    socklen_t size = sizeof(bytes);
    if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size) != 0 || bytes <= 0) return max_udp4;
    return static_cast<std::size_t>(bytes);
}

asio::generic::datagram_protocol::socket bind(const asio::any_io_executor& executor, const address& where,
                                              const unix_socket_access& access, unix_socket_file& file) {
    const std::string text = to_string(where);
    if (!is_datagram(where.kind)) throw error{errc::invalid_address, "\"" + text + "\": not a kind of datagrams"};
    if (where.tls) throw error{errc::invalid_address, "\"" + text + "\": there is no TLS for datagrams"};
    return bind_at(where, [&](const socket_address& end, bool only_v6) {
        const auto check = [&](const std::error_code& ec) {
            if (ec == asio::error::address_in_use) throw error{errc::address_in_use, text};
            if (ec) throw error{unified(ec), text};
        };
        asio::generic::datagram_protocol::socket socket{executor};
        std::error_code ec;
        const int transport = is_unix(where.kind) ? 0 : IPPROTO_UDP;
        owned_fd made = socket_calls::make_socket(end.family(), SOCK_DGRAM, transport, ec);
        check(ec);
        socket.assign({end.family(), transport}, made.get(), ec);
        check(ec);
        (void)made.release();
        if (is_unix(where.kind)) {
            file = unix_socket_file{socket.native_handle(), where.path, access};
            return socket;
        }
        const int v6_only = only_v6 ? 1 : 0;
        if (end.family() == AF_INET6) {
            (void)::setsockopt(socket.native_handle(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
        }
        socket.bind({end.data(), end.size(), transport}, ec);
        check(ec);
        return socket;
    });
}

}  // namespace

/// The turn of one coroutine: whoever waits for room waits alone.
class datagram_socket::sending {
public:
    explicit sending(datagram_socket& owner) noexcept : owner_{owner} { owner_.sending_ = true; }
    sending(const sending&) = delete;
    sending& operator=(const sending&) = delete;
    ~sending() {
        owner_.sending_ = false;
        if (!owner_.behind_sending_.suspended()) return;
        try {
            asio::post(owner_.socket_.get_executor(), [self = owner_.self_] {
                if (*self != nullptr && (*self)->behind_sending_.suspended()) (*self)->behind_sending_.resume();
            });
        } catch (...) {  // no memory: now, then
            owner_.behind_sending_.resume();
        }
    }

private:
    datagram_socket& owner_;
};

void datagram_socket_options::validate() const {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::invalid_argument{what};
    };
    require(batch > 0 && batch <= 1024, "batch is not 1 to 1,024");
    require(max_size <= 64U * 1024 * 1024, "max_size is more than 64 MiB: no datagram is");
    require(send_patience >= duration::zero(), "send_patience is negative");
    require(send_patience <= std::chrono::minutes{1}, "send_patience is more than a minute");
}

datagram_socket::datagram_socket(const asio::any_io_executor& executor, const address& where, datagram_socket_options options,
                                 const unix_socket_access& access)
    : socket_{executor}, options_{std::move(options)}, deadline_{executor}, pause_{executor} {
    options_.validate();
    socket_ = bind(executor, where, access, file_);
    start();
}

datagram_socket::datagram_socket(protocol::socket socket, datagram_socket_options options)
    : socket_{std::move(socket)},
      options_{std::move(options)},
      deadline_{socket_.get_executor()},
      pause_{socket_.get_executor()} {
    options_.validate();
    remote_ = name_of(fd(), ::getpeername);
    start();
}

void datagram_socket::start() {
    socket_.non_blocking(true);
    set_buffer(fd(), SO_RCVBUF, options_.receive_buffer);
    set_buffer(fd(), SO_SNDBUF, options_.send_buffer);
    local_ = name_of(fd(), ::getsockname);
    const bool local = local_.family() == AF_UNIX;
    max_size_ = options_.max_size;
    if (max_size_ == 0) max_size_ = local ? send_buffer_of(fd()) : max_udp4;
    copies_ = std::max(max_size_, least_copies);
    const bool everywhere = way_back::ask_for(fd(), local_);
    in_.emplace(options_.batch, max_size_, everywhere);
    out_.emplace(options_.batch, copies_, everywhere);
    drained_ = false;
    self_ = std::make_shared<datagram_socket*>(this);
}

datagram_socket::~datagram_socket() {
    if (self_) *self_ = nullptr;
    std::error_code ignored;
    socket_.close(ignored);
}

void datagram_socket::close() {
    if (!std::exchange(open_, false)) return;
    std::error_code ignored;
    socket_.close(ignored);  // ends the waits
    pause_.cancel();
    deadline_.cancel();
    file_.remove();
    out_->drop(std::make_error_code(std::errc::operation_canceled), counters_, options_.on_send_error);
    // Whoever waits for something else than the socket goes on later, and not inside this call.
    if (!behind_sending_.suspended() && !writer_.suspended() && !reader_.suspended()) return;
    asio::post(socket_.get_executor(), [self = self_] {
        for (resumer datagram_socket::*who :
             {&datagram_socket::reader_, &datagram_socket::writer_, &datagram_socket::behind_sending_}) {
            if (*self != nullptr && ((*self)->*who).suspended()) ((*self)->*who).resume(asio::error::operation_aborted);
        }
    });
}

void datagram_socket::stop_receiving() {
    stopped_ = true;
    if (!reader_.suspended()) return;
    asio::post(socket_.get_executor(), [self = self_] {
        if (*self != nullptr && (*self)->reader_.suspended()) (*self)->reader_.resume();
    });
}

asio::awaitable<std::optional<datagram_view>> datagram_socket::receive(time_point deadline) {
    if (ready_.empty()) co_await take(deadline);
    if (ready_.empty()) co_return std::nullopt;
    const datagram_view& first = ready_.front();
    ready_ = ready_.subspan(1);
    co_return first;
}

asio::awaitable<std::span<const datagram_view>> datagram_socket::receive_batch(time_point deadline) {
    if (ready_.empty()) co_await take(deadline);
    co_return std::exchange(ready_, {});
}

/// A Unix socket queues ten datagrams. Whoever sends many of them sleeps when that is full, and waking each other takes both as long
/// as thirty. So before this side goes to sleep it looks for some 10 us whether the other one has woken up: more of them pass, for
/// less CPU each (docs/design/datagrams.md).
std::span<const datagram_view> datagram_socket::receive_now(std::error_code& ec) {
    auto found = in_->receive(fd(), counters_, ec);
    for (int i = 0; i < looks && in_burst_ && ec == asio::error::would_block; ++i) {
        ec.clear();
        found = in_->receive(fd(), counters_, ec);
    }
    in_burst_ = local_.family() == AF_UNIX && found.size() >= burst;
    drained_ = !in_burst_ && found.size() < in_->capacity();
    return found;
}

asio::awaitable<void> datagram_socket::take(time_point deadline) {
    if (turns_ >= max_turns) {
        turns_ = 0;
        co_await asio::post(socket_.get_executor(), asio::use_awaitable);
    }
    for (;;) {
        // What is queued may lie where the next datagrams will.
        if (!out_->empty()) co_await flush();
        if (!open_) fail(asio::error::operation_aborted);
        if (stopped_) co_return;
        if (!drained_) {
            std::error_code ec;
            ready_ = receive_now(ec);
            if (!ready_.empty()) {
                ++turns_;
                co_return;
            }
            if (ec != asio::error::would_block) {
                drained_ = false;  // it was an error of the socket, not of what waits behind it
                fail(ec);
            }
        }
        co_await wait_readable(deadline);
        drained_ = false;
    }
}

asio::awaitable<void> datagram_socket::wait_readable(time_point deadline) {
    turns_ = 0;
    // A wait that was cancelled, or has timed out, is under way still.
    if (!read_armed_) {
        socket_.async_wait(protocol::socket::wait_read, [self = self_](std::error_code /*receiving tells*/) {
            if (*self == nullptr) return;
            (*self)->read_armed_ = false;
            (*self)->drained_ = false;
            if ((*self)->reader_.suspended()) (*self)->reader_.resume();
        });
        read_armed_ = true;
    }
    const bool limited = deadline != time_point::max();
    ++waits_;
    if (limited) {
        deadline_.expires_at(deadline);
        // Once it has expired it cannot be cancelled any more: then it may come to a later wait, which it does not concern.
        deadline_.async_wait([self = self_, mine = waits_](std::error_code ec) {
            if (ec || *self == nullptr || (*self)->waits_ != mine) return;
            if ((*self)->reader_.suspended()) (*self)->reader_.resume(errc::timed_out);
        });
    }
    std::error_code ec;
    co_await reader_.suspend(ec);
    if (limited) deadline_.cancel();
    if (ec) fail(ec);
}

asio::awaitable<void> datagram_socket::wait_writable() {
    socket_.async_wait(protocol::socket::wait_write, [self = self_](std::error_code /*sending tells*/) {
        if (*self != nullptr && (*self)->writer_.suspended()) (*self)->writer_.resume();
    });
    std::error_code ec;
    co_await writer_.suspend(ec);
    if (ec) fail(ec);
}

asio::awaitable<void> datagram_socket::pause(duration time) {
    pause_.expires_after(time);
    pause_.async_wait([self = self_](std::error_code ec) {
        if (!ec && *self != nullptr && (*self)->writer_.suspended()) (*self)->writer_.resume();
    });
    std::error_code ec;
    co_await writer_.suspend(ec);
    if (ec) fail(ec);
}

/// What was to be sent will not be.
void datagram_socket::refuse(const std::error_code& why) {
    counters_.note_unsent(why);
    fail(why);
}

/// Throws if nothing as large can be sent.
void datagram_socket::check_size(std::size_t size, bool copied) {
    std::size_t most = copied ? copies_ : static_cast<std::size_t>(-1);
    if (local_.family() == AF_INET) most = std::min(most, max_udp4);
    if (local_.family() == AF_INET6) most = std::min(most, max_udp6);
    if (size > most) refuse(std::make_error_code(std::errc::message_size));
}

bool datagram_socket::queue(bytes_view bytes, const socket_address& to) {
    if (!open_) refuse(asio::error::operation_aborted);
    // While somebody receives, nothing that was received is there any more.
    const bool copy = reader_.suspended() || !in_->hold(bytes);
    check_size(bytes.size(), copy);
    return out_->add(bytes, to, copy);
}

bool datagram_socket::try_send(bytes_view bytes, const socket_address& to) {
    if (to.empty()) {
        const auto why = std::make_error_code(std::errc::destination_address_required);
        counters_.note_unsent(why);
        throw error{why, "the sender has no name"};
    }
    return queue(bytes, to);
}

bool datagram_socket::try_send(bytes_view bytes) {
    if (!is_connected()) refuse(std::make_error_code(std::errc::not_connected));
    return queue(bytes, {});
}

asio::awaitable<void> datagram_socket::send(bytes_view bytes, const socket_address& to) {
    while (!try_send(bytes, to)) {
        try {
            co_await flush();
        } catch (const error& failure) {  // it was closed or cancelled
            refuse(failure.code());
        }
    }
    if (reader_.suspended()) co_await flush();
}

asio::awaitable<void> datagram_socket::wait_for_turn() {
    while (sending_) {
        std::error_code ec;
        co_await behind_sending_.suspend(ec);
        if (ec) fail(ec);
    }
}

asio::awaitable<void> datagram_socket::flush() {
    if (sending_) co_await wait_for_turn();
    if (out_->empty()) co_return;
    const sending turn{*this};
    co_await flush_queued();
}

asio::awaitable<void> datagram_socket::flush_queued() {
    using std::chrono::microseconds;
    // Of a Unix peer's full queue nothing tells when it has room again, unless the socket is connected to it.
    const bool by_peer = local_.family() == AF_UNIX && !is_connected();
    duration step = microseconds{20};
    std::optional<time_point> begin;
    for (;;) {
        if (!open_) fail(asio::error::operation_aborted);
        const auto outcome = out_->send(fd(), by_peer, counters_, options_.on_send_error);
        if (outcome == outgoing_datagrams::outcome::done) co_return;
        if (outcome == outgoing_datagrams::outcome::socket_full) {
            co_await wait_writable();
            continue;
        }
        const time_point now = clock::now();
        if (!begin) begin = now;
        if (now < no_patience_until_ || now - *begin >= options_.send_patience) {
            if (now >= no_patience_until_) no_patience_until_ = now + impatience * options_.send_patience;
            out_->drop(std::make_error_code(std::errc::no_buffer_space), counters_, options_.on_send_error);
            co_return;
        }
        co_await pause(step);
        step = std::min<duration>(step * 2, microseconds{1000});
    }
}

asio::awaitable<void> datagram_socket::send(bytes_view bytes) {
    if (!is_connected()) refuse(std::make_error_code(std::errc::not_connected));
    check_size(bytes.size(), false);
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};  // sendmsg does not write to it
    mmsghdr message{};
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
    try {
        if (sending_) co_await wait_for_turn();
        const sending turn{*this};
        if (!out_->empty()) co_await flush_queued();  // in order
        for (;;) {
            if (!open_) fail(asio::error::operation_aborted);
            std::error_code ec;
            if (socket_calls::send_many(fd(), &message, 1, ec) > 0) break;
            if (ec != asio::error::would_block) fail(ec);
            co_await wait_writable();
        }
    } catch (const error& failure) {
        refuse(failure.code());
    }
    ++counters_.sent;
    ++counters_.send_calls;
    counters_.bytes_sent += bytes.size();
}

std::uint64_t datagram_socket::overflows() const noexcept {
    std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
    socklen_t size = sizeof(info);
    if (fd() < 0 || ::getsockopt(fd(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) return 0;
    return info[SK_MEMINFO_DROPS];
}

}  // namespace kephas
