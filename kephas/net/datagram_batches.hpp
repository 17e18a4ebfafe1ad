#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/net/datagram_counters.hpp>
#include <kephas/net/datagram_view.hpp>
#include <kephas/net/socket_address.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

struct iovec;
struct mmsghdr;

namespace kephas {

/// Datagrams as recvmmsg(2) takes them, into one block of memory that is touched only where something comes.
class incoming_datagrams {
public:
    /// `with_way_back`: for a socket with which `way_back::ask_for` was true.
    incoming_datagrams(std::size_t count, std::size_t max_size, bool with_way_back);
    incoming_datagrams(const incoming_datagrams&) = delete;
    incoming_datagrams& operator=(const incoming_datagrams&) = delete;
    ~incoming_datagrams();

    /// What has arrived, in place of what was there; nothing, with the reason, if nothing has (`would_block`).
    [[nodiscard]] std::span<const datagram_view> receive(int fd, datagram_counters& counters, std::error_code& ec) noexcept;
    [[nodiscard]] std::size_t capacity() const noexcept { return views_.size(); }
    /// Whether `bytes` lie in the block.
    [[nodiscard]] bool hold(bytes_view bytes) const noexcept;

private:
    std::size_t max_size_;
    std::size_t stride_;
    std::unique_ptr<std::byte[]> block_;
    std::unique_ptr<mmsghdr[]> headers_;
    std::unique_ptr<iovec[]> memory_;
    std::unique_ptr<std::byte[]> control_;  // of each datagram, or null
    std::vector<socket_address> senders_;
    std::vector<datagram_view> views_;
    std::size_t used_;  // headers that the last call has written to
};

/// Datagrams that wait for sendmmsg(2).
class outgoing_datagrams {
public:
    enum class outcome {
        done,         ///< None is left.
        socket_full,  ///< Wait until the socket can be written to.
        peers_full,   ///< Those that are left are for peers with a full queue, of which no event tells.
    };
    /// Told of each that could not be sent, and of its receiver.
    using failure_handler = std::function<void(std::error_code, const socket_address&)>;

    /// `copies`: bytes for what must be copied. `with_way_back`: what a receiver knows of that is used.
    outgoing_datagrams(std::size_t count, std::size_t copies, bool with_way_back);
    outgoing_datagrams(const outgoing_datagrams&) = delete;
    outgoing_datagrams& operator=(const outgoing_datagrams&) = delete;
    ~outgoing_datagrams();

    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
    /// Behind the others; to nobody for a socket that is connected. False if there is no room. Lifetime: without `copy` the
    /// bytes stay until it is sent.
    [[nodiscard]] bool add(bytes_view bytes, const socket_address& to, bool copy) noexcept;
    /// Sends what the system takes at once. What it will never take is counted and told. In order for each peer.
    /// `by_peer`: that nothing can be sent says something about that peer only.
    [[nodiscard]] outcome send(int fd, bool by_peer, datagram_counters& counters, const failure_handler& failed);
    /// Gives up those that are left.
    void drop(std::error_code why, datagram_counters& counters, const failure_handler& failed);

private:
    [[nodiscard]] bytes_view payload(std::size_t i) const noexcept;
    [[nodiscard]] const socket_address& receiver(std::size_t i) const noexcept;
    [[nodiscard]] std::size_t send_some(int fd, std::size_t i, std::size_t most, datagram_counters& counters, std::error_code& ec) noexcept;
    [[nodiscard]] bool waits_for(std::size_t i, std::size_t kept) const noexcept;
    void count(std::size_t i, std::error_code why, datagram_counters& counters, const failure_handler& failed);

    std::size_t capacity_;
    std::size_t copies_;
    bool with_way_back_;
    std::unique_ptr<std::byte[]> arena_;
    std::size_t arena_used_ = 0;
    std::unique_ptr<mmsghdr[]> headers_;  // each with a place of its own in the next two, in whatever order
    std::unique_ptr<iovec[]> memory_;
    std::vector<socket_address> receivers_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace kephas
