#include <kephas/net/datagram_batches.hpp>
#include <kephas/net/socket_calls.hpp>
#include <kephas/net/way_back.hpp>

#include <asio/error.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

namespace kephas {

incoming_datagrams::incoming_datagrams(std::size_t count, std::size_t max_size, bool with_way_back)
    : max_size_{max_size},
      stride_{(max_size + 63) / 64 * 64},
      block_{std::make_unique_for_overwrite<std::byte[]>(count * stride_)},
      headers_{std::make_unique<mmsghdr[]>(count)},
      memory_{std::make_unique<iovec[]>(count)},
      control_{with_way_back ? std::make_unique_for_overwrite<std::byte[]>(count * way_back::room) : nullptr},
      senders_(count),
      views_(count),
      used_{count} {
    for (std::size_t i = 0; i < count; ++i) {
        memory_[i] = {block_.get() + i * stride_, max_size_};
        headers_[i].msg_hdr.msg_iov = &memory_[i];
        headers_[i].msg_hdr.msg_iovlen = 1;
        headers_[i].msg_hdr.msg_name = senders_[i].data();
        if (control_) headers_[i].msg_hdr.msg_control = control_.get() + i * way_back::room;
        views_[i].from = &senders_[i];
    }
}

incoming_datagrams::~incoming_datagrams() = default;

std::span<const datagram_view> incoming_datagrams::receive(int fd, datagram_counters& counters, std::error_code& ec) noexcept {
    for (std::size_t i = 0; i < used_; ++i) {
        headers_[i].msg_hdr.msg_namelen = socket_address::capacity;
        if (control_) headers_[i].msg_hdr.msg_controllen = way_back::room;
    }
    used_ = socket_calls::receive_many(fd, headers_.get(), capacity(), ec);
    for (std::size_t i = 0; i < used_; ++i) {
        datagram_view& view = views_[i];
        view.full_size = headers_[i].msg_len;  // with MSG_TRUNC all of it, not only what found room
        view.bytes = {block_.get() + i * stride_, std::min(view.full_size, max_size_)};
        senders_[i].resize(headers_[i].msg_hdr.msg_namelen);
        if (control_) way_back::keep(headers_[i].msg_hdr, senders_[i]);
        counters.bytes_received += view.bytes.size();
        if (view.truncated()) ++counters.truncated;
    }
    counters.received += used_;
    if (used_ > 0) ++counters.receive_calls;
    return std::span{views_}.first(used_);
}

bool incoming_datagrams::hold(bytes_view bytes) const noexcept {
    const std::less_equal<const std::byte*> before{};
    return before(block_.get(), bytes.data()) && before(bytes.data() + bytes.size(), block_.get() + capacity() * stride_);
}

outgoing_datagrams::outgoing_datagrams(std::size_t count, std::size_t copies, bool with_way_back)
    : capacity_{count},
      copies_{copies},
      with_way_back_{with_way_back},
      arena_{std::make_unique_for_overwrite<std::byte[]>(copies)},
      headers_{std::make_unique<mmsghdr[]>(count)},
      memory_{std::make_unique<iovec[]>(count)},
      receivers_(count) {
    for (std::size_t i = 0; i < count; ++i) {
        headers_[i].msg_hdr.msg_iov = &memory_[i];
        headers_[i].msg_hdr.msg_iovlen = 1;
        headers_[i].msg_hdr.msg_name = receivers_[i].data();
    }
}

outgoing_datagrams::~outgoing_datagrams() = default;

bytes_view outgoing_datagrams::payload(std::size_t i) const noexcept {
    const iovec& part = *headers_[i].msg_hdr.msg_iov;
    return {static_cast<const std::byte*>(part.iov_base), part.iov_len};
}

const socket_address& outgoing_datagrams::receiver(std::size_t i) const noexcept {
    return receivers_[static_cast<std::size_t>(headers_[i].msg_hdr.msg_iov - memory_.get())];
}

bool outgoing_datagrams::add(bytes_view bytes, const socket_address& to, bool copy) noexcept {
    if (end_ == capacity_ || (copy && bytes.size() > copies_ - arena_used_)) return false;
    if (copy && !bytes.empty()) {
        std::byte* const place = arena_.get() + arena_used_;
        std::memcpy(place, bytes.data(), bytes.size());
        arena_used_ += bytes.size();
        bytes = {place, bytes.size()};
    }
    msghdr& header = headers_[end_].msg_hdr;
    const auto place = static_cast<std::size_t>(header.msg_iov - memory_.get());
    *header.msg_iov = {const_cast<std::byte*>(bytes.data()), bytes.size()};  // sendmmsg does not write to it
    receivers_[place] = to;
    header.msg_name = to.empty() ? nullptr : receivers_[place].data();
    header.msg_namelen = to.empty() ? 0 : static_cast<socklen_t>(to.size());
    const auto control = with_way_back_ ? receivers_[place].way_back() : std::span<const std::byte>{};
    header.msg_control = control.empty() ? nullptr : const_cast<std::byte*>(control.data());  // nor to this
    header.msg_controllen = control.size();
    ++end_;
    return true;
}

std::size_t outgoing_datagrams::send_some(int fd, std::size_t i, std::size_t most, datagram_counters& counters,
                                          std::error_code& ec) noexcept {
    const std::size_t sent = socket_calls::send_many(fd, &headers_[i], most, ec);
    for (std::size_t k = i; k < i + sent; ++k) counters.bytes_sent += payload(k).size();
    counters.sent += sent;
    if (sent > 0) ++counters.send_calls;
    return sent;
}

/// Whether one that waits, and was queued before it, is for the same peer.
bool outgoing_datagrams::waits_for(std::size_t i, std::size_t kept) const noexcept {
    for (std::size_t k = begin_; k < kept; ++k) {
        if (receiver(k) == receiver(i)) return true;
    }
    return false;
}

outgoing_datagrams::outcome outgoing_datagrams::send(int fd, bool by_peer, datagram_counters& counters,
                                                     const failure_handler& failed) {
    std::size_t kept = begin_;  // those from begin_ on wait for their peers
    for (std::size_t i = begin_; i < end_;) {
        std::error_code ec;
        const bool waits = kept > begin_ && waits_for(i, kept);
        const std::size_t sent = waits ? 0 : send_some(fd, i, kept > begin_ ? 1 : end_ - i, counters, ec);
        i += sent;
        if (sent > 0) continue;
        if (waits || ec == asio::error::would_block) {
            if (!by_peer) {
                begin_ = i;
                return outcome::socket_full;
            }
            std::swap(headers_[i++], headers_[kept++]);
            continue;
        }
        count(i++, ec, counters, failed);
    }
    end_ = kept;
    if (!empty()) return outcome::peers_full;
    begin_ = end_ = arena_used_ = 0;
    return outcome::done;
}

void outgoing_datagrams::drop(std::error_code why, datagram_counters& counters, const failure_handler& failed) {
    for (std::size_t i = begin_; i < end_; ++i) count(i, why, counters, failed);
    begin_ = end_ = arena_used_ = 0;
}

void outgoing_datagrams::count(std::size_t i, std::error_code why, datagram_counters& counters, const failure_handler& failed) {
    counters.note_unsent(why);
    if (!failed) return;
    try {
        failed(why, receiver(i));
    } catch (...) {  // as its documentation says
    }
}

}  // namespace kephas
