#pragma once

#include <kephas/base/bytes.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::test {

/// A frame as it came from the server.
struct received_frame {
    bool fin = true;
    int opcode = 0;
    std::string payload;
    bool rsv1 = false;  ///< Compressed: an error unless permessage-deflate was agreed on.
    bool operator==(const received_frame&) const = default;
};

struct received_close {
    std::uint16_t code = 1005;
    std::string reason;
    bool operator==(const received_close&) const = default;
};

/// What lies between a test client and its socket. Both throw when the peer does not go on in time.
class test_transport {
public:
    virtual ~test_transport() = default;
    virtual void send(bytes_view bytes) = 0;
    /// 0 at the end of the stream.
    virtual std::size_t receive(std::span<char> into) = 0;
};

/// A WebSocket client for tests: blocking, on a plain socket, and written without any code of kephas's protocol, so
/// that it cannot share its mistakes. Everything that waits throws `std::runtime_error` after `patience`.
class test_client {
public:
    static constexpr std::chrono::seconds patience{10};

    /// A TCP connection, nothing sent. `receive_buffer` bounds what the kernel takes for a client that does not read.
    /// `from` is the loopback address that it comes from; null: the system's choice.
    explicit test_client(std::uint16_t port, int receive_buffer = 0, const char* from = nullptr);
    /// A Unix stream socket.
    explicit test_client(const std::string& socket_file);
    /// Over something else than a plain socket; what concerns the socket is the transport's to offer.
    explicit test_client(std::unique_ptr<test_transport> transport);
    test_client(test_client&& other) noexcept;
    test_client& operator=(test_client&&) = delete;
    ~test_client();

    /// A connection that has done its opening handshake; `headers` are whole lines with CRLF.
    [[nodiscard]] static test_client open(std::uint16_t port, std::string_view target = "/ws",
                                          std::string_view headers = {});
    /// Sends the opening handshake and returns the head of the answer.
    std::string handshake(std::string_view target = "/ws", std::string_view headers = {});

    void send_raw(bytes_view bytes);
    void send_raw(std::string_view text) { send_raw(as_bytes(text)); }
    /// A masked frame.
    void send_frame(int opcode, std::string_view payload, bool fin = true);
    [[nodiscard]] static std::string frame(int opcode, std::string_view payload, bool fin = true);
    void send_text(std::string_view text) { send_frame(1, text); }
    void send_binary(std::string_view bytes) { send_frame(2, bytes); }
    void send_command(std::uint32_t id, std::string_view payload) { send_binary(command(id, payload)); }
    void send_close(std::uint16_t code, std::string_view reason = {});
    [[nodiscard]] static std::string command(std::uint32_t id, std::string_view payload);

    /// The next frame of any kind.
    received_frame read_frame();
    /// The next frame that is no ping; nothing if the stream ended instead.
    std::optional<received_frame> read_message();
    /// The payload of the next text message.
    std::string read_text();
    /// The next command: its id is checked, its payload returned.
    std::string read_command(std::uint32_t id);
    /// Skips data until the close frame.
    received_close read_close();
    /// Whether something can be read, or comes within `milliseconds`.
    [[nodiscard]] bool is_readable(int milliseconds) const;
    /// Whether the stream ends now, in order (not with a reset).
    bool ends_cleanly();
    /// Reads until the end of the stream.
    std::string read_to_end();
    /// Reads at least up to the end of an HTTP head.
    std::string read_head();

    void shutdown_send();
    /// Closes with a reset.
    void reset();
    void close();
    [[nodiscard]] int native_handle() const noexcept { return fd_; }

private:
    bool fill();  // false at the end of the stream

    int fd_ = -1;
    std::unique_ptr<test_transport> transport_;  // instead of fd_
    std::string buffer_;
    bool deflate_ = false;  // RSV1 was agreed on
};

/// One HTTP request on a connection of its own: the whole response.
[[nodiscard]] std::string http_request(std::uint16_t port, std::string_view request);
[[nodiscard]] inline std::string http_get(std::uint16_t port, std::string_view target) {
    return http_request(port, "GET " + std::string{target} + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

}  // namespace kephas::test
