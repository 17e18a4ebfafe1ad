#pragma once

// How a bare loop reads and writes: the socket itself, or OpenSSL on its descriptor. Both are non-blocking.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace bare {

inline constexpr ssize_t would_block = -1;
inline constexpr ssize_t ended = 0;  ///< By the peer, or by an error.

class plain_channel {
public:
    struct settings {};

    plain_channel(int fd, settings&) noexcept : fd_{fd} {}
    [[nodiscard]] int fd() const noexcept { return fd_; }

    /// How many bytes, `would_block` or `ended`.
    ssize_t read(std::uint8_t* to, std::size_t room) const noexcept { return result(recv(fd_, to, room, 0)); }
    ssize_t write(const std::uint8_t* from, std::size_t size) const noexcept {
        return result(send(fd_, from, size, MSG_NOSIGNAL));
    }

    /// Whether read() would return bytes that the socket no longer announces.
    [[nodiscard]] static constexpr bool has_more() noexcept { return false; }
    void end_writing() const noexcept { shutdown(fd_, SHUT_WR); }

private:
    static ssize_t result(ssize_t count) noexcept {
        return count >= 0 ? count : errno == EAGAIN || errno == EINTR ? would_block : ended;
    }

    int fd_;
};

/// The handshake is a part of the first reads. OpenSSL reads as many records with one system call as fit its buffer,
/// and gives its buffers back when they are empty: an idle connection owns none, as without TLS.
class tls_channel {
public:
    class settings {
    public:
        /// PEM files. Throws std::runtime_error.
        settings(const std::string& certificate, const std::string& key)
            : context_{SSL_CTX_new(TLS_server_method()), &SSL_CTX_free} {
            SSL_CTX* const c = context_.get();
            if (SSL_CTX_use_certificate_chain_file(c, certificate.c_str()) != 1 ||
                SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) != 1)
                throw std::runtime_error{"cannot use the certificate and the key"};
            SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
            SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION);
            SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
            SSL_CTX_set_mode(
                c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
            SSL_CTX_set_read_ahead(c, 1);
            SSL_CTX_set_default_read_buffer_len(c, 64 * 1024);
        }
        [[nodiscard]] SSL_CTX* get() const noexcept { return context_.get(); }

    private:
        std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    };

    tls_channel(int fd, settings& s) : ssl_{SSL_new(s.get()), &SSL_free} {
        if (!ssl_ || SSL_set_fd(ssl_.get(), fd) != 1) throw std::bad_alloc{};
        SSL_set_accept_state(ssl_.get());
    }
    [[nodiscard]] int fd() const noexcept { return SSL_get_fd(ssl_.get()); }

    ssize_t read(std::uint8_t* to, std::size_t room) const noexcept {
        std::size_t total = 0;
        do {  // a record at a time
            ERR_clear_error();
            const int got = SSL_read(ssl_.get(), to + total, static_cast<int>(room - total));
            if (got <= 0) return total > 0 ? static_cast<ssize_t>(total) : result(got);
            total += static_cast<std::size_t>(got);
        } while (total < room && has_more());
        return static_cast<ssize_t>(total);
    }
    ssize_t write(const std::uint8_t* from, std::size_t size) const noexcept {
        std::size_t total = 0;
        do {  // a record at a time
            ERR_clear_error();
            const int sent = SSL_write(ssl_.get(), from + total, static_cast<int>(size - total));
            if (sent <= 0) return total > 0 ? static_cast<ssize_t>(total) : result(sent);
            total += static_cast<std::size_t>(sent);
        } while (total < size);
        return static_cast<ssize_t>(total);
    }

    [[nodiscard]] bool has_more() const noexcept { return SSL_has_pending(ssl_.get()) == 1; }
    void end_writing() const noexcept {
        SSL_shutdown(ssl_.get());
        shutdown(fd(), SHUT_WR);
    }

private:
    ssize_t result(int count) const noexcept {
        const int error = SSL_get_error(ssl_.get(), count);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? would_block : ended;
    }

    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

}  // namespace bare
