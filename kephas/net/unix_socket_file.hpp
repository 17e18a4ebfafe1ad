#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

namespace kephas {

/// Who may use a Unix socket: connecting takes the right to write to its file.
struct unix_socket_access {
    mode_t mode = 0770;
    std::optional<gid_t> group{};  ///< Nothing: the group of the process.
};

/// The file of a Unix socket that was bound here. It is removed with this object, if it is the same one still.
class unix_socket_file {
public:
    unix_socket_file() noexcept = default;
    /// Binds `fd` to `path`; one that begins with `@` is a name without a file (unix(7), "abstract"), which takes no `access`.
    /// A socket that nobody uses any more is replaced. Neither the umask nor any other file is touched, and at no moment has
    /// the file more rights than `access` says. Throws `error`: `errc::address_in_use` if there is something already.
    unix_socket_file(int fd, const std::string& path, const unix_socket_access& access);
    unix_socket_file(unix_socket_file&& other) noexcept;
    unix_socket_file& operator=(unix_socket_file&& other) noexcept;
    ~unix_socket_file();

    void remove() noexcept;

private:
    std::string path_;  // empty: there is none
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace kephas
