#include <kephas/base/error.hpp>

#include <kephas/net/owned_fd.hpp>
#include <kephas/net/unix_socket_file.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace kephas {

namespace {

[[noreturn]] void refuse(int failure, const std::string& path) {
    if (failure == EADDRINUSE) throw error{errc::address_in_use, path};
    throw error{{failure, std::system_category()}, path};
}

struct unix_name {
    sockaddr_un address{};
    socklen_t size = 0;

    explicit unix_name(const std::string& path) {
        if (path.size() >= sizeof(address.sun_path)) refuse(ENAMETOOLONG, path);
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
        if (path.starts_with('@')) {
            address.sun_path[0] = '\0';
            --size;  // the NUL behind it would be a part of the name
        }
    }
    [[nodiscard]] const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&address); }
};

/// A socket file that nobody listens on any more may be replaced; anything else that has its name may not.
bool is_stale(int fd, const std::string& path, const unix_name& name) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
    int type = SOCK_STREAM;
    socklen_t size = sizeof(type);
    (void)::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    const owned_fd probe{::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    return probe.get() >= 0 && ::connect(probe.get(), name.data(), name.size) != 0 && errno == ECONNREFUSED;
}

}  // namespace

unix_socket_file::unix_socket_file(int fd, const std::string& path, const unix_socket_access& access) {
    const unix_name name{path};
    if (path.starts_with('@')) {
        if (::bind(fd, name.data(), name.size) != 0) refuse(errno, path);
        return;
    }
    if (is_stale(fd, path, name)) (void)::unlink(path.c_str());
    // The file gets the mode of the socket less the umask. While it has the wrong group it is the owner's alone.
    (void)::fchmod(fd, access.group ? access.mode & S_IRWXU : access.mode);
    if (::bind(fd, name.data(), name.size) != 0) refuse(errno, path);

    // For this file and nothing else, in case that somebody has put a link in its place.
    const owned_fd file{::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    struct stat info{};
    if (file.get() < 0 || ::fstat(file.get(), &info) != 0) refuse(errno, path);
    if (!S_ISSOCK(info.st_mode)) refuse(EADDRINUSE, path);
    path_ = path;
    device_ = info.st_dev;
    inode_ = info.st_ino;
    // What the umask has taken from the mode comes back. The umask is not ours to change: other threads see it too.
    const bool ours = !access.group || ::fchownat(file.get(), "", static_cast<uid_t>(-1), *access.group, AT_EMPTY_PATH) == 0;
    if (!ours || ::chmod(fmt::format("/proc/self/fd/{}", file.get()).c_str(), access.mode) != 0) {
        const int failure = errno;
        remove();
        refuse(failure, path);
    }
}

unix_socket_file::unix_socket_file(unix_socket_file&& other) noexcept
    : path_{std::exchange(other.path_, {})}, device_{other.device_}, inode_{other.inode_} {}

unix_socket_file& unix_socket_file::operator=(unix_socket_file&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
}

unix_socket_file::~unix_socket_file() { remove(); }

void unix_socket_file::remove() noexcept {
    const std::string path = std::exchange(path_, {});
    struct stat info{};
    if (path.empty() || ::lstat(path.c_str(), &info) != 0) return;
    if (info.st_dev == device_ && info.st_ino == inode_) (void)::unlink(path.c_str());
}

}  // namespace kephas
