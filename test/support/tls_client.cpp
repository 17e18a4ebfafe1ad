#include <support/tls_client.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace kephas::test {

namespace {

[[noreturn]] void refuse() {
    const unsigned long code = ERR_get_error();
    const char* reason = ERR_reason_error_string(code);
    ERR_clear_error();
    throw tls_refused{reason != nullptr ? reason : "the stream ended in the TLS handshake"};
}

bool ready(int fd, short what) {
    pollfd state{fd, what, 0};
    return ::poll(&state, 1, static_cast<int>(std::chrono::milliseconds{test_client::patience}.count())) > 0;
}

std::shared_ptr<SSL_CTX> make_context(const tls_wishes& wishes) {
    std::shared_ptr<SSL_CTX> context{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free};
    if (wishes.version != 0) {
        const int version = wishes.version == 12 ? TLS1_2_VERSION : wishes.version == 13 ? TLS1_3_VERSION : TLS1_1_VERSION;
        SSL_CTX_set_min_proto_version(context.get(), version);
        SSL_CTX_set_max_proto_version(context.get(), version);
        if (version == TLS1_1_VERSION) SSL_CTX_set_security_level(context.get(), 0);
    }
    if (!wishes.cipher_list.empty()) SSL_CTX_set_cipher_list(context.get(), wishes.cipher_list.c_str());
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // which would void its sessions when it ends
    if (!wishes.ca.empty()) {
        BIO* bio = BIO_new_mem_buf(wishes.ca.data(), static_cast<int>(wishes.ca.size()));
        X509* ca = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), ca);
        X509_free(ca);
        BIO_free(bio);
        SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    }
    if (wishes.certificate) {
        BIO* bio = BIO_new_mem_buf(wishes.certificate->certificate.data(), -1);
        X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        bio = BIO_new_mem_buf(wishes.certificate->key.data(), -1);
        EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        if (SSL_CTX_use_cert_and_key(context.get(), certificate, key, nullptr, 1) != 1) refuse();
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
    return context;
}

}  // namespace

tls_client::tls_client(std::uint16_t port, const tls_wishes& wishes)
    : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, byte_by_byte_{wishes.byte_by_byte}, context_{make_context(wishes)},
      ssl_{SSL_new(context_.get()), &SSL_free} {
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (wishes.receive_buffer > 0) {
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &wishes.receive_buffer, sizeof(wishes.receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        const int why = errno;
        ::close(fd_);
        throw std::system_error{why, std::system_category(), "connect"};
    }
    prepare(wishes);
}

tls_client::tls_client(const tls_wishes& wishes)
    : context_{make_context(wishes)}, ssl_{SSL_new(context_.get()), &SSL_free} {
    prepare(wishes);
}

tls_client::tls_client(const tls_client& other, const tls_wishes& wishes)
    : context_{other.context_}, ssl_{SSL_new(context_.get()), &SSL_free} {
    prepare(wishes);
}

void tls_client::prepare(const tls_wishes& wishes) {
    if (!wishes.server_name.empty()) {
        SSL_set_tlsext_host_name(ssl_.get(), wishes.server_name.c_str());
        SSL_set1_host(ssl_.get(), wishes.server_name.c_str());
    }
    std::string protocols;
    for (const std::string& each : wishes.alpn) {
        protocols += static_cast<char>(each.size());
        protocols += each;
    }
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned int>(protocols.size()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
}

tls_client::~tls_client() {
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  // or its session could not be resumed
    if (fd_ >= 0) ::close(fd_);
}

void tls_client::handshake() {
    for (;;) {
        ERR_clear_error();
        const int result = SSL_do_handshake(ssl_.get());
        const int why = SSL_get_error(ssl_.get(), result);
        flush();
        if (result == 1) return;
        if (why != SSL_ERROR_WANT_READ) refuse();
        if (!fill()) throw tls_refused{"the stream ended in the TLS handshake"};
    }
}

std::string tls_client::first_flight() {
    const auto context = make_context({});
    const std::unique_ptr<SSL, void (*)(SSL*)> ssl{SSL_new(context.get()), &SSL_free};
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    (void)SSL_do_handshake(ssl.get());
    std::string wire(16'384, '\0');
    const int size = BIO_read(SSL_get_wbio(ssl.get()), wire.data(), static_cast<int>(wire.size()));
    wire.resize(static_cast<std::size_t>(size));
    return wire;
}

std::string tls_client::encrypt(std::string_view text) {
    while (!text.empty()) {
        std::size_t written = 0;
        if (SSL_write_ex(ssl_.get(), text.data(), text.size(), &written) != 1) refuse();
        text.remove_prefix(written);
    }
    return take_output();
}

std::string tls_client::take_output() {
    std::string wire;
    char chunk[16384];
    int size = 0;
    while ((size = BIO_read(SSL_get_wbio(ssl_.get()), chunk, sizeof(chunk))) > 0) wire.append(chunk, static_cast<std::size_t>(size));
    return wire;
}

std::string tls_client::exchange(std::string_view from_server) {
    count_records(from_server);
    if (!from_server.empty()) BIO_write(SSL_get_rbio(ssl_.get()), from_server.data(), static_cast<int>(from_server.size()));
    ERR_clear_error();
    if (SSL_is_init_finished(ssl_.get()) != 1) {
        const int result = SSL_do_handshake(ssl_.get());
        if (result != 1 && SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) refuse();
    }
    return take_output();
}

std::string tls_client::take_received() {
    std::string text;
    char chunk[16384];
    std::size_t size = 0;
    while (SSL_read_ex(ssl_.get(), chunk, sizeof(chunk), &size) == 1) text.append(chunk, size);
    ERR_clear_error();
    return text;
}

void tls_client::send(bytes_view bytes) { send_on_wire(encrypt(as_text(bytes))); }

void tls_client::send_on_wire(std::string_view bytes) {
    while (!bytes.empty()) {
        if (!ready(fd_, POLLOUT)) throw std::runtime_error{"the server does not read"};
        const std::size_t most = byte_by_byte_ ? 1 : bytes.size();
        const ssize_t sent = ::send(fd_, bytes.data(), most, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) throw std::system_error{errno, std::system_category(), "send"};
        if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

void tls_client::flush() {
    send_on_wire(take_output());
}

bool tls_client::fill() {
    if (at_end_) return false;
    if (!ready(fd_, POLLIN)) throw std::runtime_error{"the server says nothing"};
    char chunk[65536];
    const ssize_t size = ::recv(fd_, chunk, sizeof(chunk), 0);
    if (size < 0) throw std::system_error{errno, std::system_category(), "recv"};
    if (size == 0) {
        at_end_ = true;
        return false;
    }
    count_records({chunk, static_cast<std::size_t>(size)});
    BIO_write(SSL_get_rbio(ssl_.get()), chunk, static_cast<int>(size));
    return true;
}

void tls_client::count_records(std::string_view bytes) {
    record_ += bytes;
    while (record_.size() >= 5) {
        const std::size_t size = 5 + (static_cast<std::size_t>(static_cast<unsigned char>(record_[3])) << 8) +
                                 static_cast<unsigned char>(record_[4]);
        if (record_.size() < size) return;
        if (record_[0] == 23) ++records_;
        record_.erase(0, size);
    }
}

std::size_t tls_client::receive(std::span<char> into) {
    for (;;) {
        std::size_t size = 0;
        ERR_clear_error();
        const int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &size);
        const int why = SSL_get_error(ssl_.get(), result);
        flush();
        if (result == 1) return size;
        if (why == SSL_ERROR_ZERO_RETURN) return 0;
        if (why != SSL_ERROR_WANT_READ) refuse();
        if (!fill()) return 0;
    }
}

bool tls_client::established() const { return SSL_is_init_finished(ssl_.get()) == 1; }

std::string tls_client::version() const { return SSL_get_version(ssl_.get()); }

std::string tls_client::alpn() const {
    const unsigned char* name = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return size == 0 ? std::string{} : std::string{reinterpret_cast<const char*>(name), size};
}

std::string tls_client::server_fingerprint() const {
    X509* certificate = SSL_get0_peer_certificate(ssl_.get());
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    const std::string pem{data, static_cast<std::size_t>(size)};
    BIO_free(bio);
    return fingerprint(pem);
}

bool tls_client::resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

std::shared_ptr<ssl_session_st> tls_client::session() const {
    return {SSL_get1_session(ssl_.get()), [](SSL_SESSION* session) { SSL_SESSION_free(session); }};
}

void tls_client::resume(const std::shared_ptr<ssl_session_st>& session) { SSL_set_session(ssl_.get(), session.get()); }

void tls_client::update_keys() { send_on_wire(encrypted_key_update()); }

std::string tls_client::encrypted_key_update() {
    SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED);
    if (SSL_do_handshake(ssl_.get()) != 1) refuse();
    return take_output();
}

void tls_client::renegotiate() {
    SSL_renegotiate(ssl_.get());
    handshake();
}

void tls_client::send_close_notify() {
    SSL_shutdown(ssl_.get());
    flush();
}

void tls_client::send_close_notify_to(std::string& wire) {
    SSL_shutdown(ssl_.get());
    wire += take_output();
}

bool tls_client::ended_properly() const { return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0; }

void tls_client::shutdown_socket() { ::shutdown(fd_, SHUT_WR); }

void tls_client::reset_socket() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    ::close(std::exchange(fd_, -1));
}

test_client open_tls(std::uint16_t port, const tls_wishes& wishes, std::string_view target, std::string_view headers) {
    auto transport = std::make_unique<tls_client>(port, wishes);
    transport->handshake();
    test_client client{std::move(transport)};
    const std::string head = client.handshake(target, headers);
    if (!head.starts_with("HTTP/1.1 101 ")) throw std::runtime_error{"not upgraded: " + head};
    return client;
}

std::string https_get(std::uint16_t port, std::string_view target, const tls_wishes& wishes) {
    auto transport = std::make_unique<tls_client>(port, wishes);
    transport->handshake();
    test_client client{std::move(transport)};
    client.send_raw("GET " + std::string{target} + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return client.read_to_end();
}

}  // namespace kephas::test
