#include <kephas/base/error.hpp>

#include <kephas/net/socket_address.hpp>

#include <cstring>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace kephas {

static_assert(socket_address::capacity >= sizeof(sockaddr_un) && socket_address::capacity >= sizeof(sockaddr_in6));

socket_address::socket_address(const sockaddr* from, std::size_t size) {
    if (size > capacity) throw error{errc::invalid_address, "an address of a socket that is too long"};
    std::memcpy(storage_.data(), from, size);
    size_ = static_cast<std::uint32_t>(size);
}

socket_address socket_address::of_unix(const std::string& path) {
    sockaddr_un name{};
    if (path.empty() || path.size() >= sizeof(name.sun_path)) {
        throw error{errc::invalid_address, "\"" + path + "\": the path of a Unix socket has 1 to 107 bytes"};
    }
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    std::size_t size = offsetof(sockaddr_un, sun_path) + path.size();
    if (path.starts_with('@')) name.sun_path[0] = '\0';
    else ++size;  // with the NUL behind it, which would be a part of the other kind of name
    return {reinterpret_cast<const sockaddr*>(&name), size};
}

bool socket_address::empty() const noexcept { return size_ <= sizeof(sa_family_t); }

int socket_address::family() const noexcept {
    sa_family_t family = AF_UNSPEC;
    if (size_ >= sizeof(family)) std::memcpy(&family, storage_.data(), sizeof(family));
    return family;
}

std::span<const std::byte> socket_address::way_back() const noexcept {
    return std::span{storage_}.subspan(way_back_offset, way_back_size_);
}

void socket_address::set_way_back(std::span<const std::byte> control) noexcept {
    static_assert(way_back_offset >= sizeof(sockaddr_in6) && way_back_offset + way_back_capacity <= capacity);
    static_assert(way_back_offset % alignof(cmsghdr) == 0);
    way_back_size_ = 0;
    if (size_ > way_back_offset || control.empty() || control.size() > way_back_capacity) return;
    std::memcpy(storage_.data() + way_back_offset, control.data(), control.size());
    way_back_size_ = static_cast<std::uint32_t>(control.size());
}

std::size_t socket_address::hash() const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(storage_.data()), size_});
}

bool socket_address::operator==(const socket_address& other) const noexcept {
    return size_ == other.size_ && std::memcmp(storage_.data(), other.storage_.data(), size_) == 0;
}

std::string to_string(const socket_address& end) { return end.empty() ? std::string{} : to_string(end.data(), end.size()); }

}  // namespace kephas
