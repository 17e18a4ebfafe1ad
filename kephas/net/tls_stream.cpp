#include <kephas/base/error.hpp>

#include <kephas/net/peer_certificate.hpp>
#include <kephas/net/tls_stream.hpp>

#include <asio/error.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

namespace kephas {

namespace {

constexpr std::size_t largest_record = 16 * 1024;  // of plaintext: RFC 8446 5.1
/// What may wait for the kernel: one record, and answers to what a peer that does not read makes us answer.
constexpr std::size_t most_unsent = 128 * 1024;

/// The bytes of a gather list, taken from its front.
class gather_reader {
public:
    explicit gather_reader(std::span<const bytes_view> rest) noexcept : rest_{rest} { skip_empty(); }

    [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
    /// Up to `most` bytes of one buffer.
    [[nodiscard]] bytes_view take(std::size_t most) noexcept {
        const bytes_view taken = current_.first(std::min(current_.size(), most));
        current_ = current_.subspan(taken.size());
        if (current_.empty()) {
            rest_ = rest_.subspan(1);
            skip_empty();
        }
        return taken;
    }

private:
    void skip_empty() noexcept {
        while (!rest_.empty() && rest_.front().empty()) rest_ = rest_.subspan(1);
        if (!rest_.empty()) current_ = rest_.front();
    }

    std::span<const bytes_view> rest_;
    bytes_view current_{};  // what is left of the first of them
};

/// What the next record holds. Small buffers share one: each costs 22 bytes or more, and a pass through the cipher.
/// Lifetime: until the next call on this thread.
bytes_view next_record(gather_reader& from) noexcept {
    static thread_local std::array<std::byte, largest_record> staged;
    const bytes_view whole = from.take(largest_record);
    if (whole.size() == largest_record || from.empty()) return whole;
    std::ranges::copy(whole, staged.begin());
    std::size_t size = whole.size();
    while (size < staged.size() && !from.empty()) {
        const bytes_view part = from.take(staged.size() - size);
        std::ranges::copy(part, staged.begin() + static_cast<std::ptrdiff_t>(size));
        size += part.size();
    }
    return bytes_view{staged}.first(size);
}

class tls_stream final : public stream {
public:
    tls_stream(std::unique_ptr<stream> transport, std::shared_ptr<SSL_CTX> context, std::string_view plain_answer)
        : transport_{std::move(transport)}, context_{std::move(context)}, plain_answer_{plain_answer} {}
    ~tls_stream() override {
        if (unsent_) unsent_->owner = nullptr;
    }

    /// Makes it the client's side.
    void begin(const tls_client_context& rules, const std::string& host);

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override;
    void wait_readable(read_waiter& who) override { transport_->wait_readable(who); }
    bool wait_turn(read_waiter& who) override { return transport_->wait_turn(who); }
    bool pending() const noexcept override {
        if (end_ || (failure_ && !failure_reported_) || !encrypted_.empty() || transport_->pending()) return true;
        return ssl_ && !failure_ && SSL_pending(ssl_.get()) > 0;  // the rest of a record of which a part was asked for
    }
    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override;
    bool holds_output() const noexcept override { return unsent_ != nullptr; }
    void wait_writable(std::function<void(std::error_code)> ready) override {
        if (unsent_) unsent_->waiter = std::move(ready);
        else transport_->wait_writable(std::move(ready));
    }

    void shutdown_send() noexcept override;
    void close() noexcept override {
        closed_ = true;
        transport_->close();
    }
    void abort() noexcept override {
        closed_ = true;
        transport_->abort();
    }
    bool peer_gone() const noexcept override { return transport_->peer_gone(); }
    std::size_t unacknowledged() const noexcept override {
        if (failure_) return transport_->unacknowledged();
        return transport_->unacknowledged() + (unsent_ && !closed_ ? unsent_->bytes.size() - unsent_->sent : 0);
    }

    std::string remote_address() const override { return transport_->remote_address(); }
    int native_handle() const noexcept override { return transport_->native_handle(); }
    bool handshaking() const noexcept override { return !ssl_ || SSL_is_init_finished(ssl_.get()) != 1; }
    std::optional<tls_info> tls() const override;

private:
    struct ssl_free {
        void operator()(SSL* what) const noexcept { SSL_free(what); }
    };
    /// Encrypted bytes that the kernel did not take. They are written as soon as it does, whoever waits for that.
    struct backlog {
        tls_stream* owner;  // null once it is destroyed
        std::vector<std::byte> bytes;
        std::size_t sent = 0;
        bool end_after = false;  // then the sending side is shut down
        std::function<void(std::error_code)> waiter;
    };

    static const BIO_METHOD* bio_method();
    static int on_bio_read(BIO* bio, char* into, int size) noexcept;
    static int on_bio_write(BIO* bio, const char* from, int size) noexcept;

    void start(void (*set_role)(SSL*));
    [[nodiscard]] bool open() const noexcept { return ssl_ && !failure_ && SSL_is_init_finished(ssl_.get()) == 1; }
    [[nodiscard]] std::size_t decrypt(read_buffer& buffer);
    void handle_read_failure(int result);
    /// False if somebody has been told already.
    bool report_failure(std::error_code& ec) noexcept {
        if (std::exchange(failure_reported_, true)) return false;
        ec = failure_;
        return true;
    }
    [[nodiscard]] bool send_encrypted(bytes_view bytes);
    static void wait_to_send(const std::shared_ptr<backlog>& rest);
    static void send_rest(const std::shared_ptr<backlog>& rest, std::error_code ec);

    std::unique_ptr<stream> transport_;
    std::shared_ptr<SSL_CTX> context_;  // a part of what owns it
    std::string_view plain_answer_;
    std::unique_ptr<SSL, ssl_free> ssl_;  // from the first byte on: who sends none costs none
    read_buffer incoming_;                // what is read from the transport ...
    bytes_view encrypted_;                // ... and what OpenSSL has not seen of it yet
    std::shared_ptr<backlog> unsent_;     // null most of the time
    std::error_code failure_;             // nothing can be read or written any more
    bool failure_reported_ = false;
    std::error_code end_;  // nothing can be read any more: eof if the peer has said so, or truncated
    bool closed_ = false;  // by us
};

/// A BIO that reads from `encrypted_` and never refuses to write, so that OpenSSL never has to repeat a write.
const BIO_METHOD* tls_stream::bio_method() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kephas");
        if (made == nullptr) throw std::bad_alloc{};
        BIO_meth_set_create(made, +[](BIO* bio) {
            BIO_set_init(bio, 1);
            return 1;
        });
        BIO_meth_set_ctrl(made, +[](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
        BIO_meth_set_read(made, on_bio_read);
        BIO_meth_set_write(made, on_bio_write);
        return made;
    }();
    return method;
}

int tls_stream::on_bio_read(BIO* bio, char* into, int size) noexcept {
    auto& self = *static_cast<tls_stream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const std::size_t count = std::min(self.encrypted_.size(), static_cast<std::size_t>(std::max(size, 0)));
    if (count == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    std::memcpy(into, self.encrypted_.data(), count);
    self.encrypted_ = self.encrypted_.subspan(count);
    return static_cast<int>(count);
}

int tls_stream::on_bio_write(BIO* bio, const char* from, int size) noexcept {
    auto& self = *static_cast<tls_stream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (size <= 0) return size;
    try {
        return self.send_encrypted(as_bytes({from, static_cast<std::size_t>(size)})) ? size : -1;
    } catch (...) {  // no memory, or the transport has thrown; an exception must not pass through OpenSSL
        self.failure_ = asio::error::connection_aborted;
        return -1;
    }
}

void tls_stream::start(void (*set_role)(SSL*)) {
    std::unique_ptr<SSL, ssl_free> made{SSL_new(context_.get())};
    BIO* bio = made ? BIO_new(bio_method()) : nullptr;
    if (bio == nullptr) throw std::bad_alloc{};
    BIO_set_data(bio, this);
    SSL_set_bio(made.get(), bio, bio);
    set_role(made.get());
    ssl_ = std::move(made);
}

void tls_stream::begin(const tls_client_context& rules, const std::string& host) {
    start(SSL_set_connect_state);
    SSL* const ssl = ssl_.get();
    X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl);
    ERR_clear_error();
    const bool is_address = X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) == 1;
    bool ready = true;
    // RFC 9525 6.3: a wildcard is a whole label, and the common name says nothing.
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (!is_address) {
        ready = SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;  // no address may stand there (RFC 6066 3)
        if (rules.verifies()) ready = ready && SSL_set1_host(ssl, host.c_str()) == 1;
    }
    ERR_clear_error();
    if (!ready) throw error{errc::invalid_address, "a server name that TLS cannot ask for"};
    if (const int result = SSL_do_handshake(ssl); result != 1) handle_read_failure(result);
}

/// Why the peer's certificate was not accepted.
std::error_code verification_error(long why) noexcept {
    switch (why) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
        case X509_V_ERR_CERT_NOT_YET_VALID: return errc::certificate_expired;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH: return errc::certificate_name_mismatch;
        default: return errc::certificate_not_trusted;
    }
}

std::size_t tls_stream::read_some(read_buffer& buffer, std::error_code& ec) {
    for (bool has_read = false;; has_read = true) {
        ec.clear();
        if (const std::size_t size = decrypt(buffer); size > 0) return size;
        if (end_) {
            ec = end_;
            return 0;
        }
        if (failure_ && report_failure(ec)) return 0;
        if (has_read) {  // only a part of a record, or of the handshake: the rest will tell when it comes
            ec = asio::error::would_block;
            return 0;
        }
        incoming_.lender = buffer.lender;
        const std::size_t received = transport_->read_some(incoming_, ec);
        if (ec == asio::error::would_block) return 0;
        if (received > 0 && !failure_) {
            encrypted_ = incoming_.slab.view().first(received);
            if (!ssl_) start(SSL_set_accept_state);
            continue;
        }
        if (!incoming_.slab.empty()) incoming_.lender->give_back_slab(std::exchange(incoming_.slab, slice{}));
        if (failure_) return received;
        if (!ec || ec == asio::error::eof) end_ = errc::truncated;  // its side has ended; it may still read
        else failure_ = ec;
    }
}

/// Decrypts what is there; 0 if that makes no byte of plaintext.
std::size_t tls_stream::decrypt(read_buffer& buffer) {
    if (failure_ || end_ || !ssl_ || (encrypted_.empty() && SSL_pending(ssl_.get()) == 0)) return 0;
    mutable_bytes into = buffer.direct;
    if (into.empty()) {
        buffer.slab = buffer.lender->borrow_slab();
        into = buffer.slab.bytes();
    }
    std::size_t total = 0;
    while (total < into.size()) {
        std::size_t size = 0;
        ERR_clear_error();
        const int result = SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &size);
        if (result != 1) {
            handle_read_failure(result);
            break;
        }
        total += size;
    }
    if (encrypted_.empty() || failure_ || end_) {
        encrypted_ = {};
        if (!incoming_.slab.empty()) incoming_.lender->give_back_slab(std::exchange(incoming_.slab, slice{}));
    }
    if (total == 0 && !buffer.slab.empty()) buffer.lender->give_back_slab(std::exchange(buffer.slab, slice{}));
    return total;
}

void tls_stream::handle_read_failure(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ: return;
        case SSL_ERROR_ZERO_RETURN: end_ = asio::error::eof; return;
        default: break;
    }
    const unsigned long why = ERR_peek_error();
    if (ERR_GET_LIB(why) == ERR_LIB_SSL && ERR_GET_REASON(why) == SSL_R_HTTP_REQUEST && !plain_answer_.empty()) {
        std::error_code ignored;
        const bytes_view part[] = {as_bytes(plain_answer_)};
        (void)transport_->write_some(part, ignored);
    }
    const bool unverified = ERR_GET_LIB(why) == ERR_LIB_SSL && ERR_GET_REASON(why) == SSL_R_CERTIFICATE_VERIFY_FAILED &&
                            SSL_is_server(ssl_.get()) == 0;
    const std::error_code reason = take_tls_error();
    if (!failure_) failure_ = unverified ? verification_error(SSL_get_verify_result(ssl_.get())) : reason;
}

/// Keeps what the kernel does not take. False if the connection is of no use any more; `failure_` says why.
bool tls_stream::send_encrypted(bytes_view bytes) {
    std::error_code ec;
    if (!unsent_) {
        while (!bytes.empty() && !ec) {
            const bytes_view part[] = {bytes};
            bytes = bytes.subspan(transport_->write_some(part, ec));
        }
        if (ec && ec != asio::error::would_block) {
            failure_ = ec;
            return false;
        }
        if (bytes.empty()) return true;
        auto fresh = std::make_shared<backlog>();
        fresh->owner = this;
        fresh->bytes.assign(bytes.begin(), bytes.end());
        unsent_ = std::move(fresh);
        try {
            wait_to_send(unsent_);
        } catch (...) {  // nobody would send it
            unsent_.reset();
            throw;
        }
        return true;
    }
    if (unsent_->bytes.size() + bytes.size() > most_unsent) {
        failure_ = asio::error::no_buffer_space;
        return false;
    }
    unsent_->bytes.insert(unsent_->bytes.end(), bytes.begin(), bytes.end());
    return true;
}

void tls_stream::wait_to_send(const std::shared_ptr<backlog>& rest) {
    rest->owner->transport_->wait_writable([rest](std::error_code ec) { send_rest(rest, ec); });
}

void tls_stream::send_rest(const std::shared_ptr<backlog>& rest, std::error_code ec) {
    if (rest->owner == nullptr) return;
    tls_stream& self = *rest->owner;
    try {
        while (!ec && rest->sent < rest->bytes.size()) {
            const bytes_view part[] = {bytes_view{rest->bytes}.subspan(rest->sent)};
            rest->sent += self.transport_->write_some(part, ec);
        }
        if (ec == asio::error::would_block) return wait_to_send(rest);
    } catch (...) {  // it would leave through the executor
        ec = asio::error::connection_aborted;
        self.transport_->abort();  // ends the read, which tells the session
    }
    if (ec && !self.failure_) self.failure_ = ec;
    self.unsent_.reset();
    if (rest->end_after && !ec) self.transport_->shutdown_send();
    if (rest->waiter) std::exchange(rest->waiter, nullptr)(ec);  // may end the stream
}

std::size_t tls_stream::write_some(std::span<const bytes_view> buffers, std::error_code& ec) {
    ec = failure_;
    if (ec) return 0;
    if (!open()) {
        ec = asio::error::not_connected;
        return 0;
    }
    gather_reader reader{buffers};
    std::size_t total = 0;
    while (!unsent_ && !reader.empty()) {
        const bytes_view record = next_record(reader);
        std::size_t written = 0;
        ERR_clear_error();
        if (SSL_write_ex(ssl_.get(), record.data(), record.size(), &written) != 1) {
            if (!failure_) failure_ = take_tls_error();
            break;
        }
        total += record.size();  // all of it: our BIO never refuses
    }
    if (failure_ && total == 0) ec = failure_;
    else if (total == 0 && unsent_) ec = asio::error::would_block;
    return total;
}

void tls_stream::shutdown_send() noexcept {
    if (open()) {
        ERR_clear_error();
        (void)SSL_shutdown(ssl_.get());  // our close_notify
        ERR_clear_error();
    }
    if (unsent_) unsent_->end_after = true;
    else transport_->shutdown_send();
}

std::optional<tls_info> tls_stream::tls() const {
    if (!ssl_ || SSL_is_init_finished(ssl_.get()) != 1) return std::nullopt;
    SSL* const ssl = ssl_.get();
    tls_info info;
    info.version = SSL_get_version(ssl);
    info.cipher = SSL_get_cipher_name(ssl);
    const unsigned char* protocol = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl, &protocol, &size);
    if (size > 0) info.alpn.assign(reinterpret_cast<const char*>(protocol), size);
    if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) {
        info.server_name = name;
        std::ranges::transform(info.server_name, info.server_name.begin(),
                               [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    }
    info.resumed = SSL_session_reused(ssl) == 1;
    if (X509* certificate = SSL_get0_peer_certificate(ssl); certificate && SSL_get_verify_result(ssl) == X509_V_OK) {
        info.certificate = describe_certificate(certificate);
    }
    return info;
}

}  // namespace

std::unique_ptr<stream> make_tls_stream(std::unique_ptr<stream> transport, std::shared_ptr<const tls_context> context,
                                        std::string_view plain_answer) {
    std::shared_ptr<SSL_CTX> native{context, context->native_handle()};
    return std::make_unique<tls_stream>(std::move(transport), std::move(native), plain_answer);
}

std::unique_ptr<stream> make_tls_client_stream(std::unique_ptr<stream> transport,
                                               const std::shared_ptr<const tls_client_context>& context,
                                               std::string_view host) {
    std::shared_ptr<SSL_CTX> native{context, context->native_handle()};
    auto made = std::make_unique<tls_stream>(std::move(transport), std::move(native), std::string_view{});
    if (!context->server_name().empty()) host = context->server_name();
    if (host.ends_with('.')) host.remove_suffix(1);  // of a name that is complete; SNI and certificates leave it out
    made->begin(*context, std::string{host});
    return made;
}

}  // namespace kephas
