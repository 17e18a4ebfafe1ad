#include <kephas/net/socket_address.hpp>
#include <kephas/net/way_back.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas::way_back {

namespace {

static_assert(room >= CMSG_SPACE(sizeof(in_pktinfo)) + CMSG_SPACE(sizeof(in6_pktinfo)));
static_assert(socket_address::way_back_capacity >= CMSG_SPACE(sizeof(in6_pktinfo)));

template <class Info>
void set(socket_address& sender, int level, int type, const Info& info) noexcept {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(Info))> bytes{};
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof(Info));
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + CMSG_LEN(0), &info, sizeof(info));
    sender.set_way_back(bytes);
}

/// Of IPv4, whichever family the socket has. The system chooses the interface again, and by the address that it says to answer
/// from, which for a broadcast is another than the one that was asked.
void keep_v4(in_pktinfo info, socket_address& sender) noexcept {
    if (info.ipi_spec_dst.s_addr == htonl(INADDR_ANY)) return;
    info.ipi_ifindex = 0;
    info.ipi_addr.s_addr = 0;
    set(sender, IPPROTO_IP, IP_PKTINFO, info);
}

void keep_v6(in6_pktinfo info, socket_address& sender) noexcept {
    const in6_addr& at = info.ipi6_addr;
    if (IN6_IS_ADDR_UNSPECIFIED(&at) || IN6_IS_ADDR_MULTICAST(&at) || IN6_IS_ADDR_V4MAPPED(&at)) return;
    if (!IN6_IS_ADDR_LINKLOCAL(&at)) info.ipi6_ifindex = 0;
    set(sender, IPPROTO_IPV6, IPV6_PKTINFO, info);
}

}  // namespace

bool ask_for(int fd, const socket_address& bound) noexcept {
    const int on = 1;
    if (bound.family() == AF_INET) {
        sockaddr_in end{};
        std::memcpy(&end, bound.data(), sizeof(end));
        return end.sin_addr.s_addr == htonl(INADDR_ANY) && ::setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0;
    }
    if (bound.family() != AF_INET6) return false;
    sockaddr_in6 end{};
    std::memcpy(&end, bound.data(), sizeof(end));
    if (!IN6_IS_ADDR_UNSPECIFIED(&end.sin6_addr)) return false;
    (void)::setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));  // of IPv4 the other option knows less
    return ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) == 0;
}

void keep(const msghdr& received, socket_address& sender) noexcept {
    sender.set_way_back({});
    auto* const all = const_cast<msghdr*>(&received);  // CMSG_NXTHDR only reads
    for (cmsghdr* each = CMSG_FIRSTHDR(all); each != nullptr; each = CMSG_NXTHDR(all, each)) {
        if (each->cmsg_level == IPPROTO_IP && each->cmsg_type == IP_PKTINFO && each->cmsg_len >= CMSG_LEN(sizeof(in_pktinfo))) {
            in_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(each), sizeof(info));
            keep_v4(info, sender);
        } else if (each->cmsg_level == IPPROTO_IPV6 && each->cmsg_type == IPV6_PKTINFO && each->cmsg_len >= CMSG_LEN(sizeof(in6_pktinfo))) {
            in6_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(each), sizeof(info));
            keep_v6(info, sender);
        }
    }
}

}  // namespace kephas::way_back
