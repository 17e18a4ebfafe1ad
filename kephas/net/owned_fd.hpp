#pragma once

#include <utility>

#include <unistd.h>

namespace kephas {

/// A descriptor that is closed unless somebody takes it.
class owned_fd {
public:
    explicit owned_fd(int fd) noexcept : fd_{fd} {}
    owned_fd(owned_fd&& other) noexcept : fd_{other.release()} {}
    owned_fd& operator=(owned_fd&&) = delete;
    ~owned_fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

}  // namespace kephas
