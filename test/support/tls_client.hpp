#pragma once

#include <support/certificates.hpp>
#include <support/test_client.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;

namespace kephas::test {

struct tls_wishes {
    std::string server_name = "localhost";    ///< Asked for and verified; empty: neither.
    std::string ca = common_ca().certificate();  ///< Empty: whoever the server is.
    int version = 0;                          ///< 12 or 13; 0: either.
    std::vector<std::string> alpn{};
    std::optional<key_pair> certificate{};
    std::string cipher_list{};                ///< Of TLS 1.2.
    int receive_buffer = 0;                   ///< Of the socket.
    bool byte_by_byte = false;                ///< Each byte in a segment of its own, as far as the kernel lets it.
};

/// The TLS handshake failed; the message is OpenSSL's reason, an alert of the server's for instance.
struct tls_refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A blocking TLS client over a socket that it drives itself, so that the records can be looked at and cut anywhere.
class tls_client final : public test_transport {
public:
    /// Connects; no handshake yet.
    explicit tls_client(std::uint16_t port, const tls_wishes& wishes = {});
    ~tls_client() override;

    /// Without a socket: `exchange` moves the bytes. `send` and `receive` cannot be used then.
    explicit tls_client(const tls_wishes& wishes);
    /// The same with the context of another client, which takes OpenSSL longer to make than a handshake does.
    tls_client(const tls_client& other, const tls_wishes& wishes);
    /// Takes what the server has sent, goes on with the handshake if it is not done, and returns what is to be sent.
    std::string exchange(std::string_view from_server);
    /// What has been decrypted of it so far.
    std::string take_received();

    /// What a client sends before it has heard anything: a ClientHello in one record.
    [[nodiscard]] static std::string first_flight();
    /// Throws `tls_refused`.
    void handshake();
    void send(bytes_view bytes) override;
    std::size_t receive(std::span<char> into) override;

    [[nodiscard]] bool established() const;  ///< The handshake is done.
    [[nodiscard]] std::string version() const;
    [[nodiscard]] std::string alpn() const;
    /// SHA-256 of the server's certificate.
    [[nodiscard]] std::string server_fingerprint() const;
    [[nodiscard]] bool resumed() const;
    /// The session tickets that came, for `resume` of another client.
    [[nodiscard]] std::shared_ptr<ssl_session_st> session() const;
    void resume(const std::shared_ptr<ssl_session_st>& session);

    /// Asks for new keys and wants the server's renewed too (RFC 8446 4.6.3). TLS 1.3.
    void update_keys();
    [[nodiscard]] std::string encrypted_key_update();
    /// Tries to negotiate anew. TLS 1.2.
    void renegotiate();
    /// Our close_notify, without closing the socket.
    void send_close_notify();
    void send_close_notify_to(std::string& wire);
    /// Whether the stream has ended with a close_notify of the server's; after `receive` has returned 0.
    [[nodiscard]] bool ended_properly() const;

    /// The application data records that came so far.
    [[nodiscard]] std::size_t records_received() const noexcept { return records_; }
    /// What the next `send` would put on the wire.
    [[nodiscard]] std::string encrypt(std::string_view text);
    void send_on_wire(std::string_view bytes);
    [[nodiscard]] int native_handle() const noexcept { return fd_; }
    void shutdown_socket();
    void reset_socket();

private:
    void prepare(const tls_wishes& wishes);
    [[nodiscard]] std::string take_output();
    void flush();
    bool fill();
    void count_records(std::string_view bytes);

    int fd_ = -1;
    bool byte_by_byte_ = false;
    bool at_end_ = false;
    std::shared_ptr<ssl_ctx_st> context_;
    std::shared_ptr<ssl_st> ssl_;
    std::string record_;  // the one that is arriving, to count them
    std::size_t records_ = 0;
};

/// A WebSocket connection over TLS.
[[nodiscard]] test_client open_tls(std::uint16_t port, const tls_wishes& wishes = {}, std::string_view target = "/ws",
                                   std::string_view headers = {});
/// The whole response to one HTTPS request.
[[nodiscard]] std::string https_get(std::uint16_t port, std::string_view target, const tls_wishes& wishes = {});

}  // namespace kephas::test
