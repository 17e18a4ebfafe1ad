#include "channel.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace bench {

namespace {

constexpr std::size_t most_at_once = 1 << 30;  // OpenSSL counts in int

bool is_address(const std::string& host) {
    in6_addr any{};
    return inet_pton(AF_INET, host.c_str(), &any) == 1 || inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

}  // namespace

tls_settings::tls_settings(bool insecure)
    : context_{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free}, insecure_{insecure} {
    if (!context_) throw std::bad_alloc{};
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context_.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context_.get(), 1);
    SSL_CTX_set_default_read_buffer_len(context_.get(), 64 * 1024);
    if (insecure) return;
    SSL_CTX_set_default_verify_paths(context_.get());
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
}

channel::channel(channel&& other) noexcept
    : fd_{std::exchange(other.fd_, -1)}, lost_{other.lost_}, ssl_{std::move(other.ssl_)} {}

channel::~channel() {
    if (fd_ >= 0) ::close(fd_);
}

void channel::start_tls(const tls_settings& settings, const std::string& host) {
    ssl_.reset(SSL_new(settings.get()));
    if (!ssl_ || SSL_set_fd(ssl_.get(), fd_) != 1) throw std::bad_alloc{};
    if (is_address(host)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str());
    } else {
        SSL_set_tlsext_host_name(ssl_.get(), host.c_str());
        SSL_set1_host(ssl_.get(), host.c_str());
    }
    ERR_clear_error();
    if (SSL_connect(ssl_.get()) == 1) return;
    const long verified = SSL_get_verify_result(ssl_.get());
    if (verified != X509_V_OK && !settings.insecure())
        throw server_fault{std::string{"the certificate: "} + X509_verify_cert_error_string(verified) +
                           " (--insecure accepts any)"};
    const char* const reason = ERR_reason_error_string(ERR_get_error());
    throw server_fault{std::string{"no TLS handshake: "} +
                       (reason != nullptr ? reason : "the server ended the connection")};
}

ssize_t channel::read(std::span<std::uint8_t> to) noexcept {
    if (ssl_) {
        ERR_clear_error();
        const int got = SSL_read(ssl_.get(), to.data(), static_cast<int>(std::min(to.size(), most_at_once)));
        return got > 0 ? got : tls_result(got);
    }
    const ssize_t got = recv(fd_, to.data(), to.size(), 0);
    if (got >= 0) return got;
    if (errno == EAGAIN || errno == EINTR) return would_block;
    lost_ = true;
    return ended;
}

ssize_t channel::write(std::span<const std::uint8_t> from) noexcept {
    if (ssl_) {
        ERR_clear_error();
        const int sent = SSL_write(ssl_.get(), from.data(), static_cast<int>(std::min(from.size(), most_at_once)));
        return sent > 0 ? sent : tls_result(sent);
    }
    const ssize_t sent = send(fd_, from.data(), from.size(), MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? would_block : ended;
}

ssize_t channel::tls_result(int count) const noexcept {
    const int error = SSL_get_error(ssl_.get(), count);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? would_block : ended;
}

}  // namespace bench
