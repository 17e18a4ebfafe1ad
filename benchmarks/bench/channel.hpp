#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

namespace bench {

/// The server did something that an echo server does not do.
class server_fault : public std::runtime_error {
public:
    using runtime_error::runtime_error;
};

/// What the TLS connections of a run share. May be used by several threads.
class tls_settings {
public:
    /// Certificates are compared with those that the system trusts unless `insecure`.
    explicit tls_settings(bool insecure);
    [[nodiscard]] SSL_CTX* get() const noexcept { return context_.get(); }
    [[nodiscard]] bool insecure() const noexcept { return insecure_; }

private:
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    bool insecure_;
};

/// A socket that it owns, or TLS on one.
class channel {
public:
    static constexpr ssize_t would_block = -1;
    static constexpr ssize_t ended = 0;  ///< By the peer, or by an error.

    explicit channel(int fd) noexcept : fd_{fd} {}
    channel(channel&&) noexcept;
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;
    ~channel();

    [[nodiscard]] int fd() const noexcept { return fd_; }

    /// Begins TLS with the server called `host`; blocks if the socket does. Throws server_fault.
    void start_tls(const tls_settings&, const std::string& host);

    /// Frees the state of TLS, about which the server learns nothing: for thousands of connections that stay idle.
    void forget_tls() noexcept { ssl_.reset(); }

    /// How many bytes, `would_block` or `ended`.
    ssize_t read(std::span<std::uint8_t> to) noexcept;

    /// The same. After `would_block` the next call has to begin with the same bytes.
    ssize_t write(std::span<const std::uint8_t> from) noexcept;

    /// Whether it ended by an error, and not because the peer has sent all. Only without TLS.
    [[nodiscard]] bool lost() const noexcept { return lost_; }

    /// Whether read() would return bytes that the socket no longer announces.
    [[nodiscard]] bool has_more() const noexcept { return ssl_ && SSL_has_pending(ssl_.get()) == 1; }

private:
    [[nodiscard]] ssize_t tls_result(int count) const noexcept;

    int fd_;
    bool lost_ = false;
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, &SSL_free};
};

}  // namespace bench
